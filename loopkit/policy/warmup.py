"""Warms up the embedded policy: supervised learning on demonstrations that the games make.

Everything that decides the weights is recorded beside them in ``warmup.json``: seed, settings, a hash of the
demonstrations, versions, and the base rates that came out. The same call on the same machine gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from loopkit import seeding
from loopkit.contracts import Game
from loopkit.errors import ContractError, UsageError
from loopkit.policy.load import CausalPolicy, load_parts
from loopkit.policy.supervised import Progress, backward, segments, step
from loopkit.policy.tokenizer import train_tokenizer
from loopkit.records import Dialogue, Rollout, Task, Turn
from loopkit.rollouts.halves import shown
from loopkit.rollouts.scoring import advance

RECORD = "warmup.json"
CORPUS = 4000
"""Demonstrations a game contributes to the tokenizer, and to the hash that identifies its demonstrations."""
SPLITS = ("train", "half")
FINGERPRINT = 256
REPLAYED = 8
"""Demonstrations a step of each replayed game: enough to keep its habits, and a quarter of the time."""


@dataclass(frozen=True)
class Settings:
    """What a warm-up depends on besides the games. Sizes are those of a transformers Llama."""

    seed: int = 0
    steps: int = 3600
    demonstrations_per_step: int = 32
    """of each game in the warm-up; of a replayed one, REPLAYED"""
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    hidden_size: int = 96
    layers: int = 3
    heads: int = 4
    intermediate_size: int = 256
    positions: int = 1024
    initializer_range: float = 0.08
    """0.02 does not learn in the time"""
    split: str = "train"
    """What is demonstrated: all train tasks, or "half" of them, so that ``run.unseen`` may train on the other half"""
    unshown: str = ""
    """Games of whose demonstrations none exploits (``Tiny.unshown``), comma-separated; no curriculum is theirs"""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"split={self.split!r}: a warm-up demonstrates {' or '.join(SPLITS)} of the train tasks.")


def demonstration(game: Game, tasks: Sequence[Task], seed: int, k: int) -> Dialogue:
    """The ``k``-th demonstration: on one of the game's tasks, drawn by its own key."""
    task = seeding.pick(tasks, seed, "demonstration task", k)
    rollout = Rollout(f"train/warmup/{k}/{task.id}/0", task, seed=seed)
    transcript = list(game.demonstrations(task, partial(seeding.uniform, seed, "demonstration", k)))
    for i, text in enumerate(transcript):
        (rollout,) = advance(game, [rollout], [Turn(text)])
        if rollout.done == (i + 1 < len(transcript)):
            raise ContractError(
                f"game {type(game).__name__}: a demonstration of {len(transcript)} turns does not end the game. "
                "demonstrations() must give as many turns as reply() asks for."
            )
    return Dialogue(rollout.id, tuple(rollout.messages(whole=True)))


def demonstrations(game: Game, seed: int) -> Iterator[Dialogue]:
    """Endless demonstrations on train tasks."""
    tasks = game.tasks("train")  # once: a game may make them anew at every call
    return (demonstration(game, tasks, seed, k) for k in count())


def taught(game: Game, settings: Settings) -> Sequence[Task]:
    """The tasks that a warm-up demonstrates. Raises UsageError where there are none."""
    tasks = [task for task in game.tasks("train") if settings.split == "train" or shown(task)]
    if not tasks:
        raise UsageError(f"{type(game).__name__} has no train task in the half that is shown. Use split=train.")
    return tasks


def lesson(game: Game, done: float) -> Game:
    """The game as it demonstrates when a share ``done`` of the warm-up is over (see ``Tiny.warmup_options``)."""
    left = 1 - 2 * done
    if not game.tiny.warmup_options or left <= 0:
        return game
    options = {name: getattr(game.options, name) for name in game.tiny.warmup_options}
    moved = {name: options[name] + left * (first - options[name]) for name, first in game.tiny.warmup_options.items()}
    return type(game)(game.options.model_copy(update=moved), game.judges)


