"""Nothing gets through: every attack, in every tier, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from loopkit.sandbox import Program, Sandbox
from tests.sandbox import attacks
from tests.sandbox.conftest import TIERS, as_nobody, start


def test_there_are_enough() -> None:
    assert len(attacks.programs()) >= 90
    kinds = {name.split(":")[0] for name in attacks.programs()}
    assert kinds >= {"files", "proc", "network", "processes", "signals", "tracing", "time", "memory", "threads",
                     "recursion", "output", "forge", "spoil", "spy", "raw", "script"}  # fmt: skip


def assail(tier: str) -> None:
    before = {p.name for p in Path("/tmp").iterdir()}
    with start(tier, limits=attacks.LIMITS) as sandbox:
        assert attacks.assail(sandbox) == {}
        assert sandbox.replaced == 0
    left = {p.name for p in Path("/tmp").iterdir()} - before
    assert not {name for name in left if name == "x" or name.startswith("loopkit-was")}


def test_none_gets_through() -> None:
    """The strongest tier of this machine, as the user of these tests; the others are slow tests."""
    assail("auto")


@pytest.mark.nightly
@pytest.mark.parametrize("tier", TIERS)
def test_none_gets_through_in_any_tier(tier: str) -> None:
    assail(tier)


@pytest.mark.slow
def test_none_gets_through_as_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("another user: these tests do not run as root, and the other tests here are the ordinary user's")
    with start("bubblewrap"):
        pass
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = as_nobody([attacks.__file__, *TIERS], Path(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert set(found) == set(TIERS)
    for tier in TIERS:
        assert found[tier]["uid"] not in (0, None)
        assert found[tier]["described"]["tier"] == tier
        assert found[tier]["attacks"] == len(attacks.programs())
        assert found[tier]["wrong"] == {}


def test_without_the_layers_they_would() -> None:
    """The attacks are real: with resource limits alone, those that do no harm here get through."""
    harmless = ("files: list directories", "files: stat", "files: memory files", "network: sockets", "processes: fork",
                "network: socket pair", "raw: executable memory")  # fmt: skip
    with start("rlimit", limits=attacks.LIMITS) as sandbox:
        found = sandbox.run([attacks.programs()[name] for name in harmless])
    assert [name for name, outcomes in zip(harmless, found, strict=True) if not attacks.through(outcomes)] == []


def test_a_secret_that_is_guessed_counts_as_through(sandbox: Sandbox) -> None:
    """The judge of the attacks would see one that works."""
    found = sandbox.run(
        [Program(f"solve = lambda x: {attacks.SECRET}", [[1]]), Program("print('THROUGH')", [""], "script")]
    )
    assert all(map(attacks.through, found))
