"""The arms of one comparison must differ in nothing but what is compared: else they are refused, with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from loopkit.errors import UsageError
from loopkit.experiment.config import root_model
from loopkit.experiment.manifest import read_manifest
from loopkit.records import Json
from loopkit.running.parallel import Job

BUDGET = ("steps", "prompts_per_step", "group_size", "max_tokens")
EVALUATION = ("eval_split", "eval_prompts", "eval_draw", "condition")


def described(job: Job) -> dict[str, Json]:
    """What the runs of a comparison must share."""
    spec, manifest = job.spec, read_manifest(job.directory)
    run = spec.run.model_dump(mode="json")
    model = root_model(spec.model)
    return {
        "game": spec.game,
        "game version": spec.game_version,
        "game options": spec.game_options,
        "model": model,
        "weights of the start policy": manifest.get("start_policy_sha256") if model == spec.model else None,
        "trainer": spec.trainer,
        "trainer options": spec.trainer_options,
        "budget": {k: run[k] for k in BUDGET},
        "evaluation": {k: run[k] for k in EVALUATION},
        "sandbox": manifest.get("sandbox"),
        "loopkit": manifest.get("loopkit"),
    }


def require_comparable(jobs: Sequence[Job], but: Sequence[str] = ()) -> None:
    """Raise UsageError where two runs of one comparison differ in more than ``but`` (keys of ``described``).

    Hardware may differ: it is recorded, and shown beside the tables.
    """
    if not jobs:
        return
    first = described(jobs[0])
    for job in jobs[1:]:
        other = described(job)
        for key, value in first.items():
            if key in but or value is None or other[key] is None or other[key] == value:
                continue
            raise UsageError(
                f"{jobs[0].directory} and {job.directory} cannot be compared: their {key} differ "
                f"({_short(value)} and {_short(other[key])}). Remove the older run and repeat the command, or choose "
                "another --out."
            )


def _short(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
