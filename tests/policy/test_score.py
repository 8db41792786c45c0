"""Log-probabilities and gradients of shared, padded, cached passes against the plain one, in float64."""

from __future__ import annotations

import pytest
import torch

from loopkit.policy.load import CausalPolicy
from loopkit.policy.score import Segment, micro_batches, score
from tests.policy.small import Spy, double, gradients, plain, plain_logits, random_segments, same


def test_scores_and_gradients_equal_the_plain_forward(random_policy: CausalPolicy) -> None:
    policy = double(random_policy)
    segments = random_segments(policy, 13, temperatures=(1.0, 0.7, 1.9))
    weights = torch.rand(13, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.3
    scores = score(policy.model, segments, pad_id=policy.pad_id)
    assert scores.logprobs.dtype == torch.float64
    width = scores.logprobs.shape[1]
    (scores.logprobs * weights[:, :width]).sum().backward()  # type: ignore[no-untyped-call]
    shared = gradients(policy.model)
    total = torch.zeros((), dtype=torch.float64)
    for i, segment in enumerate(segments):
        logprobs = plain(policy.model, segment)
        assert (scores.logprobs[i, : len(logprobs)] - logprobs).abs().max() < 1e-11
        total = total + (logprobs * weights[i, : len(logprobs)]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert same(shared, gradients(policy.model), 1e-10)


def test_entropy(random_policy: CausalPolicy) -> None:
    policy = double(random_policy)
    segments = random_segments(policy, 7, temperatures=(1.0, 0.5))
    scores = score(policy.model, segments, pad_id=policy.pad_id)
    assert not scores.entropy.requires_grad
    for i, segment in enumerate(segments):
        with torch.no_grad():
            p = (plain_logits(policy.model, segment) / segment.temperature).softmax(-1)
        direct = -(p * p.log()).sum(-1)
        assert (scores.entropy[i, : len(direct)] - direct).abs().max() < 1e-11
        assert (scores.entropy[i, len(direct) :] == 0).all()


def test_a_single_token_needs_one_pass_and_a_shared_prompt_one_row(random_policy: CausalPolicy) -> None:
    policy = double(random_policy)
    spy = Spy(policy.model)
    scores = score(spy, [Segment((7, 8, 9), (k,)) for k in range(5)], pad_id=policy.pad_id)
    assert spy.calls == [(1, 3, False)]
    expected = plain_logits(policy.model, Segment((7, 8, 9), (0,)))[0].log_softmax(-1)[:5]
    assert (scores.logprobs[:, 0] - expected).abs().max() < 1e-12
    spy.calls.clear()
    score(spy, [Segment((7, 8, 9), (k, 1, 2)) for k in range(5)], pad_id=policy.pad_id)
    assert spy.calls == [(1, 3, False), (5, 2, True)]


def test_a_score_does_not_depend_on_batchmates(random_policy: CausalPolicy) -> None:
    segments = random_segments(random_policy, 9)
    with torch.no_grad():
        whole = score(random_policy.model, segments, pad_id=random_policy.pad_id)
        for i, segment in enumerate(segments):
            alone = score(random_policy.model, [segment], pad_id=random_policy.pad_id).logprobs[0]
            assert (whole.logprobs[i, : len(alone)] - alone).abs().max() < 1e-5


@pytest.mark.parametrize("budget", [1, 20, 64, 200, 10**6])
def test_micro_batches_cover_everything_once_within_the_budget(random_policy: CausalPolicy, budget: int) -> None:
    segments = random_segments(random_policy, 60)
    batches = list(micro_batches(segments, budget))
    assert sorted(i for batch in batches for i in batch) == list(range(60))
    for batch in batches:
        prompts = {segments[i].prompt for i in batch}
        padded = len(prompts) * max(map(len, prompts)) + len(batch) * max(len(segments[i].ids) for i in batch)
        assert padded <= budget or len(batch) == 1
    assert len(batches) == (60 if budget == 1 else 1 if budget == 10**6 else len(batches))
    assert list(micro_batches([], budget)) == []


def test_gradients_of_micro_batches_add_up(random_policy: CausalPolicy) -> None:
    policy = double(random_policy)
    segments = random_segments(policy, 17, temperatures=(1.0, 1.3))

    def gradient(budget: int) -> list[torch.Tensor]:
        for batch in micro_batches(segments, budget):
            found = score(policy.model, [segments[i] for i in batch], pad_id=policy.pad_id).logprobs
            (-found.sum() / 17).backward()  # type: ignore[no-untyped-call]
        return gradients(policy.model)

    assert len(list(micro_batches(segments, 60))) > 3
    assert same(gradient(60), gradient(10**6), 1e-10)
