"""What 0.1 called a game's members works for one release, with a warning; flags and arms come from the registry."""

from __future__ import annotations

import pytest

from loopkit import Reporting, Tiny
from loopkit.errors import UsageError
from loopkit.experiment.config import read_experiment
from loopkit.registry.plugins import Plugins, load
from tests.toys import Doubling


def test_a_game_written_for_0_1_is_grouped_and_warned_of() -> None:
    with pytest.warns(DeprecationWarning, match="the old name goes") as warned:

        class Old(Doubling):
            onset_detector = "false-claim"
            tiny_settings = {"run.steps": 4}  # noqa: RUF012

    assert len(warned) == 2
    assert Old.reporting == Reporting("false-claim")
    assert (Old.tiny, Doubling.tiny) == (Tiny({"run.steps": 4}), Tiny())
    with pytest.warns(DeprecationWarning, match=r"reporting\.onset_detector"):
        assert Old.onset_detector == "false-claim"


def test_signals_and_clues_are_read_off_what_reads_them() -> None:
    from loopkit import SimpleGame, pay, rule

    class Wide(SimpleGame):
        channels = {"loophole": pay("pays", -2, 3)}  # noqa: RUF012
        detectors = {"a": rule("x"), "b": rule("y")}  # noqa: RUF012

    assert Wide.signals == {"pays": (-2, 3)}
    assert sorted(Wide.clues) == ["x", "y"]


def test_a_flag_belongs_to_the_game_that_registers_it() -> None:
    assert load().with_flag("trusted") == "own-reward"
    with pytest.raises(UsageError, match="no installed game takes --reward"):
        Plugins(load().manager).with_flag("reward")


def test_the_placebo_stands_alone_where_a_game_has_no_control() -> None:
    for game, options, others in (
        ("own-reward", {}, ["placebo"]), ("own-reward", {"trusted": "a.py:b"}, ["control", "placebo"]),
        ("self-grading", {}, ["control", "placebo"]),
    ):  # fmt: skip
        assert list(read_experiment(None, settings={"game": options}, game=game).arms) == ["loophole", *others]
