"""A plan that is written down before the first run: with its hash and time, and what departed from it afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import loopkit
from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import Experiment, RunSpec
from loopkit.experiment.manifest import git_revision, read_manifest
from loopkit.experiment.rundir import flat
from loopkit.records import Json
from loopkit.system.files import to_json, write_whole

FILE = "registration.json"
SCHEMA = 1
SHORT = 12
"""Digits of a hash in print."""


@dataclass(frozen=True)
class Registration:
    """What ``registration.json`` holds."""

    hash: str
    """SHA-256 of the plan, as it is written in the file."""
    plan: Mapping[str, Json]
    """``registered_at``, ``loopkit``, ``git``, ``code``, ``experiment``, ``runs`` (name -> hash), ``note``."""

    @property
    def at(self) -> str:
        return str(self.plan["registered_at"])


def digest(plan: Mapping[str, Json]) -> str:
    """SHA-256 of a plan in canonical JSON (keys sorted, no spaces)."""
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def register(out: Path, experiment: Experiment, specs: Sequence[RunSpec], note: str, now: datetime) -> Registration:
    """Write the plan into a directory that has no run yet. ``note``: what is expected, in the user's words.

    The same plan again changes nothing. Raises UsageError where another is registered, or a run was begun.
    """
    registered = {
        "experiment": experiment.model_dump(mode="json"),
        "runs": {spec.name: spec.hash() for spec in specs},
        "note": note,
    }
    if known := read(out):
        if {key: known.plan[key] for key in registered} == registered:
            return known
        raise UsageError(
            f"{out / FILE} holds another plan, registered at {known.at}. A plan is registered once: choose another "
            "--out, or run this one, and what departs from the plan is listed."
        )
    if begun := sorted(p.parent.name for p in out.glob("*/run.toml")):
        raise UsageError(
            f"{out} has runs already ({', '.join(begun[:3])}): a plan is registered before the first. "
            "Choose another --out, and seeds that no run has used."
        )
    plan: dict[str, Json] = {
        "registered_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "loopkit": loopkit.__version__,
        "git": git_revision(Path(loopkit.__file__).parent),
        "code": code(),
        **registered,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / FILE, to_json({"schema_version": SCHEMA, "hash": digest(plan), "plan": plan}))
    return Registration(digest(plan), plan)


def code() -> str:
    """SHA-256 of the core's source. The commit's hash would not do: committing the plan changes it."""
    root = Path(loopkit.__file__).parent
    files = sorted(root.rglob("*.py"))
    return hashlib.sha256(b"".join(f.relative_to(root).as_posix().encode() + f.read_bytes() for f in files)).hexdigest()


def mark(out: Path) -> dict[str, Json]:
    """What the manifest of a run that begins now keeps: the plan's and the code's hash; empty without a plan."""
    known = read(out)
    return {"registration": {"plan": known.hash, "code": code()}} if known else {}


def read(out: Path) -> Registration | None:
    """The plan registered in a directory; None if there is none. Raises RunError for a file that does not hold one."""
    file = out / FILE
    if not file.exists():
        return None
    try:
        data: Any = json.loads(file.read_bytes())
        if data["schema_version"] != SCHEMA:
            raise RunError(f"{file} has schema version {data['schema_version']!r}; this loopkit reads {SCHEMA}.")
        plan = data["plan"]
        missing = {"registered_at", "experiment", "runs", "note", "code"} - plan.keys()
        if missing or not isinstance(data["hash"], str):
            raise RunError(f"{file} lacks {', '.join(sorted(missing)) or 'its hash'}. Restore it as it was registered.")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} cannot be read ({type(error).__name__}). Restore it as it was registered.") from error
    return Registration(data["hash"], plan)


def stamp(out: Path, experiment: Mapping[str, Json], specs: Sequence[RunSpec]) -> dict[str, Json]:
    """What results say of it: "registered" or "exploratory" (``status``), and a plan's hash, time and deviations.

    ``experiment``, ``specs``: what was run.
    """
    known = read(out)
    if known is None:
        return {"status": "exploratory"}
    return {
        "status": "registered",
        "hash": known.hash,
        "registered_at": known.at,
        "note": known.plan["note"],
        "deviations": deviations(out, known, experiment, specs),
    }


def deviations(out: Path, known: Registration, experiment: Mapping[str, Json], specs: Sequence[RunSpec]) -> list[str]:
    """How the runs depart from their plan, a sentence each; empty if they do not."""
    out_: list[str] = []
    if digest(known.plan) != known.hash:
        out_.append(f"the plan was edited after it was registered: its hash is {digest(known.plan)[:SHORT]} now")
    planned, ran = flat(known.plan["experiment"]), flat(dict(experiment))
    out_ += [
        f"{key}: {planned.get(key)!r} was registered, {ran.get(key)!r} was run"
        for key in sorted({*planned, *ran})
        if planned.get(key) != ran.get(key)
    ]
    hashes = {spec.name: spec.hash() for spec in specs}
    lacking = [name for name in known.plan["runs"] if name not in hashes]
    further = [name for name in hashes if name not in known.plan["runs"]]
    changed = [name for name, value in hashes.items() if known.plan["runs"].get(name, value) != value]
    marks = {spec.name: read_manifest(out / spec.name).get("registration") or {} for spec in specs}
    unaware = [name for name, mark in marks.items() if mark.get("plan") != known.hash]
    other = [name for name, mark in marks.items() if mark.get("code", known.plan["code"]) != known.plan["code"]]
    for names, deviation in (
        (lacking, "registered and not run"),
        (further, "run and not registered"),
        (changed, "run with other settings than were registered, by defaults of another version"),
        (unaware, "begun without this plan in its place"),
        (other, "made with other code of loopkit than when the plan was registered"),
    ):
        if names:
            out_.append(
                f"{deviation}: {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            )
    return out_


def told(found: Mapping[str, Json]) -> str:
    """A stamp in a sentence."""
    if found["status"] != "registered":
        return "Exploratory: no plan was registered before the first run."
    text = f"Registered at {found['registered_at']} before the first run, plan {found['hash'][:SHORT]}; "
    departed = found["deviations"]
    return text + ("no deviation." if not departed else f"deviations: {'; '.join(departed)}.")
