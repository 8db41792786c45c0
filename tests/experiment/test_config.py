"""From TOML and flags to specs: strict, precedence, and errors that name the cure."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from loopkit import seeding
from loopkit.errors import UsageError
from loopkit.experiment.config import (
    BASE,
    Experiment,
    Intervened,
    RolloutQuery,
    RunSettings,
    RunSpec,
    parse_seeds,
    parse_set,
    ranges,
    read_experiment,
    validate,
)
from loopkit.experiment.resolve import resolve, set_up
from loopkit.experiment.rundir import _no_none
from loopkit.registry import plugins as registry
from tests.records import names, scalars, text


def experiment(*sets: str, **flags: Any) -> Experiment:
    flags = {"game": "self-grading", "seeds": "1", **flags}
    return read_experiment(flags.pop("file", None), settings=parse_set(sets), **flags)


def specs(*sets: str, **flags: Any) -> list[RunSpec]:
    return resolve(experiment(*sets, **flags), registry.load())


# --- seeds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("5", [0, 1, 2, 3, 4]),
        ("1", [0]),
        ("100-104", [100, 101, 102, 103, 104]),
        ("3,7", [3, 7]),
        ("7-7", [7]),
        ("0-1, 9", [0, 1, 9]),
    ],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "a", "1,1", "0-2,2", "5-3", "1,,2", "-1", "1-2-3", "1.5", "+5", "1_0", "٣"])
def test_seeds_refused(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--seeds {text!r} names no seeds")):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["1000000000", "0-99999", f"{2**63}-{2**63}", "9" * 19, "1-1000000000000"])
def test_too_many_seeds_are_refused_at_once(text: str) -> None:
    with pytest.raises(UsageError, match="too many seeds, or too large ones: at most 10000"):
        parse_seeds(text)
    assert parse_seeds(f"{2**63 - 1}-{2**63 - 1}") == [2**63 - 1]


# --- set ----------------------------------------------------------------------------------------------------------


def test_set_reads_toml_values_else_text() -> None:
    assert parse_set(
        [
            "run.steps=20", "trainer.learning_rate=1e-4", "arms.a.rate = 0.5", "arms.a.channel=audit",
            "rollouts.where=false-claim=false", "rollouts.run=runs/x-1/loophole-s0", "game.data='a.jsonl'",
        ]
    ) == {
        "run": {"steps": 20},
        "trainer": {"learning_rate": 1e-4},
        "arms": {"a": {"rate": 0.5, "channel": "audit"}},
        "rollouts": {"where": "false-claim=false", "run": "runs/x-1/loophole-s0"},
        "game": {"data": "a.jsonl"},
    }  # fmt: skip


@pytest.mark.parametrize("item", ["steps=3", "run.steps", "=3", "run.=3", "rum.steps=3", "", "run..x=1", "game=x"])
def test_set_refused(item: str) -> None:
    with pytest.raises(UsageError, match=r"write section\.name=value with a section of game, trainer, run, arms"):
        parse_set([item])


def test_set_of_a_value_and_within_it() -> None:
    with pytest.raises(UsageError, match="an earlier --set gives 'a' a value"):
        parse_set(["arms.a=3", "arms.a.rate=1"])
    with pytest.raises(UsageError, match="an earlier --set sets a part of 'a'"):
        parse_set(["arms.a.rate=1", "arms.a=3"])


@pytest.mark.parametrize("text", ["1\ny = 2", "[" * 2000, "1" * 5000, "2026-11-24", "[2026-11-24]", "", "1 2", "{"])
def test_what_is_no_one_value_of_json_stays_text(text: str) -> None:
    assert parse_set([f"game.data={text}"]) == {"game": {"data": text}}


# --- reading ------------------------------------------------------------------------------------------------------

TOML = """
game = "self-grading"
trainer = "rloo"
seeds = "3,7"
shadow = ["audit"]
[arms.loophole]
[arms.hard]
channel = "audit"
rate = 0.9
[run]
steps = 5
[trainer_options]
learning_rate = 1e-3
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "e.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_toml_is_overridden_by_flags_and_set(tmp_path: Path) -> None:
    file = written(tmp_path, TOML)
    plain = read_experiment(file, settings={})
    assert (plain.trainer, plain.seeds, plain.model) == ("rloo", "3,7", "tiny")
    assert plain.arms == {"loophole": {}, "hard": {"channel": "audit", "rate": 0.9}}
    changed = read_experiment(
        file,
        settings=parse_set(["run.group_size=4", "arms.hard.rate=0.8", "run.steps=6"]),
        arms=["hard", "control"],
        trainer="grpo",
        seeds=None,
    )
    assert (changed.trainer, changed.seeds) == ("grpo", "3,7")
    assert changed.run == {"steps": 6, "group_size": 4}
    assert changed.arms == {"hard": {"channel": "audit", "rate": 0.8}, "control": {}}
    assert changed.trainer_options == {"learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("game = ", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        ("gmae = 'x'\ngame = 'self-grading'", r"experiment has no option 'gmae'\. Did you mean 'game'"),
        ("game = 'self-grading'\n[trainr]\nx = 1", r"experiment has no option 'trainr'\. Did you mean 'trainer'"),
        ("game = 'self-grading'\n[trainer]\nx = 1", r"options as \[trainer_options\]"),
        ("game = 'self-grading'\nseeds = 5", r"experiment\.seeds: Input should be a valid string \(given: 5\)"),
        ("game = 'self-grading'\nrun = 3", r"run is 3\. Write it as a table: \[run\]"),
        ("game = 'self-grading'\narms = ['loophole']", r"Write it as a table: \[arms\]"),
        ("game = 'self-grading'\narms.loophole = 3", r"arms\.loophole"),
        ("trainer = 'grpo'", "no game: name one with --game"),
    ],
)
def test_toml_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_experiment(written(tmp_path, text), settings={})
    with pytest.raises(UsageError):  # and the same where --set adds to it
        read_experiment(written(tmp_path, text), settings=parse_set(["run.steps=1", "arms.loophole.x=1"]))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        read_experiment(tmp_path / "none.toml", settings={})


