"""A trainer of one method: the template plays, records and saves, and what ``begin`` made is saved with the policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from loopkit.checks import check_trainer
from loopkit.contracts import PolicyRef
from loopkit.policy.load import CausalPolicy
from loopkit.policy.save import save_policy
from loopkit.policy.score import Segment, score
from loopkit.policy.trainer import GradientTrainer
from loopkit.policy.warmup import new_policy
from loopkit.rollouts.playing import Played
from loopkit.rollouts.referee import LocalReferee
from tests.policy.small import SETTINGS, Ledger
from tests.toys import DOUBLING, setup


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    directory = tmp_path_factory.mktemp("start")
    save_policy(new_policy({"doubling": DOUBLING}, SETTINGS), directory)
    return PolicyRef(str(directory))


class Reinforce(GradientTrainer):
    """REINFORCE against a running mean of the rewards, which is what it needs to continue."""

    deterministic = True

    def begin(self, policy: CausalPolicy, checkpoint: Path | None) -> None:
        self.mean, self.taken = 0.0, 0
        if checkpoint:
            self.mean, self.taken = json.loads((checkpoint / "learner.json").read_text())

    def save_more(self, directory: Path) -> None:
        (directory / "learner.json").write_text(json.dumps([self.mean, self.taken]))

    def learn(self, policy: CausalPolicy, batch: Sequence[Sequence[Played]]) -> dict[str, float]:
        rollouts = [rollout for group in batch for rollout in group]
        for r in rollouts:
            turns = [Segment(t.prompt_ids or (), t.ids or (), t.temperature) for t in r.turns]
            logprobs = score(policy.model, turns, pad_id=policy.pad_id).logprobs
            (-(r.reward - self.mean) * logprobs.sum() / len(rollouts)).backward()
        self.mean = 0.9 * self.mean + 0.1 * sum(r.reward for r in rollouts) / len(rollouts)
        self.taken += 1
        return {"mean": self.mean, "taken": float(self.taken), "grad_norm": self.update(policy)}


def test_the_learning_rate_rises_over_the_warm_up_also_after_a_resume(start: PolicyRef, tmp_path: Path) -> None:
    rates: list[float] = []

    class Noted(Reinforce):
        def learn(self, policy: CausalPolicy, batch: Sequence[Sequence[Played]]) -> dict[str, float]:
            rates.extend(group["lr"] for group in self.optimizer.param_groups)
            return super().learn(policy, batch)

    options = Noted.Options(learning_rate=4e-3, warmup_steps=3, checkpoint_every=2)
    for steps in (2, 5):  # the second run goes on from the first one's checkpoint
        Noted(options, start, 0).train(
            LocalReferee(setup(DOUBLING), seed=0, split="train", n_steps=steps, prompts_per_step=2, group_size=2,
                         recorder=Ledger()), tmp_path,
        )  # fmt: skip
    assert rates == pytest.approx([1e-3, 2e-3, 3e-3, 4e-3, 4e-3])


@pytest.mark.parametrize(("forget", "status"), [(False, "proven"), (True, "fails")])
def test_learn_is_all_that_an_algorithm_writes(
    forget: bool, status: str, start: PolicyRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running mean that is not in the checkpoint makes a killed run end elsewhere, and the check says so."""
    if forget:
        monkeypatch.setattr(Reinforce, "begin", lambda self, policy, checkpoint: vars(self).update(mean=0.0, taken=0))
    report = check_trainer(
        Reinforce, workdir=tmp_path / "check", start=start, setup=setup(DOUBLING),
        options={"learning_rate": 1e-3}, new_process=False,
    )  # fmt: skip
    assert report.status == status, report
    assert ("deterministic" in {f.check for f in report.findings if not f.ok}) == (status == "fails")
