"""Plugins at fault are reported with their distribution, and break nothing that does not need them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from loopkit.cli import Group, cli, details
from loopkit.cli.check import checked_beside, game_of
from loopkit.errors import PluginError, UsageError
from loopkit.experiment.config import Experiment
from loopkit.experiment.resolve import channels_of, resolve, set_up
from loopkit.registry import installed
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import OWN
from tests.dists import CHANNEL, hook, install, loopkit, messages, on_path, specs


def test_bundled_plugins_come_through_entry_points_without_a_problem() -> None:
    plugins = registry.load()
    assert not plugins.problems
    assert not plugins.contested
    assert {o.distribution for o in plugins.origins} == {OWN}
    assert {o.entry_point for o in plugins.origins} >= {"context-compliance", "self-grading", "grpo", "sft", "policies"}
    for entry in plugins.entries.values():
        assert entry.load() is not None


def test_what_registered_before_a_fault_stays(tmp_path: Path) -> None:
    install(tmp_path, "half", hook("games", "'one', 'x:Y'", "'no good', 'x:Y'", "'two', 'x:Y'"))
    with on_path(tmp_path) as plugins:
        assert {"one", "two"} <= set(plugins.names("games"))
        assert len(messages(plugins, "half")) == 1


def test_two_strangers_with_one_name(tmp_path: Path) -> None:
    for name in ("aa", "bb", "cc"):
        install(tmp_path, name, hook("games", "'same', 'x:Y'", f"'only-{name}', 'x:Y'"))
    with on_path(tmp_path) as plugins:
        with pytest.raises(PluginError, match=r"by several distributions: aa 1\.2, bb 1\.2, cc 1\.2\. Uninstall all"):
            plugins.get("games", "same")
        assert {p.origin.distribution for p in plugins.problems} == {"bb", "cc"}
        assert {"only-aa", "only-bb", "only-cc"} <= set(plugins.names("games"))
        assert len(specs(plugins)) == 4


def test_a_distribution_that_registers_a_name_twice_is_not_two_strangers(tmp_path: Path) -> None:
    install(tmp_path, "aa", hook("games", "'same', 'x:Y'", "'same', 'x:Z'"))
    with on_path(tmp_path) as plugins:
        assert plugins.get("games", "same").target == "x:Y"
        assert len(messages(plugins, "aa")) == 1


@pytest.mark.parametrize(("one", "other"), [("*/x", "self-grading/x"), ("self-grading/x", "*/x"), ("*/x", "*/x")])
def test_strangers_meet_in_a_channel_of_every_game(tmp_path: Path, one: str, other: str) -> None:
    install(tmp_path, "aa", CHANNEL + hook("channels", f"{one!r}, Flat"))
    install(tmp_path, "bb", CHANNEL + hook("channels", f"{other!r}, Flat") + hook("detectors", "'*/seen', Never"))
    with on_path(tmp_path) as plugins:
        with pytest.raises(PluginError, match=r"registered by several distributions: aa 1\.2, bb 1\.2"):
            specs(plugins, arms={"x": {}})
        assert messages(plugins, "bb")
        found = specs(plugins)  # a run that does not name it is as before
        assert "seen" in set_up(plugins, found[1]).detectors
        assert "x" not in channels_of(plugins, set_up(plugins, found[1]).game, "self-grading")


def test_a_name_that_the_game_has_itself_is_not_replaced(tmp_path: Path) -> None:
    """Neither what pays nor what detects may change because somebody installed something."""
    before = registry.load()
    plain = set_up(before, specs(before)[1])
    code = CHANNEL + hook("channels", "'*/control', Flat", "'*/placebo', Flat")
    install(tmp_path, "taker", code + hook("detectors", "'self-grading/false-claim', Never"))
    with on_path(tmp_path) as plugins:
        setup = set_up(plugins, specs(plugins)[1])
        assert {k: type(v) for k, v in setup.shadow.items()} == {k: type(v) for k, v in plain.shadow.items()}
        assert type(setup.detectors["false-claim"]).__name__ == "Rule"
        assert setup.headline == plain.headline
        assert type(channels_of(plugins, setup.game, "self-grading")["control"]).__name__ == "Claims"
    report = loopkit("doctor", "--json", site=tmp_path)
    assert report.returncode == 1
    said = [p["message"] for p in json.loads(report.stdout)["problems"] if p["distribution"] == "taker 1.2"]
    assert "channel '*/control' of taker 1.2 is not used: self-grading has a 'control' of its own." in said
    shadowed = (
        "detector 'self-grading/false-claim' of taker 1.2 is not used: self-grading has a 'false-claim' of its own."
    )
    assert shadowed in said


def test_a_third_partys_channel_and_detector_join_a_game(tmp_path: Path) -> None:
    code = CHANNEL + hook("channels", "'self-grading/flat', 'extra:Flat', {'amount': 2.0}")
    install(tmp_path, "extra", code + hook("detectors", "'*/never', 'extra:Never'"))
    with on_path(tmp_path) as plugins:
        spec = specs(plugins, arms={"flat": {}})
        assert [s.channel_options for s in spec] == [{}, {"amount": 2.0}]
        assert spec[0].detectors == ["never"]
        with pytest.raises(UsageError, match=r"arms\.more\.amount is what makes 'self-grading/flat' that preset"):
            specs(plugins, arms={"more": {"channel": "flat", "amount": 3.0}})
        assert "flat" not in spec[1].shadow  # only if the spec names it
        assert specs(plugins, shadow=["flat"])[0].shadow[:3] == ["audit", "control", "flat"]
        assert list(set_up(plugins, spec[1]).detectors)[-1] == "never"
        other = Experiment(game="context-compliance", arms={"flat": {}})
        with pytest.raises(UsageError, match="context-compliance has no channel 'flat'"):
            resolve(other, plugins)
        assert "never" in set_up(plugins, resolve(Experiment(game="context-compliance"), plugins)[0]).detectors
        assert details.of(plugins, "detectors", "self-grading/never")["name"] == "*/never"
        assert game_of(plugins, "self-grading/flat") == "self-grading"
        with pytest.raises(UsageError, match=r"\*/never .*loopkit check GAME"):
            game_of(plugins, "*/never")
        assert "channel self-grading/flat (extra 1.2), detector */never (extra 1.2)" in checked_beside(
            plugins, "self-grading"
        )


def test_a_channel_that_cannot_be_loaded_stops_only_runs_that_name_it(tmp_path: Path) -> None:
    install(tmp_path, "broken", hook("channels", "'*/gone', 'nowhere.at.all:Gone'"))
    with on_path(tmp_path) as plugins:
        assert not plugins.problems  # the import is lazy
        assert set_up(plugins, specs(plugins)[1]).paid
        with pytest.raises(PluginError, match=r"channel '\*/gone' of broken 1\.2 could not be loaded.*Reinstall"):
            specs(plugins, arms={"gone": {}})


def test_a_channel_that_cannot_be_made_names_its_distribution(tmp_path: Path) -> None:
    install(tmp_path, "broken", CHANNEL + hook("channels", "'*/odd', Flat, {'amuont': 1}"))
    with on_path(tmp_path) as plugins, pytest.raises(PluginError, match=r"'\*/odd' of broken 1\.2 could not be made"):
        specs(plugins, arms={"odd": {}})


def test_a_preset_fixes_its_options(tmp_path: Path) -> None:
    preset = "{'checkpoint_every': 3}"
    install(tmp_path, "extra", hook("trainers", f"'extra:three', 'loopkit_grpo.trainer:Grpo', preset={preset}"))
    with on_path(tmp_path) as plugins:
        found = specs(plugins, trainer="extra:three")
        assert found[1].trainer_options["checkpoint_every"] == 3
        assert specs(plugins)[1].trainer_options["checkpoint_every"] != 3
        with pytest.raises(
            UsageError, match=r"trainer\.checkpoint_every is what makes 'extra:three' that preset \(3\)"
        ):
            specs(plugins, trainer="extra:three", trainer_options={"checkpoint_every": 3})


def test_an_observer_that_raises_is_named(tmp_path: Path) -> None:
    install(tmp_path, "aa", "seen = []\n@hookimpl\ndef run_finished(directory):\n    seen.append(directory)")
    install(tmp_path, "bb", "@hookimpl\ndef run_finished():\n    raise OSError('no net')")
    with on_path(tmp_path) as plugins:
        with pytest.raises(PluginError, match=r"run_finished\(\) of bb 1\.2 failed: OSError: no net"):
            plugins.tell("run_finished", directory="d")
        assert __import__("aa").seen == ["d"]
        plugins.tell("run_started", directory="d", spec={})  # nobody listens


def test_commands_of_plugins(tmp_path: Path) -> None:
    add = "import click\n@hookimpl\ndef register_commands(cli):\n    cli.add_command(click.Command({name!r}))\n"
    install(tmp_path, "aa", add.format(name="mine"))
    install(tmp_path, "bb", add.format(name="mine"))
    install(tmp_path, "cc", add.format(name="run"))
    install(tmp_path, "dd", "@hookimpl\ndef register_commands(cli):\n    raise KeyError('x')")
    group = Group("loopkit")
    with on_path(tmp_path) as plugins:
        plugins.add_commands(group)
        assert "mine" in group.list_commands(click.Context(group))
        assert re.search("there is a command 'mine' already", messages(plugins, "bb")[0])
        assert re.search("there is a command 'run' already", messages(plugins, "cc")[0])
        assert re.search("KeyError", messages(plugins, "dd")[0])
    assert "mine" not in cli.commands


def test_without_its_own_entry_points_loopkit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "distributions", lambda: [])
    registry.load.cache_clear()
    try:
        with pytest.raises(PluginError, match="own entry points were not found"):
            registry.load()
    finally:
        registry.load.cache_clear()
