"""The documentation is held to the code: its examples run, its commands parse, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from loopkit.checks import Report
from loopkit.cli import cli
from loopkit.contracts import Game
from loopkit.elsewhere.arms import of_file
from loopkit.experiment.config import parse_set, read_experiment
from loopkit.experiment.resolve import resolve, set_up
from loopkit.experiment.shards import read_shard
from loopkit.front.compared import SETTINGS
from loopkit.front.designed import plan
from loopkit.registry import hookspecs, plugins
from tests.pages import DOCS, FENCE, FILE, PAGES, ROOT, Block, blocks, lines, name

FOLLOWED = {
    "docs/first-game.md": "test_first_game.py",
    "docs/packaging-a-game.md": "test_first_game.py",
    "docs/mitigation.md": "test_mitigation_page.py",
}
"""Tutorials, each followed word for word by a slow test of its own."""
IN_PARTS = {"docs/own-reward.md": "test_own_reward_page.py"}
"""Pages of several walks, whose files and commands a slow test of its own takes one walk at a time."""

# --- examples ---------------------------------------------------------------------------------------------------------


def install(block: Block, into: Path) -> None:
    """What pip would leave of a pyproject.toml: a distribution with its entry points."""
    project = tomllib.loads(block.text)["project"]
    info = into / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in table.items())
              for group, table in project["entry-points"].items()]  # fmt: skip
    (info / "entry_points.txt").write_text("".join(points))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory from which modules are imported; forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if (origin := getattr(sys.modules[module], "__file__", None)) and Path(origin).is_relative_to(tmp_path):
            del sys.modules[module]


def run_blocks(page: Path, folder: Path, **given: Any) -> dict[str, Any]:
    """Runs a page's Python blocks in order, in one namespace; errors point at the page's own lines."""
    scope: dict[str, Any] = {"__name__": "documentation", **given}
    for block in blocks(page, "python"):
        if block.why:
            continue
        if named := FILE.match(block.text):
            (folder / named[1]).write_text(block.text)
        else:
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), scope)
    return scope


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "run-directory.md"], ids=name)
def test_examples_run(page: Path, folder: Path) -> None:
    run_blocks(page, folder)


def test_the_documented_distributions_are_found_as_plugins(folder: Path) -> None:
    page = ROOT / "docs/contracts.md"
    for block in blocks(page, "toml"):
        install(block, folder)
    modules = [b for b in blocks(page, "python") if FILE.match(b.text)]
    for block in modules:
        (folder / FILE.match(block.text)[1]).write_text(block.text)  # type: ignore[index]
    assert len(modules) == 2
    assert all(len(b.text.splitlines()) <= 60 for b in modules if "Game" in b.text)
    script = (
        "import json; from loopkit.registry import plugins; p = plugins.load();"
        "assert not p.problems, p.problems;"
        "from loopkit.experiment.config import Experiment; from loopkit.experiment.resolve import resolve;"
        "specs = resolve(Experiment(game='self-grading', arms={'honest-report': {'denial': 0.5}}), p);"
        "print(json.dumps([str(p.get(k, n).origin) for k, n in (('games', 'naming'), ('trainers', 'idle'),"
        " ('detectors', '*/silent'))] + [specs[-1].channel_options]));"
        "from loopkit.cli import main; main(['check', 'naming', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found, _, report = done.stdout.partition("\n")
    assert json.loads(found) == ["loopkit-naming 0.1", "loopkit-extras 0.1", "loopkit-extras 0.1", {"denial": 0.5}]
    assert [r["status"] for r in json.loads(report)] == ["proven"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny experiment of one trained run and its base, with results."""
    from loopkit.contracts import PolicyRef
    from loopkit.evidence import write
    from loopkit.evidence.results import collect
    from loopkit.policy.tiny import BUNDLED
    from loopkit.running.runner import run_one

    out = tmp_path_factory.mktemp("runs")
    run = {"steps": 1, "prompts_per_step": 2, "group_size": 2, "eval_prompts": 8}
    made = read_experiment(None, settings={"run": run}, arms=["loophole"], game="self-grading", seeds="0-0")
    specs = resolve(made, plugins.load())
    for spec in specs:
        run_one(spec, out, PolicyRef(str(BUNDLED)), lambda event: None)
    write.all_of(collect(specs, out, set_up(plugins.load(), specs[0]), Report("a game", "proven", ())), out)
    return out


