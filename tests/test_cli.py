"""The commands: help with examples, exit codes, and errors of one paragraph that name the cure."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from loopkit.cli import COMMANDS, cli, main
from loopkit.cli.render import harmless, table
from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.experiment.config import parse_set, read_experiment
from loopkit.experiment.resolve import resolve
from loopkit.experiment.shards import read_shard, write_shard
from loopkit.registry import plugins as registry
from tests.dists import install, loopkit

NAN = """
from typing import ClassVar
from loopkit.contracts import RewardChannel

class Nan(RewardChannel):
    reads: ClassVar[frozenset[str]] = frozenset({"claims"})
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def rewards(self, signals, draws):
        return [float("nan")] * len(signals)

@hookimpl
def register_channels(register):
    register("self-grading/nan", Nan)
"""
SMALL = ["--seeds", "1", "--set", "run.steps=1", "--set", "run.prompts_per_step=4", "--set", "run.group_size=2",
         "--set", "run.eval_prompts=16"]  # fmt: skip


class Result:
    """What a call to the command line gave."""

    def __init__(self, code: Any, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls ``main`` in an empty directory, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        return Result(stop.value.code or 0, *capsys.readouterr())

    return run


def one_paragraph(found: Result, code: int, *parts: str) -> None:
    assert found.code == code, found.err
    assert found.out == ""
    text = found.err.strip()
    assert text.startswith("Error: ")
    assert "\n\n" not in text
    assert "Traceback" not in text
    flat = " ".join(text.split())
    for part in parts:
        assert part in flat
    assert max(map(len, text.splitlines())) <= 150


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(call: Any, name: str) -> None:
    found = call(name, "--help")
    assert found.code == 0
    examples = found.out.partition("Examples:")[2]
    assert f"loopkit {name}" in examples
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert not [p for p in command.params if isinstance(p, click.Option) and not p.help]


def test_examples_use_options_that_exist() -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands.values() if isinstance(command, click.Group) else ()  # `new` has `new game`
        known = {o for c in (command, *inner) for p in c.params for o in p.opts}
        lines = [line for line in (command.epilog or "").splitlines() if line.strip().startswith(f"loopkit {name}")]
        assert lines
        assert {o for line in lines for o in re.findall(r"(?<!\S)--[a-z-]+", line.split("#")[0])} <= known


def test_help_and_version(call: Any) -> None:
    assert all(name in call("--help").out for name in COMMANDS)
    assert re.fullmatch(r"loopkit, version \d+\.\d+\.\d+\S*\n", call("--version").out)
    assert call("-h").code == 0


# --- usage errors -----------------------------------------------------------------------------------------------------

USAGE: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown command": (["rnu"], ("no command 'rnu'.", "Did you mean 'run'")),
    "unknown flag": (["run", "--gmae", "x"], ("No such option", "--gmae", "--game", "loopkit run --help")),
    "no game": (["run"], ("no game: name one with --game",)),
    "unknown game": (["run", "--game", "self-gradin"], ("unknown game 'self-gradin'.", "Did you mean 'self-grading'?")),
    "unknown trainer": (["run", "--game", "self-grading", "--trainer", "gpo"], ("unknown trainer", "'grpo'")),
    "unknown arm": (["run", "--game", "self-grading", "--arms", "adit"], ("no channel 'adit'", "'audit'")),
    "misspelt option": (
        ["run", "--game", "self-grading", "--set", "trainer.lerning_rate=1"],
        ("trainer grpo has no option 'lerning_rate'.", "'learning_rate'"),
    ),
    "misspelt section": (["run", "--game", "self-grading", "--set", "trianer.x=1"], ("section.name=value",)),
    "seeds": (["run", "--game", "self-grading", "--seeds", "x"], ("--seeds 'x' names no seeds",)),
    "no data": (["run", "--game", "context-compliance", "--data", "no.jsonl"], ("'no.jsonl' does not exist",)),
    "no arm": (["run", "--game", "self-grading", "--arms", ","], ("--arms names no arm",)),
    "no game before the name": (["list", "detectors", "near-copy"], ("write GAME/near-copy",)),
    "prompts that cannot be packed": (
        ["run", "--game", "context-compliance", "--set", "run.prompts_per_step=3"],
        ("3 prompts a step cannot be filled with whole clusters", "a multiple of the cluster size"),
    ),
    "no rollouts": (
        ["run", "--game", "self-grading", "--trainer", "sft", "--set", "rollouts.run=nowhere"],
        ("nowhere is not a run directory",),
    ),
    "config": (["run", "--config", "none.toml"], ("none.toml cannot be read",)),
    "eval of nothing": (["eval"], ("name a game with --game",)),
    "eval of an unknown game": (["eval", "--game", "x"], ("unknown game 'x'",)),
    "eval of an unknown split": (["eval", "--game", "self-grading", "--split", "tset"], ("'tset' is not one of",)),
    "run with a deadline never met": (["run", "--game", "self-grading", "--deadline", "nan"], ("--deadline", "finite")),
    "study with no end": (["study", "--deadline", "inf"], ("--deadline", "finite")),
    "probe with a deadline never met": (["probe", "--reward", "x.py:f", "--deadline", "nan"], ("--deadline", "finite")),
    "probe of no length": (["probe", "--reward", "x.py:f", "--seconds", "nan"], ("--seconds", "finite")),
    "plan with no margin": (["plan", "--margin", "nan"], ("--margin", "finite")),
    "check against nothing": (["check", "self-grading", "--least", "nan"], ("--least", "finite")),
    "eval of a seed": (["eval", "--game", "self-grading", "--seed", "-1"], ("-1 is not in the range",)),
    "list": (["list", "gmaes"], ("'gmaes' is not one of",)),
    "check": (
        ["check", "self-gradin"], ("no game, trainer or intervention 'self-gradin'.", "Did you mean 'self-grading'"),
    ),
    "rescore": (["rescore", "nowhere"], ("nowhere: no run directory there",)),
    "warmup setting": (["warmup", "--out", "w", "--set", "stesp=3"], ("no such setting", "'steps'")),
    "warmup value": (["warmup", "--out", "w", "--set", "steps=x"], ("steps is of type int",)),
    "warmup start": (["warmup", "--out", "w", "--start", "nowhere"], ("nowhere holds no warmed-up policy",)),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors(call: Any, name: str, tmp_path: Path) -> None:
    arguments, parts = USAGE[name]
    one_paragraph(call(*arguments), 2, *parts)
    assert list(tmp_path.iterdir()) == []  # and nothing was begun


def test_data_without_a_column(call: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "hi", "sorce": "human", "category": "helpful"}\n')
    arguments = ["--game", "context-compliance", "--data", "rows.jsonl"]
    for command in ("run", "eval"):
        found = call(command, *arguments)
        one_paragraph(found, 2, "rows.jsonl, row 0 has no column 'source'.", "Did you mean 'sorce'?")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_directory_of_another_experiment(call: Any, tmp_path: Path) -> None:
    from loopkit.experiment.config import Experiment
    from loopkit.front.directories import claim, make

    claim(Path("out"), Experiment(game="self-grading"))
    claim(Path("out"), Experiment(game="self-grading"))  # the same resumes
    found = call("run", "--game", "self-grading", "--seeds", "5", "--arms", "loophole", "--out", "out")
    one_paragraph(found, 2, "out was made by another spec", "seeds: '3' there, '5' now", "arms.control: {} there, None")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    found = call("run", "--game", "self-grading", "--out", "mine")
    one_paragraph(found, 2, "mine exists and is not an experiment of loopkit's")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed/.tmp-experiment.toml").touch()
    make(Path("killed"))  # killed while it began
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/out cannot be written: Not a directory"):
        make(Path("file/out"))


def test_debug_shows_the_traceback(call: Any) -> None:
    found = call("--debug", "run", "--game", "self-gradin")
    assert found.code == 2
    assert "Traceback (most recent call last)" in found.err
    assert "UsageError" in found.err
    assert "Error: unknown game 'self-gradin'" in found.err


def test_what_nobody_foresaw_is_one_paragraph_too(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopkit.cli.listing.offered", lambda plugins, kind: 1 / 0)
    one_paragraph(call("list"), 3, "ZeroDivisionError: division by zero", "loopkit --debug")
    assert "<lambda>" in call("--debug", "list").err


def test_a_commands_exit_code_is_kept(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def leaves(context: click.Context) -> None:
        context.exit(7)

    monkeypatch.setitem(cli.commands, "leaves", leaves)
    assert call("leaves").code == 7
    interrupts = click.Command("interrupts", callback=lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setitem(cli.commands, "interrupts", interrupts)
    found = call("interrupts")
    assert found.code == 130
    assert "the same command resumes" in found.err


def test_terminal_escapes_are_made_harmless(call: Any) -> None:
    evil = "self\x1b]0;owned\x07\x1b[31m\u202egrading"
    for arguments in (["run", "--game", evil], [evil], ["run", f"--{evil}"], ["check", evil], ["rescore", evil]):
        found = call(*arguments)
        assert found.code == 2
        assert not {c for c in found.err if not c.isprintable()} - {"\n"}
    assert harmless("a\x1b[0m\u202eb\nc") == "a\ufffd[0m\ufffdb\nc"
    assert "\x1b" not in table([["\x1b[31m", 3]], ["a", "b"])


# --- commands that work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["games", "trainers", "channels", "detectors", "policies"])
def test_list(call: Any, kind: str) -> None:
    rows = json.loads(call("list", kind, "--json").out)
    assert rows
    assert {r["kind"] for r in rows} == {kind}
    assert all(r["what"] and r["origin"].startswith("loopkit-rl ") for r in rows)
    plain, markdown = call("list", kind).out, call("list", kind, "--format", "markdown").out
    assert all(r["name"] in plain and r["name"] in markdown for r in rows)
    assert markdown.startswith("| kind")


def test_check(call: Any) -> None:
    found = call("check", "self-grading", "--fuzz", "50", "--json")
    assert found.code == 0
    (report,) = json.loads(found.out)
    assert (report["name"], report["status"]) == ("self-grading", "proven")
    assert report["seconds"] > 0
    plain = call("check", "self-grading", "--fuzz", "60", "-v").out
    assert re.match(r"self-grading: proven\. 14 of 14 checks held \(\d+\.\d s\)\.\n", plain)
    assert "60 garbage completions." in " ".join(plain.split())


@pytest.mark.nightly  # .ci/run proves each bundled game and trainer once, in tests of its own
def test_check_of_everything_installed() -> None:
    found = loopkit("check", "--json")
    assert found.returncode == 0, found.stdout
    reports = json.loads(found.stdout)
    assert {r["name"] for r in reports} >= {"self-grading", "context-compliance", "grpo", "rloo", "sft"}
    assert {r["status"] for r in reports} == {"proven"}
    assert not [f for r in reports for f in r["findings"] if f["left_out"]]


def test_check_of_bad_data_is_the_users_fault(call: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"promt": "Hello"}\n')
    found = call("check", "context-compliance", "--data", str(tmp_path / "rows.jsonl"))
    assert found.code == 2
    assert "has no column" in " ".join(found.err.split())  # it is wrapped
    assert "Make tasks()" not in found.err
    found = call("check", "--data", "rows.jsonl")
    assert (found.code, "Name the games they are for" in found.err) == (2, True)


def test_check_of_a_broken_game_names_the_cure(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.load().game("self-grading"), "axis", "luck")
    found = call("check", "self-grading", "--format", "markdown")
    assert found.code == 1
    assert "self-grading: fails. 1 of 2 checks held" in found.out
    assert re.search(r"^\| FAILS +\| declared +\| .*Set `axis` to 'specification'", found.out, re.M)


def test_doctor(call: Any) -> None:
    found = call("doctor", "--json")
    assert found.code == 0
    data = json.loads(found.out)
    assert data["problems"] == []
    assert data["registered"]["trainers"] >= 6
    assert "No problems found." in call("doctor").out


def test_dry_run_writes_nothing(call: Any, tmp_path: Path) -> None:
    arguments = ["run", "--game", "self-grading", "--seeds", "2", "--dry-run"]
    plan = json.loads(call(*arguments, "--json").out)
    assert [r["arm"] for r in plan["runs"]] == [a for a in ("base", "loophole", "control", "placebo") for _ in "01"]
    text = call(*arguments).out
    assert "Seeds 0-1 of each arm: 8 runs." in text
    assert plan["out"] in text
    assert list(tmp_path.iterdir()) == []


def test_eval(call: Any, tmp_path: Path) -> None:
    arguments = ["eval", "tiny", "--game", "self-grading", "--prompts", "24", "--split", "dev"]
    data = json.loads(call(*arguments, "--json").out)
    assert (data["n"], data["game"], data["split"], data["seed"]) == (24, "self-grading", "dev", 0)
    assert "rate false-claim" in call(*arguments).out
    assert list(tmp_path.iterdir()) == []


# --- a run, its evaluations and its scores ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as small as can be, made in this process (tests/running/test_resume.py uses the installed command)."""
    from loopkit.policy.tiny import BUNDLED
    from loopkit.running.runner import run_one

    out = tmp_path_factory.mktemp("finished")
    settings = parse_set(SMALL[3::2])
    for spec in resolve(read_experiment(None, settings=settings, arms=["loophole"], game="self-grading", seeds="1"),
                        registry.load()):  # fmt: skip
        run_one(spec, out, PolicyRef(str(BUNDLED)), lambda event: None)
    return out


