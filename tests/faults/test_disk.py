"""A full disk and a read-only directory, real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loopkit.errors import LoopkitError
from loopkit.experiment.rundir import RunDir
from loopkit.front.directories import make
from loopkit.system.files import locked, write_whole
from tests.dists import environment
from tests.faults import small

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs of a given size; called again, gives it another."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str) -> Path:
        what = ["-o", f"remount,size={size}"] if place.is_mount() else ["-t", "tmpfs", "-o", f"size={size}", "none"]
        done = subprocess.run(["mount", *what, str(place)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size", ["200k", "3m", "9m", "14m"])
def test_a_full_disk_stops_the_run_and_with_more_room_it_ends_the_same(
    disk: Callable[[str], Path], whole: Path, size: str
) -> None:
    """Full in the first checkpoint's tokenizer, its weights, its optimizer, and in a later checkpoint."""
    out = disk(size) / "out"
    with pytest.raises(LoopkitError, match=r"(?s)cannot be written.*No space left.*Make room there.*the same command"):
        small.finish(out)
    assert not list(out.rglob(".tmp-*")), "half of a file takes what room there is"
    kept, reference = small.contents(out), small.contents(whole)
    right = [reference[n].startswith(d) for n, d in kept.items() if not n.endswith("digests.json")]  # of fewer files
    assert all(right), "what is there is right"
    assert "loophole-s0/run.toml" in kept
    disk("64m")
    small.finish(out)
    small.same(out, whole)


def test_a_disk_that_fills_up_in_any_record(disk: Callable[[str], Path], killed: Path, whole: Path) -> None:
    """Byte by byte less room than the records of a step need: always an error, never half a record."""
    place = disk("64m")
    subprocess.run(["cp", "-r", str(killed), str(place / "out")], check=True)
    out = place / "out"
    failed = 0
    for pages in range(3):
        ballast = place / "ballast"
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
        ballast.write_bytes(b"x" * (free - 4096 * pages))
        with pytest.raises(LoopkitError, match="No space left"):
            small.finish(out)
        failed += 1
        ballast.unlink()
        for name, data in small.contents(out).items():
            assert small.contents(whole)[name].startswith(data) or name.endswith("digests.json"), name
    assert failed == 3
    small.finish(out)
    small.same(out, whole)


LIMITED = """
import resource, sys
from pathlib import Path
from loopkit.errors import RunError
from tests.faults import small
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    small.finish(Path(sys.argv[1]))
except RunError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_file_that_cannot_grow(whole: Path, tmp_path: Path) -> None:
    """The same without a mount: a limit on the size of files, which the first checkpoint's weights exceed."""
    python, env = [sys.executable, "-c", LIMITED, str(tmp_path)], environment(Path(__file__).parents[2])
    done = subprocess.run(python, capture_output=True, text=True, env=env, check=True)
    assert "checkpoints/step-000001 cannot be written" in done.stdout
    assert "File too large" in done.stdout
    assert not list(tmp_path.rglob(".tmp-*"))
    small.finish(tmp_path)
    small.same(tmp_path, whole)


# --- read-only --------------------------------------------------------------------------------------------------------


def as_nobody(what: Callable[[], object]) -> str:
    """What an ordinary user gets: "Class: message" of an error, or what was returned. Root ignores modes."""
    if os.geteuid() != 0:
        return _told(what)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write, _told(what).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        told = file.read().decode()
    os.waitpid(pid, 0)
    return told


def _told(what: Callable[[], object]) -> str:
    try:
        return repr(what())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A directory that an ordinary user may look into and not write."""
    for path in (tmp_path, *tmp_path.parents):  # pytest's own are for its user alone
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o005:
            path.chmod(0o755)
    place = tmp_path / "closed"
    place.mkdir()
    yield place
    place.chmod(0o755)


def test_a_read_only_directory_is_named(closed: Path) -> None:
    (closed / "old").write_bytes(b"old")
    (closed / "old").chmod(0o644)
    closed.chmod(0o555)

    def lock() -> None:
        with RunDir(closed / "run").lock():
            pass

    assert as_nobody(lambda: write_whole(closed / "old", b"new")) == (
        f"RunError: {closed}/old cannot be written: Permission denied. "
        "Make room there, or make it writable, and run the same command: it resumes."
    )
    assert as_nobody(lambda: make(closed / "out")) == (
        f"UsageError: {closed}/out cannot be written: Permission denied. Choose another --out."
    )
    assert f"RunError: {closed}/run/.lock cannot be written: Permission denied" in as_nobody(lock)
    assert (closed / "old").read_bytes() == b"old"
    assert [p.name for p in closed.iterdir()] == ["old"]


def test_a_run_in_a_read_only_directory_stops_and_resumes_when_it_may_write(closed: Path, whole: Path) -> None:
    (closed / "loophole-s0").mkdir()
    (closed / "loophole-s0").chmod(0o555)
    assert "loophole-s0/.lock cannot be written: Permission denied" in as_nobody(lambda: small.finish(closed))
    assert list((closed / "loophole-s0").iterdir()) == []
    (closed / "loophole-s0").chmod(0o755)
    small.finish(closed)
    small.same(closed, whole)


def test_a_finished_directory_may_be_read_only(closed: Path) -> None:
    """It is locked all the same, so nobody prints what another is writing."""
    with locked(closed):
        pass
    (closed / ".lock").chmod(0o644)
    closed.chmod(0o555)

    def lock() -> str:
        with locked(closed):
            return "held"

    assert as_nobody(lock) == "'held'"
    with locked(closed):
        assert "is in use by another process" in as_nobody(lock)
