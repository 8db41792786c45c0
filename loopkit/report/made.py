"""What an experiment was made with: the command that asks for it again, options, versions, plugins, tuning log."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from loopkit.errors import LoopkitError
from loopkit.experiment.config import Experiment, RunSpec, parse_set, read_experiment
from loopkit.experiment.digests import AS_WRITTEN
from loopkit.experiment.registration import told
from loopkit.records import Json
from loopkit.report.gather import ExperimentData


def made(e: ExperimentData) -> dict[str, Any]:
    """Command, plugins, options, versions, tuning log, as the template needs them."""
    spec = e.spec
    manifests: dict[str, list[str]] = {}
    for r in e.runs:
        if r.manifest:
            known = {k: v for k, v in r.manifest.items() if k not in ("spec_hash", "plugins")}
            manifests.setdefault(json.dumps(known, sort_keys=True), []).append(r.name)
    origins = dict.fromkeys(
        f"{part}: {origin}" for r in e.runs for part, origin in r.manifest.get("plugins", {}).items()
    )
    experiment = e.asked
    set_keys = {key for key, _ in _settings(experiment)} if experiment else set()
    options = [
        [f"{section}.{k}", str(v), "asked for" if f"{section}.{k}" in set_keys else ""]
        for section, table in (
            ("run", spec.run.model_dump()),
            ("trainer", spec.trainer_options),
            ("game", spec.game_options),
        )
        for k, v in table.items()
    ]
    arms = {r.spec.arm: _arm(r.spec) for r in e.runs if r.trained}
    git = next((r.manifest.get("git") for r in e.runs if r.manifest), None)
    version = next((r.manifest.get("loopkit") for r in e.runs if r.manifest), "?")
    return {
        "registered": told(e.results.registration if e.results else {"status": "exploratory"}),
        "command": command(e), "versions": [(_flat(json.loads(m)), names) for m, names in manifests.items()],
        "origins": list(origins), "options": options, "arms": arms, "tuning": e.tuning, "git": git, "version": version,
        "hashes": [[r.name, r.manifest.get("spec_hash", "-")] for r in e.runs],
        "files": _files(e),
        "python": sorted({str(r.manifest.get("python")) for r in e.runs if r.manifest}),
    }  # fmt: skip


def _arm(spec: RunSpec) -> str:
    """What an arm pays, and what it does besides."""
    parts = [f"{spec.channel} {json.dumps(spec.channel_options)}"]
    return " + ".join([*parts, *(f"{i.name} {json.dumps(i.options)}" for i in spec.interventions)])


def _files(e: ExperimentData) -> list[tuple[str, str]]:
    """When digests of the runs' files were taken -> the runs, where that was not as the files were written."""
    by_state: dict[str, list[str]] = {}
    for run in e.runs:
        if run.files not in ("", AS_WRITTEN):
            by_state.setdefault(run.files, []).append(run.name)
    return [(how, ", ".join(names)) for how, names in by_state.items()]


def _flat(manifest: Mapping[str, Json]) -> list[tuple[str, str]]:
    out = []
    for key, value in manifest.items():
        if isinstance(value, Mapping):
            out += [(f"{key}: {k}", str(v)) for k, v in value.items()]
        else:
            out.append((key, "-" if value is None else str(value)))
    return out


def command(e: ExperimentData) -> str | None:
    """The `loopkit run` that asks for the same experiment, proven by reading it back; else one from its TOML file."""
    experiment = e.asked
    if experiment is None:
        return None
    settings = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in _settings(experiment)
    ]
    words = ["loopkit", "run", "--game", experiment.game, "--trainer", experiment.trainer, "--model", experiment.model]
    words += ["--arms", ",".join(experiment.arms), "--seeds", experiment.seeds]
    if _reads_back(experiment, settings):
        words += [w for s in settings for w in ("--set", s)]
    else:
        words = ["loopkit", "run", "--config", str(e.path / "experiment.toml")]
    return shlex.join([*words, "--out", str(e.path)])


def _settings(experiment: Experiment) -> list[tuple[str, Json]]:
    """What ``--set`` would say."""
    tables = {
        "game": experiment.game_options,
        "trainer": experiment.trainer_options,
        "run": experiment.run,
        "rollouts": experiment.rollouts,
    }
    tables |= {f"arms.{arm}": table for arm, table in experiment.arms.items()}
    return [(f"{section}.{k}", v) for section, table in tables.items() for k, v in table.items()]


def _reads_back(experiment: Experiment, settings: Sequence[str]) -> bool:
    try:
        again = read_experiment(None, settings=parse_set(settings), arms=list(experiment.arms), game=experiment.game,
                               trainer=experiment.trainer, model=experiment.model, seeds=experiment.seeds)  # fmt: skip
    except LoopkitError:
        return False
    return again == experiment