def test_rescore_finds_the_scores_it_made(finished: Path, call: Any) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    found = call("rescore", str(finished), "--check", "--json")
    assert found.code == 0
    rows = json.loads(found.out)
    assert [Path(r["run"]).name for r in rows] == ["base-s0", "loophole-s0"]
    assert [(r["rollouts"], r["changed"]) for r in rows] == [(16, 0), (8 + 16, 0)]
    assert call("rescore", str(finished)).code == 0
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("where", ["scores/step-000000.parquet", "eval/self-grading/test-step-000001/scores.parquet"])
@pytest.mark.parametrize("column", ["reward.paid", "flag.false-claim", "score.task"])
def test_rescore_detects_and_mends_a_changed_score(finished: Path, call: Any, where: str, column: str) -> None:
    file = finished / "loophole-s0" / where
    right = file.read_bytes()
    rows = read_shard(file)
    rows[1][column] = (not rows[1][column]) if column.startswith("flag") else rows[1][column] - 0.5
    write_shard(file, rows)
    found = call("rescore", str(finished / "loophole-s0"), "--check", "--json")
    assert found.code == 1
    assert json.loads(found.out)[0]["changed"] == 1
    assert file.read_bytes() != right  # --check writes nothing
    assert call("rescore", str(finished / "loophole-s0")).code == 0
    assert file.read_bytes() == right