def fingerprint(game: Game) -> str:
    """A hash of what a game demonstrates: another version or other options need another warm-up."""
    dialogues = [[(m.role, m.content) for m in d.messages] for d in islice(demonstrations(game, 0), FINGERPRINT)]
    return hashlib.sha256(json.dumps(dialogues).encode()).hexdigest()[:16]


def new_policy(games: Mapping[str, Game], settings: Settings) -> CausalPolicy:
    """A policy with random weights, and a tokenizer trained on the games' demonstrations."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = (
        message.content
        for game in games.values()
        for dialogue in islice(demonstrations(game, settings.seed), CORPUS)
        for message in dialogue.messages
    )
    tokenizer = train_tokenizer(texts)
    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        max_position_embeddings=settings.positions,
        initializer_range=settings.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return CausalPolicy(LlamaForCausalLM(config).eval(), tokenizer)


@contextlib.contextmanager
def small_model() -> Iterator[None]:
    """One thread, and no denormals: what a small model is fastest with, and the same bytes on every number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def warm_up(
    policy: CausalPolicy,
    games: Mapping[str, Game],
    settings: Settings,
    *,
    replay: Mapping[str, Game] | None = None,
    curriculum: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, float]:
    """Train on ``demonstrations_per_step`` of each game a step, REPLAYED of each replayed one; returns final losses.

    ``curriculum``: games demonstrate as their ``warmup_options`` say; what a policy from random weights needs.

    Inside ``small_model()`` the result is the same for the same machine and versions.
    """
    mix = {**(replay or {}), **games}
    tasks = {name: taught(game, settings) for name, game in mix.items()}
    plain = set(filter(None, settings.unshown.split(",")))
    optimizer = torch.optim.AdamW(
        policy.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
    )
    losses: dict[str, float] = {}
    for k in range(settings.steps):
        rate = min(1.0, (k + 1) / settings.warmup_steps) * (0.525 + 0.475 * math.cos(math.pi * k / settings.steps))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        for name, game in mix.items():
            size = settings.demonstrations_per_step if name in games else REPLAYED
            moved = lesson(game, k / settings.steps) if curriculum and name not in plain else game
            lessons = (demonstration(moved, tasks[name], settings.seed, k * size + i) for i in range(size))
            batch = [s for dialogue in lessons for s in segments(policy, dialogue)]
            losses[name] = backward(policy, batch, token_budget=100_000, weight=1 / len(mix)).value
        step(optimizer, policy.model, 1.0)
        progress(k + 1, settings.steps)
    return losses


LATER = {"split": "train", "unshown": ""}
"""Settings that older records lack, and what they were: a warm-up that leaves them so has the record it had."""


def make_record(
    settings: Settings, games: Mapping[str, Game], replayed: Mapping[str, Game], base: str, losses: Mapping[str, float]
) -> dict[str, Any]:
    """What ``warmup.json`` holds, but for the base rates."""
    import tokenizers
    import transformers

    return {
        "settings": {k: v for k, v in asdict(settings).items() if k not in LATER or v != LATER[k]},
        "start": base,
        **({"replayed_per_step": REPLAYED} if replayed else {}),
        "games": {
            name: {
                "version": game.version,
                "options": game.options.model_dump(mode="json"),
                "demonstrations": fingerprint(game),
                "replayed": name in replayed,
            }
            for name, game in {**replayed, **games}.items()
        },
        "final_loss": dict(losses),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def read_record(directory: Path) -> dict[str, Any]:
    """A warm-up's record."""
    data: dict[str, Any] = json.loads((directory / RECORD).read_text())
    return data


def from_directory(directory: Path, seed: int = 0) -> CausalPolicy:
    """A policy to go on warming up from."""
    model, tokenizer = load_parts(str(directory))
    return CausalPolicy(model.eval(), tokenizer, seed=seed)
