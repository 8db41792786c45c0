"""Sampling: right distribution, the same tokens in any batch, and no more forward passes than needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from loopkit.errors import RunError, UsageError
from loopkit.policy import load as load_module
from loopkit.policy.decode import Sampled, Sampling, _choose, _truncated, sample, unique
from loopkit.policy.forward import pad_left
from loopkit.policy.load import CausalPolicy
from loopkit.policy.score import Segment, score
from loopkit.records import Decode, Dialogue, Message
from loopkit.rollouts.playing import Played, play
from loopkit.rollouts.referee import LocalReferee
from tests.policy.small import SELF_GRADING, TEMPERED, Ledger, Spy, plain, plain_logits, random_segments
from tests.toys import setup


def run(policy: CausalPolicy, rows: list[Sampling], model: object = None) -> list[Sampled]:
    return sample(model or policy.model, rows, stop_ids=policy.stop_ids, pad_id=policy.pad_id)


def some_rows(policy: CausalPolicy, n: int, *, temperature: float = 1.0, seed: int = 0) -> list[Sampling]:
    """Rows of unlike prompts and limits; every third is greedy."""
    segments = random_segments(policy, n, seed)
    return [
        Sampling(s.prompt, 3 + 5 * (i % 4), 0.0 if i % 3 == 2 else temperature, (seed, i, "sample"))
        for i, s in enumerate(segments)
    ]


def rollouts(policy: CausalPolicy, game: object) -> list[Played]:
    referee = LocalReferee(
        setup(game),  # type: ignore[arg-type]
        seed=1,
        split="train",
        n_steps=1,
        prompts_per_step=12,
        group_size=4,
        recorder=Ledger(),
    )
    return [played for group in play(referee, policy, 0) for played in group]


def test_helpers() -> None:
    prompts, which = unique([(1, 2), (3,), (1, 2)])
    assert (prompts, which) == ([(1, 2), (3,)], [0, 1, 0])
    ids, mask, positions = pad_left(prompts, 9, torch.device("cpu"))
    assert ids.tolist() == [[1, 2], [9, 3]]
    assert mask.tolist() == [[1, 1], [0, 1]]
    assert positions.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("game", [SELF_GRADING, TEMPERED], ids=["temperature-1", "other-temperatures"])
def test_sampling_and_training_see_the_same_probabilities(bundled: CausalPolicy, game: object) -> None:
    """Groups with shared prompts, both turns: what was sampled, score() and a plain forward pass agree to 1e-4."""
    turns = [turn for played in rollouts(bundled, game) for turn in played.turns]
    assert len(turns) == 12 * 4 * 2
    segments = [Segment(t.prompt_ids or (), t.ids or (), t.temperature) for t in turns]
    assert len({len(s.prompt) for s in segments}) > 2
    assert {s.temperature for s in segments} == ({1.0} if game is SELF_GRADING else {0.7, 1.6})
    with torch.no_grad():
        scores = score(bundled.model, segments, pad_id=bundled.pad_id)
        for i, (turn, segment) in enumerate(zip(turns, segments, strict=True)):
            n = len(segment.ids)
            assert scores.mask[i].sum() == n
            sampled = torch.tensor(turn.logprobs)
            assert (scores.logprobs[i, :n] - sampled).abs().max() < 1e-4
            assert (scores.logprobs[i, n:] == 0).all()
            assert (plain(bundled.model, segment) - sampled).abs().max() < 1e-4


def test_tokens_do_not_depend_on_batchmates(random_policy: CausalPolicy) -> None:
    rows = some_rows(random_policy, 23)
    whole = run(random_policy, rows)
    alone = [run(random_policy, [row])[0] for row in rows]
    backwards = run(random_policy, rows[::-1])[::-1]
    chunked = [s for k in range(0, len(rows), 5) for s in run(random_policy, rows[k : k + 5])]
    for other in (alone, backwards, chunked):
        assert [(ids, finish) for ids, _, finish in other] == [(ids, finish) for ids, _, finish in whole]
        for (_, one, _), (_, two, _) in zip(other, whole, strict=True):
            assert np.abs(np.subtract(one, two)).max() < 1e-5


def test_speak_does_not_depend_on_the_size_of_its_chunks(bundled: CausalPolicy) -> None:
    tasks = SELF_GRADING.tasks("dev")[:7]
    dialogues = [Dialogue(f"{t.id}/{g}", t.messages) for t in tasks for g in range(3)]
    small = CausalPolicy(bundled.model, bundled.tokenizer, seed=bundled.seed, batch_rows=4)
    assert [(t.text, t.ids) for t in small.speak(dialogues)] == [(t.text, t.ids) for t in bundled.speak(dialogues)]


def test_a_groups_prompt_runs_once_and_finished_rows_leave(random_policy: CausalPolicy) -> None:
    prompts = [s.prompt for s in random_segments(random_policy, 9)[:3]]
    rows = [Sampling(p, 4 + 12 * (g == 0), 1.0, (i, g)) for i, p in enumerate(prompts) for g in range(8)]
    spy = Spy(random_policy.model)
    said = run(random_policy, rows, spy)
    (first, width, cached), *rest = spy.calls
    assert (first, width, cached) == (3, max(map(len, prompts)), False)
    assert all(tokens == 1 and extends for _, tokens, extends in rest)
    live = [sum(len(ids) > t for ids, _, _ in said) for t in range(1, 16)]
    sizes = [size for size, _, _ in rest]
    assert len(sizes) == max(len(ids) for ids, _, _ in said) - 1
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 3
    assert all(n <= size and (size == 24 or n >= 0.75 * size) for n, size in zip(live, sizes, strict=False))


def test_greedy_is_generate(random_policy: CausalPolicy, bundled: CausalPolicy) -> None:
    for policy in (random_policy, bundled):
        segments = random_segments(policy, 9, seed=2)
        rows = [Sampling(s.prompt, 12, 0.0, (i,)) for i, s in enumerate(segments)]
        for row, (ids, _, finish) in zip(rows, run(policy, rows), strict=True):
            prompt = torch.tensor([row.prompt])
            made = policy.model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12
            )
            assert made[0, prompt.shape[1] :].tolist() == ids
            assert finish == ("stop" if ids[-1] in policy.stop_ids else "length")


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_frequencies_follow_the_tempered_softmax(bundled: CausalPolicy, temperature: float) -> None:
    """Chi-square of the first two tokens of 4000 rows against the model's own probabilities (fixed seeds)."""
    prompt = bundled.encode([Message("user", "Solve: 47 + 85")])
    said = run(bundled, [Sampling(prompt, 2, temperature, ("chi", temperature, i)) for i in range(4000)])
    common = Counter(ids[0] for ids, _, _ in said).most_common(1)[0][0]
    for before, seen in (
        ((), [ids[0] for ids, _, _ in said]),
        ((common,), [ids[1] for ids, _, _ in said if ids[0] == common and len(ids) > 1]),
    ):
        with torch.no_grad():
            logits = plain_logits(bundled.model, Segment((*prompt, *before), (0,)))[0]
        expected = (logits.double() / temperature).softmax(-1).numpy() * len(seen)
        observed = np.bincount(seen, minlength=len(expected))
        often = expected >= 5
        rare = ~often
        f_exp = np.append(expected[often], expected[rare].sum())
        f_obs = np.append(observed[often], observed[rare].sum())
        if f_exp[-1] < 1:  # too rare to be tested: it may hardly occur
            assert f_obs[-1] <= 5
            f_exp, f_obs = f_exp[:-1], f_obs[:-1]
        if len(f_exp) > 1:
            assert chisquare(f_obs, f_exp * f_obs.sum() / f_exp.sum()).pvalue > 1e-3


