"""A function called in a new process: another hash seed, the answer, and every way of not getting one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from loopkit.checks import fresh
from loopkit.checks.report import LeftOut
from loopkit.errors import ContractError
from loopkit.system import code


def seen() -> tuple[str, int, list[str]]:
    print("what it prints spoils nothing")
    return os.environ["PYTHONHASHSEED"], os.getpid(), sys.path


def dies() -> None:
    print("out of luck", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


def raises() -> None:
    raise ValueError("no such thing")


class OnlyHere:
    """Travels as the name of something that a new process does not find."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _named, (f"_made_in_{os.getpid()}",)


def _named(name: str) -> object:
    return globals()[name]


@pytest.mark.parametrize(("here", "there"), [("1", "2"), ("2", "1"), ("random", "1"), (None, "1")])
def test_it_runs_elsewhere_with_other_hashes(monkeypatch: pytest.MonkeyPatch, here: str | None, there: str) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    if here is not None:
        monkeypatch.setenv("PYTHONHASHSEED", here)
    seed, pid, path = fresh.call(seen)
    assert seed == there
    assert pid != os.getpid()
    assert {p for p in sys.path if p} <= set(path)


def test_what_raises_there_is_told_with_its_place() -> None:
    with pytest.raises(ContractError, match=r"Only in a new process: ValueError: no such thing \(raised at test_fresh"):
        fresh.call(raises)


def test_one_that_dies_is_told_with_its_last_words() -> None:
    with pytest.raises(ContractError, match=r"A new process died with exit code 3: out of luck"):
        fresh.call(dies)


def test_one_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "TIMEOUT", 1)
    with pytest.raises(ContractError, match="A new process did not end within 1 s"):
        fresh.call(time.sleep, 60)


def test_what_cannot_travel_is_left_out() -> None:
    with pytest.raises(LeftOut, match="it cannot be sent to a new process"):
        fresh.call(lambda: None)
    with pytest.raises(LeftOut, match="a new process cannot import it"):
        fresh.call(print, OnlyHere())


def test_what_a_users_file_holds_is_found_there_and_one_that_has_gone_hinders_nobody(tmp_path: Path) -> None:
    gone, mine = tmp_path / "gone.py", tmp_path / "mine.py"
    gone.write_text("x = 1\n")
    (tmp_path / "helper_of_mine.py").write_text("def twice(x): return 2 * x\n")
    mine.write_text("from helper_of_mine import twice\ndef fourfold(x): return twice(twice(x))\n")
    path = list(sys.path)
    code.load(gone, code.fingerprint(gone))
    module = code.load(mine, code.fingerprint(mine))
    sys.path[:] = path
    gone.unlink()
    assert fresh.call(module.fourfold, 3) == 12
    (tmp_path / "helper_of_mine.py").unlink()
    with pytest.raises(LeftOut, match="helper_of_mine"):
        fresh.call(module.fourfold, 3)
