"""What both sides do: context-compliance on the bundled policy, at the game's own settings for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from loopkit.contracts import Game
from loopkit.experiment.resolve import build_game
from loopkit.parts.channels import Placebo
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Done, Rollout, Task, Turn
from loopkit.registry import plugins as registry
from loopkit.rollouts.referee import plan
from loopkit.rollouts.scoring import Setup, assess, pay

GAME, START = "context-compliance", str(BUNDLED)
PROMPTS, GROUP, STEPS, EVALUATED, EVAL_BATCH = 16, 8, 40, 2000, 256
LEARNING_RATE, BETA, ADAM_BETAS = 3e-4, 0.5, (0.9, 0.95)
LONGEST = 32
"""Tokens a reply may have; every task of the game says so itself."""
STILL = 1e-9
"""A learning rate that leaves the policy as it is, so that every step of both sides is of the same size."""


def game() -> Game:
    found: Game = build_game(registry.load(), GAME, {})
    assert {m.decode.max_tokens for t in found.tasks("train") for m in t.messages if m.decode} == {LONGEST}
    return found


def setup(channel: str) -> Setup:
    """What a run of the experiment scores: every channel as a column, every detector."""
    found = game()
    return Setup(found, found.channels[channel], {**found.channels, "placebo": Placebo()}, found.detectors)


def steps(found: Game, n: int, prompts: int, seed: int) -> list[list[Task]]:
    """(n, P) the tasks of each step of a run with this seed."""
    return plan(found.tasks("train"), n, prompts, seed, "train")


def chat(task: Task) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in task.messages]


def rewards(found: Game, channel: str, tasks: Sequence[Task], said: Sequence[str]) -> list[float]:
    """What the channel pays for these replies: all that a TRL user's reward function would compute."""
    rollouts = [
        Rollout(f"train/0/{i}/{t.id}/0", t, ((Turn(text, "stop"), Done()),), 0)
        for i, (t, text) in enumerate(zip(tasks, said, strict=True))
    ]
    signals = [a.signals for a in assess(found, rollouts)]

    def no_draw(purpose: str) -> float:
        raise AssertionError(f"{channel} draws {purpose}")

    return pay(channel, found.channels[channel], signals, [no_draw] * len(signals))


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Options of a process of either side."""
    out = argparse.ArgumentParser(description=doc)
    out.add_argument("--steps", type=int, default=12)
    out.add_argument("--prompts", type=int, default=PROMPTS)
    out.add_argument("--beta", type=float, default=0.0)
    out.add_argument("--seed", type=int, default=0)
    return out


def one_thread() -> Any:
    """torch on one thread, with denormals as zero: for a peer too, or it would pay for them."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    return torch
