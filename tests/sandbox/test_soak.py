"""The soak can fail: its population is what it says, and an answer that differs from a program's own is seen (3 s)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import sandbox_population as population
from benchmarks import sandbox_soak
from benchmarks.sandbox_soak import LIMITS, Alone, Drawn, Progress, Stream, equal
from loopkit.sandbox import Outcome
from tests.sandbox.conftest import start


def test_the_stream_is_the_same_each_time_and_mixed_as_it_says() -> None:
    stream, other = Stream("1", 3000), Stream("2", 3000)
    drawn = [stream[k] for k in range(2000)]
    assert [stream[k] for k in (1999, 0)] == [drawn[1999], drawn[0]]
    assert [other[k].name for k in range(50)] != [d.name for d in drawn[:50]]
    kinds = Counter(d.kind for d in drawn)
    assert 150 < kinds["attack"] < 250
    assert 150 < kinds["corpus"] < 250
    every = [population.program("1", k) for k in range(500)]
    assert len({p.source.partition("\n")[2] for p in every}) > 495  # without the number in the first line
    assert Counter(len(p.cases) for p in every).keys() == {1, 2, 3}
    assert {(p.form, p.shared, p.entry) for p in every} == {
        ("function", False, "solve"), ("function", False, "Solution.answer"), ("script", False, "solve"),
        ("script", True, "solve"),
    }  # fmt: skip


def test_an_answer_that_differs_from_that_alone_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_soak, "AGAIN", 1)
    stream = Stream("3", 9)
    several = [Drawn("population", str(k), population.program("3", k)) for k in range(4)]
    several += [Drawn("attack", n, stream.hostile[n]) for n in ("files: read a password file", "forge: early exit")]
    with start("auto", limits=LIMITS) as sandbox:
        found = sandbox.run(d.program for d in several)
        tier = sandbox.tier.name
    answers = Alone(tier, tmp_path / "alone.jsonl")
    try:
        assert [d.name for d, o in zip(several, found, strict=True) if not answers.right(d, o)] == []
        for drawn, outcomes in zip(several, found, strict=True):
            for other in ((Outcome("value", "another"),), (Outcome("timeout"),), ()):
                assert not answers.right(drawn, (*outcomes[:-1], *other))
        through = replace(found[4][0], kind="value", value="THROUGH")
        answers.varies.update(answers.known)
        assert not answers.right(several[4], (through,))
        assert answers.right(several[4], found[4])
    finally:
        answers.close()
    again = Alone(tier, tmp_path / "alone.jsonl")
    again.close()
    assert again.known.keys() == answers.known.keys()
    for key, each in answers.known.items():
        assert all(equal(several[0].program, a, b) for a, b in zip(each, again.known[key], strict=True))


def test_what_is_kept_of_another_soak_is_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "seccomp.json"
    file.write_text('{"asked": {"seed": "1"}, "done": 500}')
    assert Progress.begin({"seed": "1"}, file).done == 500
    with pytest.raises(SystemExit, match="--keep"):
        Progress.begin({"seed": "2"}, file)
