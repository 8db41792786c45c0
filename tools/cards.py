"""Cards of the bundled games and those of contrib/: ``python -m tools.cards`` holds docs/ to them.

``--measure [NAME ...]`` measures anew (half a minute of processor time each) and writes ``docs/cards/NAME.json``;
``--records`` shows new records of ``results/`` on them; ``--write`` makes what follows from those files: each card's
page and badge, the table of ``docs/games.md``, and the schema. A distribution of contrib/ is installed into a folder
of its own for it: that is the compatibility run, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from loopkit.front.trained import training
from loopkit.report import card_pages, cards
from loopkit.report.cards import Card, Contract, NotMeasured, Probed, Quality
from loopkit.system import code

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "docs/cards"
SCHEMA = ROOT / "docs/card.schema.json"
PAGE = ROOT / "docs/games.md"
TABLE = re.compile(r"(<!-- cards -->\n)(.*?)(<!-- /cards -->)", re.S)
BUNDLED = ("context-compliance", "self-grading", "proxy-metric", "reward-tampering", "biased-judge")
CONTRIB = ("test-editing", "pushback")
MODEL = "tiny"


def results(name: str) -> list[str]:
    """Records of ``results/`` on a game."""
    found = []
    for file in sorted((ROOT / "results").glob("*.json")):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.get("results", {}).get("game") == name:
            found.append(f"results/{file.name}")
    return found


def measure(name: str) -> None:
    """Write ``docs/cards/NAME.json`` by the command line. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "loopkit_command", "card", name, "--json"]
    command += [] if name in CONTRIB else ["--model", MODEL]  # tiny was not warmed up on other games
    command += [word for file in results(name) for word in ("--results", file)]
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if name in CONTRIB:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
            subprocess.run([*pip, "--target", folder, str(ROOT / f"contrib/loopkit-{name}")], check=True)
            environment["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    CARDS.mkdir(exist_ok=True)
    (CARDS / f"{name}.json").write_text(done.stdout.rstrip("\n") + "\n", encoding="utf-8")


def retrain(name: str) -> None:
    """Show the records of ``results/`` on a card, whose other parts stay as they were measured."""
    card, paths = kept()[name], results(name)
    command = card.made.command.partition(" --results ")[0] + "".join(f" --results {path}" for path in paths)
    shown = training([ROOT / path for path in paths], card.subject.name, None)
    made = card.model_copy(update={"training": shown, "made": card.made.model_copy(update={"command": command})})
    (CARDS / f"{name}.json").write_text(made.json_text(), encoding="utf-8")


def kept() -> dict[str, Card]:
    """Name -> the card, of every file in ``docs/cards``; ours first, in their order."""
    there = {file.stem: cards.read(file.read_bytes(), file.name) for file in CARDS.glob("*.json")}
    first = [name for name in (*BUNDLED, *CONTRIB) if name in there]
    return {name: there[name] for name in [*first, *sorted(there.keys() - set(first))]}


def made() -> Iterator[tuple[Path, str]]:
    """(file, text) of all that follows from the cards."""
    every = kept()
    for name, card in every.items():
        yield CARDS / f"{name}.md", card_pages.written(card, ".md", f"{name}.svg")
        yield CARDS / f"{name}.svg", card_pages.written(card, ".svg")
    yield SCHEMA, json.dumps(cards.schema(), indent=1) + "\n"
    rows = [f"| {' | '.join(_row(name, card))} |" for name, card in every.items()]
    table = "\n".join([HEAD, "|---" * 7 + "|", *rows, ""])
    yield PAGE, TABLE.sub(lambda m: m[1] + table + m[3], PAGE.read_text(encoding="utf-8"))


HEAD = "| game | from | contract | headline detector: recall, false positives | probe | training | card |"


def _row(name: str, card: Card) -> list[str]:
    about = f"[{name}](games/{name}.md)" if (ROOT / f"docs/games/{name}.md").is_file() else f"`{name}`"
    contract = card.contract.status if isinstance(card.contract, Contract) else "not measured"
    probe = card.probe.word if isinstance(card.probe, Probed) else "not measured"
    training = "not measured"
    if not isinstance(card.training, NotMeasured):
        training = "; ".join(f"{t.verdict}, {t.seeds} seeds" for t in card.training)
    files = f"[page](cards/{name}.md), [JSON](cards/{name}.json)"
    return [about, card.subject.origin, contract, _headline(card), probe, training, files]


def _headline(card: Card) -> str:
    """Of the first detector: on labelled transcripts, where there are some."""
    if isinstance(card.detectors, NotMeasured):
        return "not measured"
    first = [q for q in card.detectors if q.detector == card.detectors[0].detector]
    q: Quality = next((q for q in first if q.on == "labelled"), first[0])
    return f"{_short(q.recall)}, {_short(q.false_positives)} ({q.on})"


def _short(share: cards.Share) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "none there"
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}] n={share.n}"


def stale() -> list[str]:
    """What is not as the code or the cards say, in words."""
    found = [f"{file.relative_to(ROOT)} is not what the cards make" for file, text in made()
             if not file.is_file() or file.read_text(encoding="utf-8") != text]  # fmt: skip
    every = kept()
    for name in (*BUNDLED, *CONTRIB):
        if name not in every:
            found.append(f"{name} has no card")
        elif every[name].subject.hash != code_of(name):
            found.append(f"the code of {name} is not what its card was measured on")
        elif name in BUNDLED and (used := _trained_on(every[name])) != sorted(Path(r).name for r in results(name)):
            found.append(f"the card of {name} shows the results {used}, and results/ has others")
    return found


def _trained_on(card: Card) -> list[str]:
    return [] if isinstance(card.training, NotMeasured) else sorted(t.source for t in card.training)


def code_of(name: str) -> str:
    """The hash of a game's code as it is in this checkout."""
    package = f"loopkit_{name.replace('-', '_')}"
    folder = ROOT / (f"contrib/loopkit-{name}" if name in CONTRIB else "plugins") / package
    return code.fingerprint(folder / "game.py", installed=True)


def names_of_contrib() -> list[str]:
    """The games that contrib/ offers, by their entry points."""
    found = []
    for file in sorted((ROOT / "contrib").glob("*/pyproject.toml")):
        points = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["entry-points"]["loopkit"]
        found += [n for n, module in points.items() if (file.parent / module / "game.py").is_file()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="measure anew; without names: all")
    parser.add_argument("--records", action="store_true", help="show the records of results/, and measure nothing anew")
    parser.add_argument("--write", action="store_true", help="make pages, badges, table and schema")
    options = parser.parse_args()
    if options.measure is not None:
        for name in options.measure or (*BUNDLED, *CONTRIB):
            print(f"{name} ...", flush=True)
            measure(name)
    if options.records:
        for name in kept():
            retrain(name)
    if options.write:
        for file, text in list(made()):
            file.write_text(text, encoding="utf-8")
    if found := stale():
        print(
            "\n".join(found)
            + "\nMend it with: python -m tools.cards --records --write; after a change of code --measure NAME --write"
        )
        sys.exit(1)
    print("Every card is as the code and the files say.")


if __name__ == "__main__":
    main()
