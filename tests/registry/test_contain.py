"""A plugin's code is run so that its mistakes stay its own."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from loopkit.contracts import Draw, Range, RewardChannel
from loopkit.errors import PluginError
from loopkit.registry.contain import contained, describe, excerpt, guarded, harmless


def test_harmless_text_has_no_control_invisible_or_direction_changing_characters() -> None:
    assert harmless("a\x1b[31m\x07\r\x9b\u202e\u200b\nb ä 漢 ✓") == "a\ufffd[31m" + "\ufffd" * 5 + "\nb ä 漢 ✓"


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a\n\tb  c") == "a b c"
    assert excerpt("x" * 300) == "x" * 300
    assert excerpt("x" * 10**7) == "x" * 299 + "…"
    assert excerpt(" " * 10**6 + "x", 10) == "…"


def test_what_is_raised_becomes_an_error_that_names_who_and_the_cure() -> None:
    for error, said in {
        ValueError("no"): "ValueError: no", SystemExit(): "SystemExit", KeyError("k"): "KeyError: 'k'",
        GeneratorExit("x"): "GeneratorExit: x", PluginError("said already."): "said already",
    }.items():  # fmt: skip
        with pytest.raises(PluginError) as found, contained("aa 1", "it failed", "Mend it."):
            raise error
        assert str(found.value) == f"it failed: {said}. Mend it."
        assert found.value.__cause__ is error


def test_ctrl_c_stays_one_and_says_whose_code_it_stopped() -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^in the code of aa 1$"), contained("aa 1", "", ""):
        raise KeyboardInterrupt


def test_what_is_printed_is_kept_off_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    kept = io.StringIO()
    with contained("aa 1", "", ""):
        print("one\x1b")
        sys.stderr.writelines(["two\x1b", "\n"])
        assert sys.stderr.isatty() is False  # the rest of the stream is as it was
    with contained("aa 1", "", "", printed=kept):
        print("three\x1b")
    out, err = capsys.readouterr()
    assert (out, err, kept.getvalue()) == ("", "one\ufffd\ntwo\ufffd\n", "three\x1b\n")


def test_an_error_that_cannot_speak_is_described() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Mute()) == "Mute: (its message cannot be read)"


class Paying(RewardChannel):
    """Pays what it is told, and fails at nothing."""

    reads: ClassVar[frozenset[str]] = frozenset()
    range: ClassVar[Range] = (0.0, 1.0)
    amount: float = 1.0

    def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
        return [1 / self.amount] * len(signals)


def test_a_guarded_channel_travels_to_another_process_and_is_guarded_there() -> None:
    made = guarded(Paying(), "loopkit-paying 0.1", "channel 'a/paying'").model_copy(update={"amount": 0.0})
    there = pickle.loads(pickle.dumps(made))
    assert isinstance(there, Paying)
    assert there.amount == 0.0
    with pytest.raises(PluginError, match="rewards\\(\\) of channel 'a/paying' failed: ZeroDivisionError"):
        there.rewards([{}], [lambda purpose: 0.5])
    assert there.model_copy(update={"amount": 2.0}).rewards([{}], [lambda purpose: 0.5]) == [0.5]
