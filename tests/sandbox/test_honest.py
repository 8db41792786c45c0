"""Right programs pass: the honest corpus, in every tier, and first of all in a plain Python."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from loopkit.sandbox import Limits, Outcome
from tests.sandbox import honest
from tests.sandbox.conftest import TIERS, as_nobody, start
from tests.sandbox.honest import judge


def test_there_are_enough_and_no_two_alike() -> None:
    corpus = honest.corpus()
    assert len({one.program.source for one in corpus}) == len(corpus) >= 300
    assert len({one.name for one in corpus}) == len(corpus)


def test_right_programs_pass() -> None:
    """A sixth of them, in the strongest tier of this machine; all of them, in both tiers, are a slow test."""
    with start("auto", limits=Limits()) as sandbox:
        assert judge.failed(sandbox, honest.corpus()[::6]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_all_right_programs_pass_in_every_tier(tier: str) -> None:
    with start(tier, limits=Limits(), workers=2) as sandbox:
        assert judge.failed(sandbox, honest.corpus()) == {}


@pytest.mark.slow
def test_all_right_programs_pass_as_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("another user: these tests do not run as root, and the other tests here are the ordinary user's")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = as_nobody([judge.__file__, *TIERS], Path(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {tier: {} for tier in TIERS}


@pytest.mark.slow
def test_the_corpus_is_right_without_a_sandbox() -> None:
    """``memory error is caught`` and the like need no limit of ours: the machine refuses a terabyte as well."""
    assert {c.name: repr(o)[:300] for c in honest.corpus() if not c.right(o := judge.alone(c.program))} == {}


def test_wrong_programs_do_not_pass() -> None:
    """The judge of the corpus would see one that fails."""
    for one in honest.corpus()[::40]:
        assert not one.right((Outcome("error"),) * len(one.expected))
        assert not one.right(tuple(Outcome("value", f"{w}, or another") for w in one.expected))
