"""A reward is probed before it is trained on: what that found is said first, and the form that is paid is shown.

A policy that is warmed up on bare answers never earns where answers are paid in tags only; so what the probe learned of
the form goes into the game's options, where the user has said nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopkit.errors import LoopkitError, UsageError
from loopkit.experiment.config import Experiment
from loopkit.front.tables import wrapped
from loopkit.registry import plugins as registry
from loopkit.rewards.reward import parts
from loopkit.rewards.source import fingerprint
from loopkit.system.files import cache_dir, write_whole

if TYPE_CHECKING:
    from loopkit.probing import Probe

FLAG = "reward"
"""Of the game whose option names a user's own reward."""
RECORD = "probe.json"
"""The probe, in an experiment's directory."""
SEARCH = 1000
"""Replies of the search before a run: training is to search, too."""


@dataclass(frozen=True)
class Before:
    """What a probe found before a run; ``refused`` says why there was none, which keeps nobody from training."""

    probe: Probe | None
    refused: str = ""

    def text(self) -> str:
        """As it is printed before training."""
        from loopkit.probing.card import brief

        if self.probe is None:
            return wrapped(f"Probe, before training: not made. {self.refused}")
        return f"Probe, before training\n{brief(self.probe)}"


def probed(options: Mapping[str, Any], data: str | None, search: int | None = None) -> Probe:
    """A probe of the game's reward, with what its options say of rows. Raises UsageError as the probe does."""
    from loopkit.probing import Settings, run

    settings = Settings(
        options[FLAG], data, options.get("trusted", ""), options.get("reference", ""),
        columns=options.get("columns", {}),
    )  # fmt: skip
    return run(settings if search is None else replace(settings, search=search))


def before(experiment: Experiment) -> tuple[Experiment, Before | None]:
    """The experiment with the form that is paid, and what its probe found; None of a game that takes no reward.

    The same reward on the same rows is probed once: what was found is kept in the cache.
    """
    options = experiment.game_options
    if FLAG not in options or experiment.game != registry.load().with_flag(FLAG):
        return experiment, None
    try:
        probe = _kept(options)
    except UsageError as error:
        return experiment, Before(None, str(error))
    shown: dict[str, Any] = {}
    if probe.form and probe.form.template != "{}":
        shown["form"] = probe.form.template
    if probe.form and probe.form.worked:
        shown["whole"] = True
    return experiment.model_copy(update={"game_options": {**shown, **options}}), Before(probe)


def _kept(options: Mapping[str, Any]) -> Probe:
    """The probe from the cache; else it is made and kept."""
    from loopkit.probing.records import read

    file = cache_dir() / "probes" / f"{_key(options)}.json"
    try:
        return read(json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):  # none, or of another version
        probe = probed(options, options.get("data"), SEARCH)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, probe.card(markdown=False).encode())
    return probe


def _key(options: Mapping[str, Any]) -> str:
    """What a probe depends on: the rewards' code, the rows, the options, and the probe's own code."""
    import loopkit.probing as own

    code = [p.read_bytes() for p in sorted(Path(own.__path__[0]).glob("*.py"))]
    data = Path(str(options.get("data") or ""))
    rows = hashlib.sha256(data.read_bytes()).hexdigest() if data.is_file() else ""
    state = []
    for name in (FLAG, "trusted"):
        for _, named in parts(options[name]) if options.get(name) else ():
            try:
                state.append(fingerprint(named))
            except LoopkitError:
                state.append(named)  # a set of a library: its name says all
    asked = {k: v for k, v in options.items() if k in (FLAG, "trusted", "reference", "columns", "data")}
    text = json.dumps([asked, rows, state], sort_keys=True, default=str).encode()
    return hashlib.sha256(b"".join([text, *code])).hexdigest()[:16]