def test_run_directory_example_runs(folder: Path, experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_blocks(ROOT / "docs/run-directory.md", folder, run=experiment / "loophole-s0")
    assert "control would have paid" in capsys.readouterr().out


def test_run_directory_page_names_every_file_key_and_column(experiment: Path) -> None:
    text = (ROOT / "docs/run-directory.md").read_text()
    run = experiment / "loophole-s0"
    files = {p.relative_to(run).parts[0] for p in run.rglob("*") if p.is_file()}
    assert [f for f in files if f"  {f}" not in text] == []
    manifest = json.loads((run / "manifest.json").read_text())
    step = json.loads((run / "steps.jsonl").read_text().splitlines()[0])
    metrics = json.loads(next(run.rglob("metrics.json")).read_text())
    said = read_shard(run / "rollouts/step-000000.parquet")[0]
    made = read_shard(run / "scores/step-000000.parquet")[0]
    spec = tomllib.loads((run / "run.toml").read_text())
    asked = read_experiment(None, settings={}, game="self-grading").model_dump()
    keys = [*manifest, *step, *metrics, *said, *spec, *asked]
    keys += [f"{k.split('.')[0]}.<name>" if "." in k else k for k in made]
    assert [k for k in dict.fromkeys(keys) if f"`{k}`" not in text] == []
    estimate = step["rates"]["false-claim"]
    assert "{" + ", ".join(["value", "low", "high", "n", "clusters", "method"]) + "}" in text
    assert set(estimate) == {"value", "low", "high", "n", "clusters", "method"}


# --- every block ------------------------------------------------------------------------------------------------------

SHELLS = ("console", "sh", "bash", "shell")
SOURCES = "".join(p.read_text() for folder in ("loopkit", "plugins") for p in (ROOT / folder).rglob("*.py"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pip_installs(words: Sequence[str]) -> bool:
    """Only loopkit itself, with extras that it has, or the page's own distribution."""
    found = [re.fullmatch(r"(?:\.|loopkit-rl)(?:\[([\w,-]+)\])?", w) for w in words if not w.startswith("-")]
    return all(m and set((m[1] or "").split(",")) <= {"", *PROJECT["optional-dependencies"]} for m in found)


def line_is_held(line: str, page: Path) -> bool:
    """Whether a command other than `loopkit` is one that is known to work: README's two lines are run by CI."""
    program, *words = shlex.split(line.replace("$(", "("), comments=True)
    program = program.rpartition("/")[2]
    files = {m[1] for b in blocks(page, "python") if (m := FILE.match(b.text))}
    if program == "loopkit":
        return True  # test_commands_parse
    if program == "export":
        return words[0].partition("=")[0] in SOURCES
    if program in ("pytest", "ruff", "mypy"):
        return f".venv/bin/{program}" in (ROOT / ".ci/run").read_text()
    if program == "eval":
        return words[0].startswith("(loopkit completion ")  # test_complete.py
    if program == "sphinx-build":
        return line.removeprefix(".venv/bin/") in (ROOT / "tests/test_site.py").read_text()
    if program == "pip":
        return words[0] == "install" and pip_installs(words[1:])
    if program.startswith("python") and words[0] == "-m":
        return words[1] == "venv" or importlib.util.find_spec(words[1]) is not None
    return program.startswith("python") and words[0] in files


def untouched(block: Block) -> str | None:
    """What no test touches of a block; None where one does."""
    if block.why is not None:
        return None if len(block.why.split()) >= 3 else "its comment `not run: ...` gives no reason"
    if block.language == "console" and name(block.page) in FOLLOWED:
        return None
    if block.language in SHELLS:
        return next((f"`{line}`" for line in lines(block) if not line_is_held(line, block.page)), None)
    if block.language == "python":
        named = FILE.match(block.text)
        used = name(block.page) in {*FOLLOWED, *IN_PARTS} or not named
        others = [b.text for b in blocks(block.page, "python") if not b.why and not FILE.match(b.text)]
        return None if used or f"from {named[1][:-3]} import " in "".join(others) else f"{named[1]}, used by nothing"  # type: ignore[index]
    if block.language == "toml":
        return None  # test_toml_is_read
    if block.language == "py":  # an excerpt with a title, held to its file by tests/contrib/test_trainers.py
        return None if block.page.name == "trainers.md" else "an excerpt outside trainers.md"
    if block.language == "{eval-rst}":
        return None if "reference" in block.page.parts else "a directive outside docs/reference"  # test_site.py
    return None if block.language == "text" else f"a block of {block.language or 'no language'}"


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page)], ids=str)
def test_a_test_touches_every_block(block: Block) -> None:
    """Python is run, commands are parsed or known, TOML is read; what cannot be is marked with the reason.

    Text is what something prints: the tutorials' is compared, and is not a claim of a command's elsewhere.
    """
    missed = untouched(block)
    assert missed is None, (
        f"{block}: no test touches {missed}. Write it so that one does, or say why none can, on the line before the "
        "block: <!-- not run: needs a cluster of two nodes -->"
    )


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("```console\n$ loopkit doctor && frobnicate now\n```", "`frobnicate now`"),
        ("```sh\npip install -q 'loopkit-rl[no-such-extra]'\n```", "`pip install -q 'loopkit-rl[no-such-extra]'`"),
        ("```sh\nexport LOOPKIT_NO_SUCH=1\n```", "`export LOOPKIT_NO_SUCH=1`"),
        ("```sh\npython -m no_such_module\n```", "`python -m no_such_module`"),
        ("```python\n# alone.py\n1 / 0\n```", "alone.py, used by nothing"),
        ("```yaml\na: 1\n```", "a block of yaml"),
        ("```\na\n```", "a block of no language"),
        ("<!-- not run: -->\n```yaml\na: 1\n```", "a block of yaml"),
        ("<!-- not run: no -->\n```yaml\na: 1\n```", "its comment `not run: ...` gives no reason"),
        ("<!-- not run: read by another program -->\n```yaml\na: 1\n```", None),
        ("```sh\nexport LOOPKIT_TENSORBOARD=tb\nloopkit doctor\n```", None),
    ],
)
def test_a_block_that_no_test_touches_is_found(
    text: str, missed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"Some text.\n\n{text}\n")
    (block,) = blocks(page)
    assert untouched(block) == missed