def test_eval_of_a_run_is_kept_by_its_options(finished: Path, call: Any) -> None:
    finished = Path(shutil.copytree(finished, "copy"))
    run = str(finished / "loophole-s0")
    first = call("eval", run, "--prompts", "8", "--json")
    assert first.code == 0, first.err
    kept = finished / "loophole-s0/eval/self-grading/test-step-000001-seed0-n8/metrics.json"
    written = kept.stat().st_mtime_ns
    assert json.loads(call("eval", run, "--prompts", "8", "--json").out) == json.loads(first.out)
    other = call("eval", run, "--prompts", "8", "--json", "--set", "game.wrong_share=0.25")
    assert json.loads(other.out)["n"] == 8  # other options: another evaluation
    assert json.loads(call("eval", run, "--prompts", "4", "--json").out)["n"] == 4
    assert json.loads(call("eval", run, "--prompts", "8", "--seed", "1", "--json").out)["n"] == 8
    checkpoint = call("eval", f"{run}/checkpoints/step-000001", "--prompts", "8", "--json")
    assert json.loads(checkpoint.out)["n"] == 8
    assert kept.stat().st_mtime_ns == written  # not played again
    one_paragraph(call("eval", f"{run}/checkpoints/step-000009"), 2, "step-000009 does not exist", "step-000001")
    assert call("rescore", run, "--check").code == 0  # evaluations of other options are left alone
    (finished / "experiment.toml").touch()
    one_paragraph(call("eval", str(finished)), 2, "is an experiment", "Name one", "loophole-s0")