@pytest.mark.parametrize("name", ["base", "../up", "", "-x", ".hidden", "a b", "a/b"])
def test_arms_are_directories(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a directory, or is reserved"):
        experiment(arms=[name])


def test_an_arm_named_twice_is_not_merged() -> None:
    with pytest.raises(UsageError, match=r"--arms names 'control' more than once.*arms\.other\.channel=control"):
        experiment(arms=["control", "loophole", "control"])


def test_options_of_an_arm_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"no arm 'audit' in this experiment\. Add it with --arms"):
        experiment("arms.audit.rate=0.5")
    with pytest.raises(UsageError, match=r"name an option, as in arms\.loophole\.rate"):
        experiment("arms.loophole=3")


# --- resolving ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "flags", "message"),
    [
        (["run.stesp=3"], {}, r"run has no option 'stesp'\. Did you mean 'steps'"),
        (["trainer.lerning_rate=1"], {}, r"trainer grpo has no option 'lerning_rate'\. Did you mean 'learning_rate'"),
        (["game.wrong_shar=1"], {}, r"game self-grading has no option 'wrong_shar'\. Did you mean 'wrong_share'"),
        (["arms.audit.rat=1"], {"arms": ["audit"]}, r"arms\.audit has no option 'rat'\. Did you mean 'rate'"),
        (["run.steps=0"], {}, r"run\.steps: .*greater than 0 \(given: 0\)"),
        (["run.steps='3'"], {}, r"run\.steps: Input should be a valid integer \(given: '3'\)"),
        (["run.steps=3.5"], {}, r"run\.steps"),
        (["trainer.max_grad_norm=inf"], {}, r"trainer grpo\.max_grad_norm: Input should be a finite number"),
        (["run.eval_split=tset"], {}, r"run\.eval_split: Input should be 'train', 'dev' or 'test'"),
        (["arms.audit.rate=2"], {"arms": ["audit"]}, r"arms\.audit\.rate: .*less than or equal to 1 \(given: 2\)"),
        ([], {"game": "self-gradign"}, r"unknown game 'self-gradign'\. Did you mean 'self-grading'"),
        ([], {"trainer": "gpro"}, r"unknown trainer 'gpro'\. Did you mean 'grpo'"),
        ([], {"arms": ["loophoel"]}, r"no channel 'loophoel'\. Did you mean 'loophole'"),
        ([], {"arms": ["student"]}, r"Or say what it pays: --set arms\.student\.channel=loophole"),
        (["arms.x.channel=controll"], {"arms": ["x"]}, r"arms\.x: .*no channel 'controll'\. Did you mean 'control'"),
        (
            ["trainer.baseline=group"],
            {"trainer": "rloo"},
            r"trainer\.baseline is what makes 'rloo' that preset \('",
        ),
        (["rollouts.run=x"], {}, r"trainer 'grpo' plays against a referee: it takes no rollouts"),
        ([], {"trainer": "sft"}, r"name a run directory, --set rollouts\.run"),
        (["rollouts.rnu=x"], {"trainer": "sft"}, r"rollouts has no option 'rnu'\. Did you mean 'run'"),
    ],
)
def test_misspelt_and_impossible_options(sets: list[str], flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        specs(*sets, **flags)


def test_no_channel_takes_the_column_of_what_pays() -> None:
    """A shadow column of that name would overwrite what was paid."""
    with pytest.raises(UsageError, match=r"arms\.x: 'paid' is the column of whatever pays"):
        specs("arms.x.channel=paid", arms=["x"])


def test_unknown_shadow(tmp_path: Path) -> None:
    file = written(tmp_path, "game = 'self-grading'\nshadow = ['adit']")
    with pytest.raises(UsageError, match=r"shadow: .*no channel 'adit'\. Did you mean 'audit'"):
        resolve(read_experiment(file, settings={}), registry.load())


def test_data_errors_name_the_game_and_no_pydantic(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        specs("game.data=nowhere.jsonl", game="context-compliance")
    assert str(caught.value) == "game context-compliance: data file 'nowhere.jsonl' does not exist."


def test_every_arm_and_seed_after_the_base() -> None:
    found = specs(arms=["loophole", "audit"], seeds="3,7")
    names = ["base-s3", "base-s7", "loophole-s3", "loophole-s7", "audit-s3", "audit-s7"]
    assert [s.name for s in found] == names
    assert {s.arm for s in found[:2]} == {BASE}
    assert all(s.shadow == ["audit", "control", "loophole", "placebo"] for s in found)
    first, *others = (s.model_dump() for s in found[2:])
    for other in others:  # arms differ in nothing but what is paid
        assert {k for k in first if first[k] != other[k]} <= {"arm", "channel", "channel_options", "seed"}


def test_an_arm_of_another_name_pays_a_channel() -> None:
    (spec,) = [s for s in specs("arms.hard.channel=audit", "arms.hard.rate=0.9", arms=["hard"]) if s.arm == "hard"]
    assert (spec.channel, spec.channel_options) == ("audit", {"rate": 0.9})
    setup = set_up(registry.load(), spec)
    assert setup.paid.model_dump() == {"rate": 0.9}
    assert setup.shadow["audit"].model_dump() == {"rate": 0.5}  # the shadow column stays at its defaults


def test_placebo_is_an_arm_everywhere() -> None:
    assert [s.channel for s in specs("arms.placebo.rate=0.2", arms=["placebo"])] == ["loophole", "placebo"]


# --- what a game suggests for tiny -----------------------------------------------------------------------------------


def test_suggestions_then_toml_then_set(tmp_path: Path) -> None:
    suggested = registry.load().game("self-grading").tiny.settings
    assert suggested["run.steps"] != RunSettings.model_fields["steps"].default  # else this shows nothing
    found = specs()[0]
    assert found.run.steps == suggested["run.steps"]
    assert found.trainer_options["learning_rate"] == suggested["trainer.learning_rate"]
    file = written(
        tmp_path, "game='self-grading'\nrun.steps = 7\nrun.group_size = 3\ntrainer_options.learning_rate = 0.5"
    )
    found = specs("run.group_size=5", file=file)[0]
    assert (found.run.steps, found.run.group_size) == (7, 5)
    assert found.run.prompts_per_step == suggested["run.prompts_per_step"]
    assert found.trainer_options["learning_rate"] == 0.5


def test_suggestions_are_for_tiny_only() -> None:
    suggested = registry.load().game("self-grading").tiny.settings
    assert specs(model="tiny:some/warmup")[0].run.steps == suggested["run.steps"]
    found = specs(model="some/model")[0]
    assert found.run == RunSettings()  # type: ignore[call-arg]
    assert found.trainer_options["learning_rate"] == 1e-6


def test_suggestions_a_trainer_has_no_option_for_are_left_out() -> None:
    found = specs("rollouts.run=x", trainer="sft")[0]
    suggested = registry.load().game("self-grading").tiny.settings
    assert "scale" not in found.trainer_options
    assert found.trainer_options["learning_rate"] == suggested["trainer.learning_rate"]


def test_a_preset_beats_the_suggestion() -> None:
    assert registry.load().game("self-grading").tiny.settings["trainer.scale"] == "none"
    assert specs(trainer="reinforce++")[0].trainer_options["scale"] == "batch"


# --- hashes and round trips -------------------------------------------------------------------------------------------


def test_hash_is_stable_and_sensitive() -> None:
    spec = specs()[1]
    assert spec.hash() == RunSpec.model_validate(spec.model_dump()).hash()
    assert re.fullmatch(r"[0-9a-f]{12}", spec.hash())
    changes: dict[str, Any] = {
        "seed": 9, "arm": "x", "channel": "audit", "game_version": 77, "model": "m", "trainer": "t", "shadow": [],
            "detectors": ["d"],
        "channel_options": {"rate": 0.2}, "trainer_options": {}, "game_options": {}, "game": "g", "schema_version": 2,
        "run": spec.run.model_copy(update={"steps": 1}), "rollouts": RolloutQuery(run="r"),
        "judges": {"refusal": "tiny"}, "interventions": [Intervened(name="kl", options={"beta": 1.0})],
    }  # fmt: skip
    assert set(changes) == set(RunSpec.model_fields)
    assert len({spec.hash(), *(spec.model_copy(update={k: v}).hash() for k, v in changes.items())}) == 1 + len(changes)


def test_experiment_hash_is_pinned() -> None:
    """It names directories (runs/<game>-<hash>): a change makes every default --out a new one."""
    made = Experiment(game="self-grading")
    assert made.hash() == Experiment(game="self-grading", arms={"control": {}, "loophole": {}, "placebo": {}}).hash()
    assert made.hash() != Experiment(game="self-grading", arms={"loophole": {}}).hash()
    assert made.hash() != Experiment(game="self-grading", seeds="5").hash()


no_none = st.recursive(
    scalars.filter(lambda v: v is not None),
    lambda s: st.lists(s, max_size=3) | st.dictionaries(text, s, max_size=3),
    max_leaves=5,
)
table = st.dictionaries(text, no_none, max_size=4)
"""TOML has no null."""


@given(
    st.builds(
        RunSpec,
        game=text,
        game_version=st.integers(0) | text,
        game_options=table,
        arm=text,
        channel=text,
        channel_options=table,
        shadow=st.lists(text),
        detectors=st.lists(text),
        trainer=text,
        trainer_options=table,
        model=text,
        seed=st.integers(0, 2**40),
        run=st.builds(RunSettings, steps=st.integers(1, 10**6), eval_split=st.sampled_from(["train", "dev", "test"])),
        rollouts=st.none()
        | st.fixed_dictionaries({"run": text, "where": text, "last_step": st.none() | st.integers(0, 9)}),
    )
)
def test_spec_survives_toml(spec: RunSpec) -> None:
    written = tomli_w.dumps(_no_none(spec.model_dump(mode="json"))).encode()
    again = RunSpec.model_validate(tomllib.loads(written.decode()))
    assert again == spec
    assert again.hash() == spec.hash()


# --- any text at all --------------------------------------------------------------------------------------------------


@given(st.text() | st.text("0123456789-, ", max_size=12))
def test_seeds_of_any_text_are_seeds_or_a_usage_error(given_text: str) -> None:
    try:
        seeds = parse_seeds(given_text)
    except UsageError:
        return
    assert seeds
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
    named = ",".join(f"{s}-{s}" for s in seeds)
    assert parse_seeds(named) == seeds


@given(st.lists(st.text() | st.from_regex(r"(run|arms|game)\.[a-c](\.[a-c])?=.{0,9}", fullmatch=True), max_size=5))
def test_set_of_any_text_is_json_or_a_usage_error(items: list[str]) -> None:
    try:
        tables = parse_set(items)
    except UsageError:
        return
    assert set(tables) <= {"game", "trainer", "run", "arms", "rollouts"}
    json.dumps(tables)
    leaves = list(_leaves(tables))
    assert len(leaves) <= len(items)


def _leaves(tables: dict[str, Any], depth: int = 0) -> Any:
    """What was set; an empty or inline table deeper than the keys counts as one."""
    for value in tables.values():
        if isinstance(value, dict) and depth < 2 and value:
            yield from _leaves(value, depth + 1)
        else:
            yield value


@given(key=st.lists(names, min_size=1, max_size=3), value=scalars.filter(lambda v: v is not None))
def test_set_reads_back_what_toml_writes(key: list[str], value: Any) -> None:
    line = tomli_w.dumps({"x": value}).removeprefix("x = ").strip()
    found: Any = parse_set([f"trainer.{'.'.join(key)}={line}"])
    for part in ("trainer", *key):
        found = found[part]
    assert found == value
    assert type(found) is type(value)


@given(options=st.dictionaries(names, scalars, max_size=4), seed=st.integers(0, 9))
def test_the_hash_of_an_experiment_knows_no_order(options: dict[str, Any], seed: int) -> None:
    made = Experiment(game="g", game_options=options, arms={"a": options, "b": {}})
    order = seeding.shuffled(options, seed)
    turned = Experiment(game="g", game_options={k: options[k] for k in order}, arms={"b": {}, "a": options})
    assert made.hash() == turned.hash()
    assert made.hash() != made.model_copy(update={"game_options": {**options, "another": 1}}).hash()


@given(st.dictionaries(st.sampled_from([*RunSettings.model_fields, "stesp"]), scalars, max_size=3))
def test_settings_are_valid_or_a_usage_error_that_names_the_option(data: dict[str, Any]) -> None:
    refused = ""
    try:
        made: RunSettings = validate(RunSettings, data, "run")
    except UsageError as error:
        refused = str(error)
    if refused:
        assert any(name in refused for name in data)
        return
    assert made.model_dump(include=set(data)) == data
    assert validate(RunSettings, made.model_dump(mode="json"), "run") == made


def test_what_cannot_be_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.steps a value, too"):
        parse_set(["run.steps=1", "trainer.beta=0.1", "run.steps=1"])
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_experiment(endless, settings={})


def test_margins_of_the_verdict_are_set_recorded_and_part_of_the_name() -> None:
    plain, tight = (
        read_experiment(None, settings=parse_set(items), game="self-grading")
        for items in ([], ["verdict.exploit=0.05"])
    )
    assert "verdict" not in plain.model_dump(mode="json")
    assert tight.model_dump(mode="json")["verdict"] == {"exploit": 0.05}
    assert plain.hash() != tight.hash()
    for item in ("verdict.margin=0.05", "verdict.task=5"):
        with pytest.raises(UsageError, match=r"verdict\.(margin|task)"):
            read_experiment(None, settings=parse_set([item]), game="self-grading")


@pytest.mark.parametrize("text", ["0-2", "0-2, 7", "9, 3-4", "5"])
def test_ranges_are_what_seeds_are_read_from(text: str) -> None:
    found = parse_seeds(text if "-" in text or "," in text else f"{text}-{text}")
    assert ranges(found) == text
