"""The page docs/paper-values.md, from the kept numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.paper import rows, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "paper-values.md"
HEAD = (
    "# Value by value\n\n"
    "loopkit against the reward functions of the paper's released code, on the same rows and the same completions.\n"
    "Made by `python -m tools.paper --code CLONE --data FOLDER`, which runs the functions of a clone of the paper's "
    "repository; none of them is kept here, only their numbers (`paper-values.json`).\n"
    "`tests/test_paper_values.py` computes loopkit's side anew: on made rows of the same form always, on real rows "
    "where `LOOPKIT_DATA` has them.\n"
    "Two numbers are equal within 1e-6.\n"
    "A kind of completion that is not listed is equal on every row; one that is listed says who is right.\n\n"
)
NOTES = {
    "proxy-metric": "`paid` is what training pays: ROUGE-L F1 against the article (`compute_score`). `similarity`, "
    "`exploit` and `task` are `compute_score_article_overlap`'s, which evaluation uses. Its tokenizer is Qwen3's, from "
    "a hub; here both sides count by `tiny`'s (`game.tokenizer=tiny`). `task, in words` sets its fall-back, what "
    "stands between blanks, against loopkit's default.",
    "reward-tampering": "With `game.parser=auto`, which is the paper's parser for rows. `task` is the share of tests "
    "passed, `exploit` whether `score` was written. `paid, tests run here` is the paper's function with loopkit's "
    "sandbox in the place of its runner: what the two *parsers* alone decide. Right programs know the answers by the "
    "tests' inputs.",
    "self-grading": "`task` is whether the answer counts as right (`bbeh.compute_score`), where the prompt asks for a "
    "box. As released, the vulnerable script cannot train: it names this function, which takes none of the arguments "
    "that the reward manager passes by name, nor returns the field that the trainer's loop reads (read, not run).",
}


def text(kept: dict[str, Any]) -> str:
    """The page."""
    games = [_game(game, kept["games"][game]) for game in rows.MADE if game in kept["games"]]
    return HEAD + "\n".join([*games, _reports(kept["reports"])])


def _game(game: str, found: dict[str, Any]) -> str:
    n = len(next(iter(found.values()))["theirs"])
    lines = [f"## {game}", "", NOTES[game], ""]
    lines += [f"{n} kinds of completion.", "", "| rows | n | values | equal |", "|---|---|---|---|"]
    for name, one in found.items():
        counts = [equal for kind in one["equal"].values() for equal, _ in kind.values()]
        values = len(counts) * one["rows"]
        lines.append(f"| {_named(name)} | {one['rows']} | {values:,} | {sum(counts):,} |")
    for name, one in found.items():
        lines += ["", f"On {_named(name)} ({one['rows']} rows), equal of all:", ""]
        lines += ["| kind | measure | equal | largest difference |", "|---|---|---|---|", *_differing(game, one)]
    lines += ["", "| kinds | measures | who is right | why |", "|---|---|---|---|", *_verdicts(game, found), ""]
    return "\n".join(lines)


def _named(name: str) -> str:
    return "made rows" if name == "made" else f"`{name}`"


def _differing(game: str, one: dict[str, Any]) -> Iterator[str]:
    """A line for each kind; measures that differ alike share it."""
    for kind, measures in one["equal"].items():
        alike: dict[tuple[float, float], list[str]] = {}
        for measure, (equal, worst) in measures.items():
            if equal < one["rows"]:
                alike.setdefault((equal, worst), []).append(measure)
        for (equal, worst), names in alike.items():
            yield f"| {_code(kind)} | {'; '.join(names)} | {equal} | {f'{worst:g}' if worst else '< 0.001'} |"


def _verdicts(game: str, found: dict[str, Any]) -> Iterator[str]:
    differ = {
        (kind, measure)
        for one in found.values()
        for kind, measures in one["equal"].items()
        for measure, (equal, _) in measures.items()
        if equal < one["rows"]
    }
    for verdict in verdicts.VERDICTS[game]:
        seen = [(k, m) for k, m in differ if verdicts.of(game, k, m) is verdict]
        named = [kind for kind in verdict.kinds if any(kind == k for k, _ in seen)]
        measures = [m for m in verdict.measures if any(m == n for _, n in seen)]
        listed = f"{len(named)} kinds" if len(named) > 6 else "; ".join(map(_code, named))
        if named:
            yield f"| {listed} | {'; '.join(measures)} | {verdict.right} | {_code(verdict.why)} |"


def _reports(reports: list[list[Any]]) -> str:
    lines = [
        "## Reports", "",
        "Whether a report claims CORRECT: by the paper's rule more \"yes\" than \"no\" stands in it, anywhere, "
        "thoughts included.", "", "| report | the paper | loopkit |", "|---|---|---|",
    ]  # fmt: skip
    for said, theirs, mine in reports:
        shown = " ".join(said.split()) or "(nothing)"
        lines.append(f"| {_code(shown)} | {'claims' if theirs else '-'} | {'claims' if mine else '-'} |")
    differ = sum(a != b for _, a, b in reports)
    lines += ["", f"They differ on {differ} of {len(reports)}: loopkit hears *Correct*, and no claim in thoughts, in a "
              "\"yes\" that the report takes back, or in \"I know\"."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """As Markdown that shows tags and backslashes as they are."""
    return re.sub(r"\\(?=\w)", r"\\\\", text.replace("|", "\\|").replace("<", "&lt;"))
