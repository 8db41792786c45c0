"""What a run was made with: versions, plugin origins, git revision, the start policy's hash."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import loopkit
from loopkit.contracts import PolicyRef
from loopkit.errors import RunError, UsageError
from loopkit.experiment.arms import built
from loopkit.experiment.config import TRAINED, RunSpec
from loopkit.experiment.rundir import read_spec
from loopkit.records import Json
from loopkit.registry.plugins import Plugins
from loopkit.sandbox import shared

PACKAGES = (
    "torch", "transformers", "tokenizers", "numpy", "scipy", "pyarrow", "pydantic", "pluggy",
    "rouge-score", "nltk", "rapidfuzz", "sacrebleu",
)  # fmt: skip
"""What may decide a number, scorers included."""
SOURCE = "source.json"
"""In a model's directory that loopkit made of a file: that file's name, SHA-256, quantisation."""


def manifest(spec: RunSpec, plugins: Plugins, start: PolicyRef, device: str = "") -> dict[str, Json]:
    """Deterministic for the same installation, so that a resumed run has the same one. No times, no host names.

    ``device``: what the run is made on; kept where it is known.
    """
    used = {
        "game": plugins.get("games", spec.game).origin,
        "trainer": plugins.get("trainers", spec.trainer).origin,
        **{
            f"channel {n}": e.origin
            for n, e in plugins.channels(spec.game).items()
            if n in (spec.channel, *spec.shadow)
        },
        **{f"detector {n}": e.origin for n, e in plugins.detectors(spec.game).items() if n in spec.detectors},
        **{f"intervention {i.name}": plugins.get("interventions", i.name).origin for i in spec.interventions},
    }
    return {
        "loopkit": loopkit.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "versions": versions(),
        "plugins": {name: str(origin) for name, origin in used.items()},
        "git": git_revision(Path(loopkit.__file__).parent),
        "start_policy_sha256": policy_hash(start),
        **({"start_policy_source": _source(start)} if (Path(start.path) / SOURCE).is_file() else {}),
        **({"precision": start.dtype} if start.dtype != "float32" else {}),
        **({"judges": _judges(spec, plugins)} if spec.judges else {}),
        **({"interventions": _interventions(spec, plugins)} if spec.interventions else {}),
        **({"device": device} if device else {}),
        **({"started_from": _parent(spec.model.partition(":")[2])} if spec.model.partition(":")[0] == TRAINED else {}),
        **({"learned_from": _parent(spec.rollouts.run)} if spec.rollouts else {}),
        **({"sandbox": shared().describe()} if plugins.get("games", spec.game).load().programs else {}),
    }


def _source(start: PolicyRef) -> Json:
    """Which file a converted start policy was made of."""
    return json.loads((Path(start.path) / SOURCE).read_text(encoding="utf-8"))


def _judges(spec: RunSpec, plugins: Plugins) -> dict[str, Json]:
    """What each judge is asked with, and its weights where they are here. A server's are not seen, only its name."""
    roles = plugins.game(spec.game).judge_roles
    return {
        name: {
            "model": model,
            "question_sha256": hashlib.sha256(
                json.dumps([roles[name].instructions, roles[name].schema], sort_keys=True).encode()
            ).hexdigest(),
            "weights_sha256": policy_hash(PolicyRef(model.removeprefix("tiny:"))),
            "openai": _version("openai") if model.startswith("openai:") else None,
        }
        for name, model in spec.judges.items()
    }


def _interventions(spec: RunSpec, plugins: Plugins) -> dict[str, Json]:
    """What each one changes, and the detector whose flags it is given: where what detects also pays, it says so."""
    return {
        name: {"changes": sorted(one.changes()), "watches": one.watched or None}
        for name, one in built(plugins, spec).items()
    }


def _parent(path: str) -> dict[str, Json]:
    """The run that another one builds on: where it lies, and the hash of its spec."""
    run = next((d for d in (Path(path), Path(path).parent.parent) if (d / "run.toml").is_file()), Path(path))
    return {"path": path, "spec_hash": read_spec(run).hash()}


def check_start(directory: Path, current: Mapping[str, Json]) -> None:
    """Raise UsageError if a run would continue from weights other than those its manifest records.

    The embedded policy's weights, or a run that this one starts from, may have been made anew since.
    """
    recorded = read_manifest(directory).get("start_policy_sha256")
    now = current.get("start_policy_sha256")
    if recorded and now and recorded != now:
        raise UsageError(
            f"{directory} was begun from a start policy with weights {recorded[:12]}, and {now[:12]} lie there now: "
            "they were made anew since. Remove that run, or choose another --out."
        )


def read_manifest(directory: Path) -> dict[str, Json]:
    """A run's manifest, {} where it has none yet. Raises RunError naming one that cannot be read."""
    file = directory / "manifest.json"
    if not file.exists():
        return {}
    try:
        manifest: dict[str, Json] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} cannot be read ({type(error).__name__}). Restore it, or remove the run.") from error
    return manifest


def check_sandbox(directory: Path, current: Mapping[str, Json]) -> None:
    """Raise UsageError if a run would continue in a sandbox other than the one its manifest records."""
    recorded = read_manifest(directory).get("sandbox")
    if recorded != current.get("sandbox"):
        raise UsageError(
            f"{directory} was begun with the sandbox {recorded}, and would go on with {current.get('sandbox')}. Pass "
            "--sandbox with the recorded tier, or choose another --out."
        )


def versions() -> dict[str, str | None]:
    """Of the packages that may decide a number; None of one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_revision(directory: Path) -> str | None:
    """The checkout's revision, "+dirty" if it has changes; None outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", "__init__.py")  # not some other repository around site-packages
    revision = git("rev-parse", "HEAD") if tracked else None
    return revision and revision + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")


def policy_hash(ref: PolicyRef) -> str | None:
    """SHA-256 over a local policy's weight files; None for a hub id."""
    digest = hashlib.sha256()
    files = [
        p
        for d in (ref.path, ref.adapter)
        if d and Path(d).is_dir()
        for p in sorted(Path(d).iterdir())
        if p.suffix in (".safetensors", ".bin", ".gguf") and not p.name.startswith("optimizer")
    ]
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest() if files else None
