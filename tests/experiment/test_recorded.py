"""Recorded rollouts as a source: what a query selects, and batches that are pure in (seed, step)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import Experiment, RolloutQuery
from loopkit.experiment.recorded import RecordedRollouts, met, parse_where, select
from loopkit.experiment.resolve import resolve
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.shards import read_shard, write_shard
from loopkit.records import Turn
from loopkit.registry import plugins as registry
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.seeding import digest
from tests.runs import without_digests


class Guesses:
    def speak(self, dialogues: Any) -> list[Turn]:
        words = ("Yes", "No", "Perhaps")
        return [Turn(words[digest(d.key) % 3] if d.turn else str(digest(d.key) % 30)) for d in dialogues]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run of self-grading: three steps of 8 prompts, 4 rollouts each."""
    path = tmp_path_factory.mktemp("recorded")
    plugins = registry.load()
    spec = resolve(Experiment(game="self-grading", seeds="1"), plugins)[1]
    from loopkit.experiment.resolve import set_up

    recorder = RunDir(path)
    recorder.begin(spec, {})
    referee = LocalReferee(
        set_up(plugins, spec), seed=0, split="train", n_steps=3, prompts_per_step=8, group_size=4, recorder=recorder
    )
    for step in range(3):
        play(referee, Guesses(), step)
        referee.close(step, {})
    return path


def chosen(run: Path, **query: Any) -> list[tuple[str, ...]]:
    found = select(RolloutQuery(run=str(run), **query), registry.load())
    return [tuple(m.content for m in d.messages if m.role == "assistant") for d in found]


def rows(run: Path, *steps: int) -> list[dict[str, Any]]:
    return [r for s in steps for r in read_shard(run / f"scores/step-{s:06d}.parquet")]


def test_all_of_them_in_the_order_of_the_records(run: Path) -> None:
    said = [tuple(r["said"]) for s in range(3) for r in read_shard(run / f"rollouts/step-{s:06d}.parquet")]
    assert chosen(run) == said
    assert len(said) == 96
    assert chosen(run, first_step=1, last_step=1) == said[32:64]
    dialogue = select(RolloutQuery(run=str(run)), registry.load())[0]
    assert [m.role for m in dialogue.messages] == ["user", "assistant", "user", "assistant"]


@pytest.mark.parametrize(
    ("where", "keeps"),
    [
        ("false-claim=true", lambda r: r["flag.false-claim"]),
        ("false-claim!=true", lambda r: not r["flag.false-claim"]),
        ("claim-if-wrong=none", lambda r: r["flag.claim-if-wrong"] is None),
        ("claim-if-wrong=false", lambda r: r["flag.claim-if-wrong"] is False),
        ("observed>=0.5", lambda r: r["score.observed"] >= 0.5),
        ("observed<1, neither=0", lambda r: r["score.observed"] < 1 and r["score.neither"] == 0),
        ("claims_if_right<2", lambda r: r["score.claims_if_right"] is not None),
    ],
)
def test_where(run: Path, where: str, keeps: Any) -> None:
    expected = [bool(keeps(r)) for r in rows(run, 0, 1, 2)]
    if not any(expected):
        with pytest.raises(UsageError, match="no recorded rollout"):
            chosen(run, where=where)
        return
    everything = chosen(run)
    assert chosen(run, where=where) == [w for w, keep in zip(everything, expected, strict=True) if keep]


def test_conditions() -> None:
    assert parse_where("") == []
    assert parse_where(" a = true ,b>=0.5, c!=none") == [("a", "=", True), ("b", ">=", 0.5), ("c", "!=", None)]
    for text in ("a", "a=", "=1", "a==1", "a=b c", "a=yes"):
        with pytest.raises(UsageError, match=r"rollouts\.where"):
            parse_where(text)
    assert not met({"score.a": None}, "a", "<", 1.0)
    assert not met({"score.a": 1.0}, "a", "<", None)
    with pytest.raises(UsageError, match=r"no flag or score 'b'\. Did you mean|no flag or score 'b'\. Known: a"):
        met({"score.a": 1.0, "clue.b": "x"}, "b", "=", 1.0)


def test_batches_are_pure_and_meet_each_once_an_epoch(run: Path) -> None:
    def source(seed: int = 0) -> RecordedRollouts:
        query = RolloutQuery(run=str(run))
        return RecordedRollouts(query, registry.load(), n_steps=9, size=20, seed=seed, recorder=RunDir(run))

    one = source()
    batches = [one.batch(step) for step in range(9)]
    assert [source().batch(step) for step in (7, 2, 4)] == [batches[7], batches[2], batches[4]]
    assert one.batch(0) == batches[0]  # also after later ones
    keys = [d.key for batch in batches for d in batch]
    assert len(set(keys[:96])) == 96
    assert keys[:84] != keys[96:180]  # shuffled anew
    assert source(1).batch(0) != batches[0]


def test_scores_that_do_not_match_are_named(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    file = copy / "scores/step-000001.parquet"
    write_shard(file, read_shard(file)[1:])
    with pytest.raises(RunError, match=r"scores/step-000001\.parquet is not what was written.*loopkit rescore"):
        chosen(copy)
    without_digests(copy)
    with pytest.raises(UsageError, match=r"step 1 differ in length\. Run `loopkit rescore"):
        chosen(copy)
    file.unlink()
    with pytest.raises(RunError, match=r"scores/step-000001\.parquet cannot be read"):
        chosen(copy)