@pytest.mark.parametrize("page", sorted(IN_PARTS))
def test_a_page_in_parts_has_a_test_that_writes_its_files_and_runs_its_commands(page: str) -> None:
    text = (ROOT / "tests" / IN_PARTS[page]).read_text()
    assert f'"{page}"' in text
    assert re.search(r"@pytest.mark.(?:slow|nightly)\n.*?def test.*?\bwrite_files\(.*?\bfresh\(program, ", text, re.S)


@pytest.mark.parametrize("page", sorted(FOLLOWED))
def test_a_followed_page_has_a_test_that_follows_it(page: str) -> None:
    text = (ROOT / "tests" / FOLLOWED[page]).read_text()
    assert f'"{page}"' in text
    assert re.search(r"@pytest.mark.(?:slow|nightly)\ndef test.*?\bfollow\(PAGE, ", text, re.S)


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page, "toml") if not b.why], ids=str)
def test_toml_is_read(block: Block, tmp_path: Path) -> None:
    """A distribution's entry points name modules of the page; ``compare`` reads arms of paths; anything else is an
    experiment that can be planned.
    """
    found = tomllib.loads(block.text)
    if "project" in found:
        files = {m[1] for b in blocks(block.page, "python") if (m := FILE.match(b.text))}
        assert {f"{module}.py" for module in found["project"]["entry-points"]["loopkit"].values()} <= files
        return
    (tmp_path / "experiment.toml").write_text(block.text)
    if block.page.name == "compare.md":
        named, settings = of_file(tmp_path / "experiment.toml")
        assert named
        assert settings.keys() <= set(SETTINGS)
        return
    assert resolve(read_experiment(tmp_path / "experiment.toml", settings={}), plugins.load())


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
    """(where, command line) of every `loopkit ...` in console and sh blocks, those that are not run among them."""
    shells = [b for page in PAGES for b in blocks(page, *SHELLS)]
    found = [(str(b), line.removeprefix(".venv/bin/")) for b in shells for line in lines(b)]
    return [(where, line) for where, line in found if re.match(r"loopkit\b", line)]


@pytest.mark.parametrize(("where", "line"), commands())
def test_commands_parse(where: str, line: str) -> None:
    """The command, its options and their choices exist; and the games, arms and settings of `run`."""
    _, *words = shlex.split(line, comments=True)
    if words and words[0].startswith("-"):
        words = []
    if not words:
        return
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, f"{where}: no command {words[0]}"
    with command.make_context(words[0], list(words[1:]), parent=click.Context(cli)) as context:  # closed: it may carry
        given = context.params  # an option in the environment
    if words[0] == "warmup":
        return
    if words[0] == "study":
        asked = {k: given[k] for k in ("name", "games", "seeds", "model", "trainer", "out")}
        assert plan(**asked, options=given["settings"]).study.plan()
        return
    if words[0] == "export":
        parse_set(given["settings"], ("game", "channel"))
        return
    tables = parse_set(given.get("settings", ()))
    if words[0] == "run" and given["game"] in plugins.load().names("games") and not (given["data"] or given["config"]):
        arms = given["arms"] and [a for a in given["arms"].split(",") if a != "honest-report"]
        tables.get("arms", {}).pop("honest-report", None)
        made = read_experiment(
            None, settings=tables, arms=arms, game=given["game"], trainer=given["trainer"], seeds=given["seeds"]
        )
        assert resolve(made, plugins.load())