def test_the_draw_decides_by_inverse_transform() -> None:
    """The first token whose cumulative probability exceeds the draw; one of probability 0 never."""
    logits = torch.tensor([[-1e9, 0.0, 0.0, -1e9, 0.0, -1e9]]).expand(6, -1)
    draws = torch.tensor([0.0, 0.3, 0.34, 0.66, 0.67, 1 - 2**-24])
    token, logprob = _choose(logits, torch.ones(6), draws)
    assert token.tolist() == [1, 1, 2, 2, 4, 4]
    assert (logprob - torch.tensor(1 / 3).log()).abs().max() < 1e-6


@pytest.mark.parametrize(("top_p", "top_k"), [(0.8, 0), (1.0, 5), (0.6, 9), (1e-6, 0)])
def test_truncation_is_transformers(random_policy: CausalPolicy, top_p: float, top_k: int) -> None:
    """What is left to draw from, and that log-probabilities stay those of the whole distribution, as scored."""
    from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(40, 300, generator=torch.Generator().manual_seed(1)) * 3
    left = TopKLogitsWarper(top_k)(None, logits) if top_k else logits
    expected = TopPLogitsWarper(top_p)(None, left).isfinite() if top_p < 1 else left.isfinite()
    cut = _truncated(logits.softmax(-1), torch.full((40,), top_p), torch.full((40,), top_k or 300))
    assert torch.equal(cut > 0, expected)

    rows = [replace(r, top_p=top_p, top_k=top_k) for r in some_rows(random_policy, 12)]
    segments = [
        Segment(r.prompt, tuple(ids), r.temperature or 1.0)
        for r, (ids, _, _) in zip(rows, run(random_policy, rows), strict=True)
    ]
    scored = score(random_policy.model, segments, pad_id=random_policy.pad_id).logprobs
    for row, (ids, logprobs, _), line in zip(rows, run(random_policy, rows), scored, strict=True):
        if row.temperature:
            assert (line[: len(ids)] - torch.tensor(logprobs)).abs().max() < 1e-4


