"""Small policies and games for tests of the torch side, and the plain forward pass that everything is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

import torch
from loopkit_self_grading.game import GameOptions, SelfGrading

from loopkit.checks.purity import Ledger as Ledger
from loopkit.contracts import Draw, Game, Options, Range, RewardChannel, Split
from loopkit.parts.channels import pay
from loopkit.parts.detectors import rule
from loopkit.policy.load import CausalPolicy
from loopkit.policy.score import Segment
from loopkit.policy.warmup import Settings
from loopkit.records import Assessment, Decode, Done, Message, Rollout, Task, Transcript

SETTINGS = Settings(hidden_size=32, layers=2, heads=2, intermediate_size=64, positions=256, warmup_steps=10)
WORDS = ("yes", "no", "red", "blue")


class OneWord(Game):
    """One turn, one token: say a word; ``loophole`` pays "blue", ``control`` "red"."""

    version = 1
    axis = "specification"
    signals: ClassVar[Mapping[str, Range]] = {"blue": (0, 1), "red": (0, 1)}
    clues: ClassVar[Mapping[str, str]] = {"blue": "says blue"}
    channels: ClassVar[Mapping[str, RewardChannel]] = {"loophole": pay("blue"), "control": pay("red")}
    detectors: ClassVar = {"blue": rule("blue")}

    def tasks(self, split: Split) -> list[Task]:
        return [Task(f"{split}{i}", (Message("user", f"Say a word, {split} {i}.", Decode(1.0, 4)),)) for i in range(8)]

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        said = [r.words[0] for r in rollouts]
        return [
            Assessment(
                {"task": float(w == "red"), "observed": None},
                {"blue": float(w == "blue"), "red": float(w == "red")},
                {"blue": w == "blue"},
            )
            for w in said
        ]

    def specimens(self, task: Task, draw: Draw) -> Mapping[str, Sequence[Transcript]]:
        return {"honest": [("red",), ("yes",), ("no",)], "exploit": [("blue",)], "null": [("",)]}

    def demonstrations(self, task: Task, draw: Draw) -> Transcript:
        return (WORDS[int(draw("word") * 4)],)


class Tempered(SelfGrading):
    """The real self-grading game with other temperatures, and prompts of unlike lengths."""

    first, second = 0.7, 1.6

    def tasks(self, split: Split) -> list[Task]:
        return [
            replace(
                t, messages=(Message("user", " ".join([t.messages[0].content] * (1 + i % 3)), Decode(self.first, 8)),)
            )
            for i, t in enumerate(super().tasks(split))
        ]

    def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
        return [
            replace(m, decode=Decode(self.second, 5)) if isinstance(m, Message) else m for m in super().reply(rollouts)
        ]


DEFAULTS = GameOptions.model_validate({})
ONE_WORD = OneWord(Options())
SELF_GRADING = SelfGrading(DEFAULTS)
TEMPERED = Tempered(DEFAULTS)


class Spy:
    """A model that notes each forward pass: (rows, tokens, whether it extends a cache)."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[tuple[int, int, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, **inputs: Any) -> Any:
        rows, tokens = inputs["input_ids"].shape
        self.calls.append((rows, tokens, bool(inputs.keys() & {"cache", "past_key_values"})))
        return self.model(**inputs)


class Norm(torch.nn.Module):
    """RMSNorm in the precision of its input; transformers' own computes in float32 whatever it is given."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.epsilon = norm.weight, norm.variance_epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.weight * x * (x.square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
        return scaled


def double(policy: CausalPolicy) -> CausalPolicy:
    """A copy that computes in float64 throughout."""
    model = deepcopy(policy.model).double()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":
                setattr(parent, name, Norm(child))
    return CausalPolicy(model, policy.tokenizer, seed=policy.seed)


def plain_logits(model: Any, segment: Segment) -> torch.Tensor:
    """(T, V) logits of a segment's tokens: one row, no cache, no padding, no sharing."""
    ids = torch.tensor([[*segment.prompt, *segment.ids]])
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[0, len(segment.prompt) - 1 : -1]


def plain(model: Any, segment: Segment) -> torch.Tensor:
    """(T,) log-probabilities of a segment's tokens by :func:`plain_logits`."""
    logprobs = (plain_logits(model, segment) / segment.temperature).log_softmax(-1)
    return logprobs.gather(1, torch.tensor(segment.ids)[:, None])[:, 0]


def gradients(model: Any) -> list[torch.Tensor]:
    """The gradients a backward pass left, and clears them."""
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return found


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], tolerance: float) -> bool:
    """Whether two lists of tensors are alike and not all zero."""
    assert len(one) == len(other) > 0
    assert any(t.abs().max() > 0 for t in one)
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True)) <= tolerance


def random_segments(
    policy: CausalPolicy, n: int, seed: int = 0, temperatures: Sequence[float] = (1.0,)
) -> list[Segment]:
    """(n,) segments with shared prompts of unlike lengths and completions of 1 to 9 tokens."""
    made = torch.Generator().manual_seed(seed)
    size = len(policy.tokenizer)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=made))

    prompts = [tuple(draw(5, size) for _ in range(draw(2, 20))) for _ in range(max(1, n // 3))]
    return [
        Segment(
            prompts[i % len(prompts)],
            tuple(draw(0, size) for _ in range(1 if i % 4 == 0 else draw(2, 10))),
            temperatures[i % len(temperatures)],
        )
        for i in range(n)
    ]