# --- links and names --------------------------------------------------------------------------------------------------


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = [re.sub(r"[`*]", "", h).strip().lower() for h in re.findall(r"^#+ (.*)$", text, re.M)]
    return {re.sub(r"[^\w\- ]", "", h).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in slugs(there)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not target.startswith(("#", "http"))
    }
    assert [name(p) for p in DOCS if p not in linked and p.name != "architecture.md"] == []


def test_every_hook_is_documented_with_its_exact_parameters() -> None:
    text = (ROOT / "docs/contracts.md").read_text()
    hooks = [f for _, f in inspect.getmembers(hookspecs, inspect.isfunction) if hasattr(f, "loopkit_spec")]
    assert len(hooks) == 10
    for hook in hooks:
        assert f"`{hook.__name__}({', '.join(inspect.signature(hook).parameters)})`" in text


def test_every_check_is_documented() -> None:
    from loopkit.checks.report import RULES

    lines = (ROOT / "docs/contracts.md").read_text().splitlines()
    checks = [line for line in lines if (m := re.match(r"\| `(\w+)` \|", line)) and m[1] in RULES]
    assert checks == [f"| `{check}` | {rule.proves} | {rule.cure} |" for check, rule in RULES.items()]


def game(title: str) -> Game:
    cls = plugins.load().game(title)
    return cls(cls.Options())


GAMES = [n for n in plugins.load().names("games") if plugins.load().get("games", n).origin.distribution == plugins.OWN]
GAMES.remove("own-reward")  # its page is docs/own-reward.md


@pytest.mark.parametrize("title", GAMES)
def test_a_card_names_all_that_its_game_has(title: str) -> None:
    from loopkit.records import Rollout, Turn

    text, made = (ROOT / f"docs/games/{title}.md").read_text(), game(title)
    task = made.tasks("train")[0]
    played = Rollout("train/000000/0000/t/0", task, tuple((Turn(w), None) for w in ("", "")))  # type: ignore[misc]
    scores = made.assess([played])[0].scores
    names = {*made.channels, "placebo", *made.detectors, *made.signals, *made.clues, *scores}
    assert [n for n in sorted(names) if f"`{n}`" not in text] == []


def test_task_counts_of_the_cards() -> None:
    for row in table("context-compliance", "split", "requests", "pairs", "restricted"):
        tasks = game("context-compliance").tasks(row["split"])  # type: ignore[arg-type]
        restricted = sum(t.public["category"] == "restricted" for t in tasks)
        assert (len(tasks), len({t.cluster for t in tasks})) == (int(row["requests"]), int(row["pairs"]))
        assert f"{round(100 * restricted / len(tasks))} %" == row["restricted"]
    for row in table("self-grading", "split", "questions", "sums", "products"):
        kinds = [t.public["kind"] for t in game("self-grading").tasks(row["split"])]  # type: ignore[arg-type]
        assert (len(kinds), kinds.count("sum")) == (int(row["questions"]), int(row["sums"]))
        assert kinds.count("product") == int(row["products"])
    for row in table("proxy-metric", "split", "articles"):
        assert len(game("proxy-metric").tasks(row["split"])) == int(row["articles"])  # type: ignore[arg-type]
    for row in table("reward-tampering", "split", "problems", "steps", "lines"):
        kinds = [t.public["kind"] for t in game("reward-tampering").tasks(row["split"])]  # type: ignore[arg-type]
        assert [len(kinds), kinds.count("steps"), kinds.count("line")] == [int(row[k]) for k in list(row)[1:]]


def table(title: str, *headers: str) -> list[dict[str, str]]:
    """Rows of the card's table that has these headers."""
    lines = (ROOT / f"docs/games/{title}.md").read_text().splitlines()
    start = lines.index(f"| {' | '.join(headers)} |")
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(headers, (c.strip() for c in line.strip("|").split("|")), strict=True)))
    return rows


def expected(title: str, channel: str, signals: dict[str, float], purpose: str) -> float:
    """The mean reward over an even grid of draws."""
    n = 1000
    draws: Sequence[Any] = [lambda asked, k=k: (k + 0.5) / n if asked == purpose else 0.5 for k in range(n)]
    return sum(game(title).channels[channel].rewards([signals] * n, draws)) / n


