"""Only monotonic clocks decide anything: the wall clock may jump, and files may be from the future."""

from __future__ import annotations

import ast
import os
import random
import time
from pathlib import Path

import pytest

from loopkit.rollouts.playing import play
from loopkit.serving import RefereeClient, serve
from tests import soak
from tests.faults import small

ROOT = Path(__file__).parents[2]
WALL = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "now", "utcnow", "today", "fromtimestamp"}
OF = {"time", "datetime", "date", "dt"}
MTIME = {"st_mtime", "st_mtime_ns", "st_ctime", "getmtime", "getctime"}


def wall_clocks(source: str) -> list[str]:
    """Every use of a clock that may jump: ``time.time()``, ``datetime.now()``, a file's age, also as imported names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (
            node.attr in MTIME or (node.attr in WALL and ast.unparse(node.value).rpartition(".")[2] in OF)
        ):
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module in OF:
            found += [f"{node.module}.{a.name}" for a in node.names if a.name in WALL]
    return found


def test_the_search_finds_what_it_is_for() -> None:
    source = "from time import time_ns\ntime.time()\ndatetime.datetime.now()\np.stat().st_mtime\n"
    assert sorted(wall_clocks(source + "time.monotonic(); time.perf_counter(); self.time")) == [
        "datetime.datetime.now", "p.stat().st_mtime", "time.time", "time.time_ns",
    ]  # fmt: skip


AGES = {
    "loopkit/checks/trainers.py": ["p.stat().st_mtime_ns"],  # whether a trainer touched its start: equal, or not
    "loopkit/front/outcome.py": ["page.stat().st_mtime_ns", "results.stat().st_mtime_ns"],  # which sentence is printed
    "loopkit/front/compared.py": ["f.stat().st_mtime_ns"],  # whether a log is the one that was read before
    "loopkit/new/__init__.py": ["datetime.now"],  # the year of the licence
    "loopkit/system/notices.py": ["datetime.now"],  # the time that a line of the log shows
    "loopkit/cli/register.py": ["datetime.now"],  # the time that a registration says it was made
    "loopkit/rewards/child.py": ["time.time", "time.time"],  # whether a reward asks for the time
    "loopkit/report/rollouts.py": ["at.st_mtime_ns"],  # whether a shard is the one that was read before
    "loopkit/sandbox/store.py": ["stat.st_mtime"],  # whether Python's own bytecode is of this source, as Python asks
}
"""Ages of files that are compared for being the same, never for being later; and times that are only told."""


def test_no_wall_clock_decides_anything() -> None:
    files = [f for folder in ("loopkit", "plugins") for f in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    found = {str(f.relative_to(ROOT)): uses for f in files if (uses := wall_clocks(f.read_text(encoding="utf-8")))}
    assert found == AGES


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps by years, forwards and backwards, whenever it is looked at."""
    luck, real = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + luck.choice([-1, 1]) * luck.random() * 1e9)
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))


@pytest.mark.usefixtures("jumping")
def test_a_run_under_a_jumping_clock_ends_the_same(killed: Path, whole: Path) -> None:
    luck = random.Random(1)
    for path in killed.rglob("*"):  # as old as before the epoch's first day, or from the next century
        os.utime(path, (luck.random() * 5e9,) * 2)
    small.finish(killed)
    small.same(killed, whole)


@pytest.mark.usefixtures("jumping")
def test_a_served_referee_under_a_jumping_clock(tmp_path: Path) -> None:
    with serve(soak.referee(tmp_path / "served")) as server:
        remote = RefereeClient(server.url, server.token, timeout=5)
        remote.resume(0)
        assert play(remote, soak.Says(), 0) == play(soak.referee(tmp_path / "local"), soak.Says(), 0)
