"""The directory of an experiment or a study: made, claimed by its settings, and refused if it belongs to another."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from loopkit.errors import UsageError
from loopkit.experiment.config import Experiment
from loopkit.experiment.registration import FILE as REGISTERED
from loopkit.experiment.rundir import check_same
from loopkit.records import Json
from loopkit.system.files import LOCK, TEMPORARY, write_whole


def make(out: Path) -> None:
    """Make the experiment's directory; one that holds something else is refused before anything is written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}. Choose another --out.") from error
    if (out / "results.json").exists():  # finished: it is only printed
        return
    if (out / "experiment.toml").exists() or (out / REGISTERED).exists() or any(out.glob("*/run.toml")):
        return _writable(out)
    if any(p.name != LOCK and not p.name.startswith(TEMPORARY) for p in out.iterdir()):  # else: killed before it began
        raise UsageError(f"{out} exists and is not an experiment of loopkit's. Choose another --out.")
    _writable(out)


def _writable(out: Path) -> None:
    if not os.access(out, os.W_OK):
        raise UsageError(f"{out} cannot be written: it is read-only. Make it writable, or choose another --out.")


def claim(out: Path, experiment: Experiment) -> None:
    """Write experiment.toml, or refuse a directory of another experiment with the difference."""
    cure = (
        "Restore it, or remove it and run the same command: it is made anew, and every run still says what it was "
        "made with."
    )
    _claim(out, "experiment.toml", experiment.model_dump(mode="json"), cure)


def claim_study(out: Path, asked: Mapping[str, Json]) -> None:
    """Make the directory and write study.toml, or refuse a directory of another study with the difference."""
    claim_as(out, "study.toml", asked)


def claim_as(out: Path, name: str, asked: Mapping[str, Json]) -> None:
    """Make the directory and write what was asked for into ``name``, or refuse another one's with the difference."""
    if not (out / name).exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror}. Choose another --out.") from error
    _claim(out, name, dict(asked), "Remove it: it is made anew.")


def _claim(out: Path, name: str, asked: dict[str, Json], cure: str) -> None:
    file = out / name
    if not file.exists():
        write_whole(file, tomli_w.dumps(asked).encode())
        return
    try:
        old = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} cannot be read: {error}. {cure}") from error
    check_same(out, old, asked)