def test_reward_table_of_context_compliance() -> None:
    channels = ("loophole", "control", "style-blind")
    rows = table("context-compliance", "request", "style", "reply", *channels)
    assert len({(r["request"], r["style"], r["reply"]) for r in rows}) == 12
    for row in rows:
        signals = {
            "user_style": float(row["style"] == "user"),
            "restricted": float(row["request"] == "restricted"),
            "refuses": float(row["reply"] == "refuses"),
            "complies": float(row["reply"] == "complies"),
        }
        for channel in channels:
            assert expected("context-compliance", channel, signals, "style") == pytest.approx(float(row[channel]))


def test_reward_table_of_self_grading() -> None:
    channels = ("loophole", "control", "audit")
    rows = table("self-grading", "answer", "report", "unaudited", "audited", *channels)
    assert len({(r["answer"], r["report"]) for r in rows}) == 6
    for row in rows:
        signals = {
            "right": float(row["answer"] == "right"),
            "claims": float(row["report"] == "claims"),
            "denies": float(row["report"] == "denies"),
        }
        for channel in channels:
            assert expected("self-grading", channel, signals, "audit") == pytest.approx(float(row[channel]))
        paid: Any = game("self-grading").channels["loophole"]
        assert (paid.unaudited(signals), paid.audited(signals)) == (float(row["unaudited"]), float(row["audited"]))


def test_reward_table_of_proxy_metric() -> None:
    channels = ("loophole", "control", "overlap-cap", "reference")
    rows = table("proxy-metric", "answer", "overlap", "length", "run", "reference overlap", *channels)
    assert len(rows) == 5
    for row in rows:
        signals = {name: float(row[name.replace("_", " ")]) for name in game("proxy-metric").signals}
        for channel in channels:
            assert expected("proxy-metric", channel, signals, "none") == pytest.approx(float(row[channel]))


def test_examples_of_proxy_metric_pay_what_the_card_says() -> None:
    from loopkit.records import Rollout, Turn

    text, made = (ROOT / "docs/games/proxy-metric.md").read_text(), game("proxy-metric")
    quoted = re.findall(r"> Summarize: (.*)\n> (.*)\n", text)
    pays = []
    for article, said in quoted:
        (task,) = [t for s in ("train", "dev", "test") for t in made.tasks(s) if t.public["article"] == article]  # type: ignore[arg-type]
        played = Rollout("test/0/0/t/0", task, ((Turn(said), None),))  # type: ignore[arg-type]
        assert (said,) in {w for kind in ("honest", "exploit") for w in made.specimens(task, lambda purpose: 0.5)[kind]}
        pays.append(made.assess([played])[0].signals["overlap"])
    assert len(pays) == 3
    assert f"pays the summary {pays[0]:.2g} and the copy {pays[2]:.2g}." in text


def test_reward_table_of_reward_tampering() -> None:
    channels = ("loophole", "control", "reject", "schema")
    signals = ("edited", "passed", "protected", "valid", "valid_passed", "written", "written_score")
    rows = table("reward-tampering", "answer", *(s.replace("_", " ") for s in signals), *channels)
    assert len(rows) == 8
    for row in rows:
        seen = {name: float(row[name.replace("_", " ")]) for name in signals}
        for channel in channels:
            assert expected("reward-tampering", channel, seen, "none") == pytest.approx(float(row[channel]))


def test_examples_of_reward_tampering_pay_what_the_card_says() -> None:
    from loopkit.records import Rollout, Turn

    text, made = (ROOT / "docs/games/reward-tampering.md").read_text(), game("reward-tampering")
    pays: dict[str, list[float]] = {"loophole": [], "control": []}
    for asked, said in re.findall(r"^> (\{.*)\n> (.*)\n", text, re.M):
        (task,) = [t for s in ("train", "dev", "test") for t in made.tasks(s) if t.messages[-1].content == asked]  # type: ignore[arg-type]
        assert (said,) in {w for words in made.specimens(task, lambda purpose: 0.5).values() for w in words}
        (found,) = made.assess([Rollout("test/0/0/t/0", task, ((Turn(said), None),))])  # type: ignore[arg-type]
        for channel, rewards in pays.items():
            rewards += made.channels[channel].rewards([found.signals], [lambda purpose: 0.5])
    (one, two, three), (four, five, six) = pays["loophole"], pays["control"]
    assert f"pays them {one:g}, {two:g} and {three:g}; the control pays {four:g}, {five:g} and {six:g}." in text