def test_a_truncated_row_leaves_its_batchmates_as_they_were(random_policy: CausalPolicy) -> None:
    rows = some_rows(random_policy, 6)
    mixed = [replace(r, top_k=2) if i == 0 else r for i, r in enumerate(rows)]
    assert [ids for ids, _, _ in run(random_policy, mixed)[1:]] == [ids for ids, _, _ in run(random_policy, rows)[1:]]


def test_limits_and_finish(random_policy: CausalPolicy) -> None:
    """Each row has its own limit; "stop" and an end token last, or "length" at the limit and no end token."""
    stops = random_policy.stop_ids
    rows = [Sampling(random_segments(random_policy, 3)[0].prompt, 1 + i % 40, 3.0, (i,)) for i in range(200)]
    seen = Counter[str]()
    for row, (ids, logprobs, finish) in zip(rows, run(random_policy, rows), strict=True):
        assert 1 <= len(ids) == len(logprobs) <= row.max_tokens
        assert not stops & set(ids[:-1])
        assert (finish == "stop") == (ids[-1] in stops)
        assert finish == "stop" or len(ids) == row.max_tokens
        assert max(logprobs) <= 0
        seen[finish] += 1
    assert seen.keys() == {"stop", "length"}


def test_greedy_rows_among_sampled_ones(random_policy: CausalPolicy) -> None:
    """Temperature 0 takes no draw, and its log-probabilities are those of temperature 1."""
    prompt = random_segments(random_policy, 3)[0].prompt
    rows = [Sampling(prompt, 6, 0.0 if i % 2 else 5.0, (i,)) for i in range(8)]
    said = run(random_policy, rows)
    greedy = said[1::2]
    assert all(g == greedy[0] for g in greedy)
    assert len({tuple(ids) for ids, _, _ in said[::2]}) == 4
    with torch.no_grad():
        expected = plain(random_policy.model, Segment(prompt, tuple(greedy[0][0])))
    assert (torch.tensor(greedy[0][1]) - expected).abs().max() < 1e-5


def test_draws_are_keyed(random_policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same seed, key and turn: same words. Another seed, key or turn: another draw."""
    rows: list[Sampling] = []

    def noted(model: Any, asked: Sequence[Sampling], **named: Any) -> list[Sampled]:
        rows.extend(asked)
        return sample(model, asked, **named)

    monkeypatch.setattr(load_module, "sample", noted)

    def said(seed: int, key: str, turns: int = 0) -> tuple[int, ...] | None:
        policy = CausalPolicy(random_policy.model, random_policy.tokenizer, seed=seed)
        history = (Message("user", "?"), Message("assistant", "!")) * turns
        return policy.speak([Dialogue(key, (*history, Message("user", "Double 3.", Decode(1.0, 12))))])[0].ids

    assert said(0, "a") == said(0, "a")
    assert len({said(0, "a"), said(1, "a"), said(0, "b")}) == 3
    rows.clear()
    said(3, "k", 2)
    assert rows[0].keys == (3, "k", 2, "sample")
    keyed = [run(random_policy, [replace(rows[0], keys=(3, "k", turn, "sample"))])[0][0] for turn in range(3)]
    assert len(set(map(tuple, keyed))) == 3


def test_a_turn_says_what_it_was_made_of(bundled: CausalPolicy) -> None:
    ask = Message("user", "Solve: 2 + 2", Decode(0.8, 8))
    (turn,) = bundled.speak([Dialogue("k", (ask,))])
    assert turn.prompt_ids == bundled.encode([ask])
    assert turn.temperature == 0.8
    assert turn.ids is not None
    said = turn.ids[:-1] if turn.finish == "stop" else turn.ids
    assert turn.text == bundled.tokenizer.decode(said, skip_special_tokens=True)
    (greedy,) = bundled.speak([Dialogue("k", (Message("user", "Solve: 2 + 2", Decode(0.0, 8)),))])
    assert greedy.temperature == 1.0
    assert bundled.speak([]) == []


def test_a_broken_policy_does_not_speak(random_policy: CausalPolicy) -> None:
    """Weights that are not finite would otherwise say something, and be paid for it."""
    model = deepcopy(random_policy.model)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    broken = CausalPolicy(model, random_policy.tokenizer)
    for temperature in (0.0, 1.0):
        with pytest.raises(RunError, match=r"it diverged .*, or its weights are damaged"):
            broken.speak([Dialogue("k", (Message("user", "x", Decode(temperature, 4)),))])


def test_too_long_for_the_model(bundled: CausalPolicy) -> None:
    with pytest.raises(UsageError, match=r"'k': a prompt of \d+ tokens .* exceed the model's 1024 positions"):
        bundled.speak([Dialogue("k", (Message("user", "Solve: 2 + 2", Decode(1.0, 1024)),))])