@pytest.mark.slow
def test_a_nan_reward_stops_the_run_and_says_who(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "nan-payer", NAN)
    arguments = ["run", "--game", "self-grading", "--arms", "nan", *SMALL, "--out", "out"]
    done = loopkit(*arguments, site=tmp_path / "site", cwd=tmp_path)
    assert done.returncode == 3
    assert "Traceback (most" not in done.stderr
    said = next(json.loads(line) for line in done.stderr.splitlines() if '"run failed"' in line)
    assert said["run"] == "nan-s0"
    for part in ("channel 'paid' (nan_payer.Nan): reward is nan", "Nothing was paid", "same command to resume"):
        assert part in said["why"]
    last = " ".join(done.stderr[done.stderr.index("Error: ") :].split())
    assert "nan-s0" in last
    assert "the same command resumes" in last
    error = (tmp_path / "out/nan-s0/error.txt").read_text()
    assert "Traceback" in error
    assert "nan_payer.Nan" in error
    assert (tmp_path / "out/nan-s0/steps.jsonl").read_text() == ""  # nothing is recorded of a step that failed
    assert (tmp_path / "out/base-s0/eval/self-grading/test-start/metrics.json").exists()  # the others went on
    module = tmp_path / "site/nan_payer.py"
    module.write_text(module.read_text().replace('float("nan")', "0.5"))  # mended: the same command resumes
    done = loopkit(*arguments, site=tmp_path / "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out/nan-s0/error.txt").exists()
