"""The embedded policy: bundled weights for the games in its warm-up, a short warm-up of its own for any other game.

It exists so that everyone can run every claim in minutes with real sampled tokens and gradients. It is not evidence
about large models, and since exploits are in its demonstrations nothing on it is ever spontaneous.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loopkit.contracts import PAYS_ONLY, Game, PolicyRef, Split
from loopkit.errors import UsageError
from loopkit.experiment.config import RunSpec
from loopkit.experiment.resolve import build_game
from loopkit.registry.files import label
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.metrics import Summary, summary
from loopkit.rollouts.scoring import Setup
from loopkit.system.files import cache_dir

BUNDLED = Path(__file__).parent / "tiny_weights"
GAMES = ("context-compliance", "self-grading", "proxy-metric", "reward-tampering")
"""What the bundled weights are warmed up on, in this order: it decides how gradients round."""
SHORT_STEPS = 300
SHORT_LEARNING_RATE = 1e-3
BASE_PROMPTS = 2000
RANDOM = "random"
"""What a warm-up from random weights has for a start."""
Progress = Callable[[int, int], None]


def start_from(argument: str, spec: RunSpec, plugins: Plugins, progress: Progress) -> PolicyRef:
    """The directory of the embedded policy for a spec's game; "tiny:DIR" names another warm-up's directory.

    A game that the base's warm-up did not see (or sees with other demonstrations) gets a short warm-up from its
    weights, with replay of the games it saw, kept in the cache.
    """
    from loopkit.policy import warmup

    base = Path(argument) if argument else BUNDLED
    if not (base / warmup.RECORD).exists():
        raise UsageError(
            f"{base} holds no warmed-up policy (no {warmup.RECORD}). Make one: loopkit warmup --out {base}"
        )
    game = build_game(plugins, spec.game, spec.game_options)
    known = warmup.read_record(base)["games"].get(spec.game)
    if known is not None and known["demonstrations"] == warmup.fingerprint(game):
        return PolicyRef(str(base))
    if spec.game in filter(None, warmup.read_record(base)["settings"].get("unshown", "").split(",")):
        told = " ".join(f"--set game.{k}={json.dumps(v)}" for k, v in game.tiny.unshown.items())
        raise UsageError(
            f"{base} was warmed up on demonstrations of {spec.game} that hold no exploit, and this run's options ask "
            f"for others: it would be shown it after all. Set the warm-up's options for the run, too: {told}"
        )
    return short(base, {spec.game: game}, plugins, progress)


def seen_games(plugins: Plugins, base: Path = BUNDLED) -> dict[str, Game]:
    """The games that a warmed-up policy has seen, as far as they are installed, with the options it saw them with."""
    from loopkit.policy import warmup

    seen = warmup.read_record(base)["games"]
    return {name: build_game(plugins, name, seen[name]["options"]) for name in plugins.names("games") if name in seen}


def short(base: Path, games: Mapping[str, Game], plugins: Plugins, progress: Progress) -> PolicyRef:
    """A short warm-up from ``base`` on new games, replaying those it saw; cached by what decides its weights.

    A bundled game that it did not see is not a habit to keep: replayed, it would be one more new game to learn.
    """
    from loopkit.policy import warmup

    settings = warmup.Settings(steps=SHORT_STEPS, learning_rate=SHORT_LEARNING_RATE)
    replay = {name: game for name, game in seen_games(plugins, base).items() if name not in games}
    record = warmup.make_record(settings, games, replay, warmup.read_record(base)["weights_sha256"], {})
    key = hashlib.sha256(json.dumps(_of_weights(record, games), sort_keys=True).encode()).hexdigest()[:16]
    target = cache_dir() / "warmup" / f"{'+'.join(map(label, games))}-{key}"
    if not (target / warmup.RECORD).exists():
        train(warmup.from_directory(base), games, settings, target, progress, replay=replay, start=str(record["start"]))
    return PolicyRef(str(target))


def _of_weights(record: dict[str, Any], games: Mapping[str, Game]) -> dict[str, Any]:
    """What of a record decides the weights: not what is only paid, as a user's own reward."""
    kept = dict(record["games"])
    for name, game in games.items():
        unseen = {n for n, f in type(game.options).model_fields.items() if (f.json_schema_extra or {}) == PAYS_ONLY}
        kept[name] = {**kept[name], "options": {k: v for k, v in kept[name]["options"].items() if k not in unseen}}
    return {**record, "games": kept}


def train(
    policy: Any,
    games: Mapping[str, Game],
    settings: Any,
    target: Path,
    progress: Progress,
    *,
    replay: Mapping[str, Game] | None = None,
    start: str = RANDOM,
    split: Split = "dev",
) -> dict[str, Any]:
    """Warm up, measure base rates on a held-out split, and save it all whole; returns the record."""
    from loopkit.policy import warmup
    from loopkit.policy.save import save_policy

    with warmup.small_model():
        losses = warmup.warm_up(policy, games, settings, replay=replay, curriculum=start == RANDOM, progress=progress)
        rates = {name: base_rates(game, policy, split) for name, game in {**(replay or {}), **games}.items()}
    record = warmup.make_record(settings, games, replay or {}, start, losses)
    record["base_rates"] = {name: {"split": split, **_no_rewards(asdict(rate))} for name, rate in rates.items()}
    temporary = target.parent / f".tmp-{target.name}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_policy(policy, temporary)
    weights = (temporary / "model.safetensors").read_bytes()
    record["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (temporary / warmup.RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    return record


def base_rates(game: Game, policy: Any, split: Split, prompts: int = BASE_PROMPTS) -> Summary:
    """Scores and exploit rates of a policy on a game's held-out prompts."""
    from loopkit.rollouts.playing import evaluate

    setup = Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)
    return summary(setup, evaluate(setup, policy, seed=0, split=split, prompts=prompts, batch=256))


def _no_rewards(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != "rewards"}
