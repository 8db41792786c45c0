"""A card's training: what finished experiments showed, from their directories or files of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from loopkit.errors import UsageError
from loopkit.evidence.claims import OnLoophole
from loopkit.evidence.schema import ExperimentResults, parse
from loopkit.experiment.config import BASE
from loopkit.experiment.registration import told
from loopkit.front.answers import answer
from loopkit.front.reading import finished_results
from loopkit.records import Json
from loopkit.report.cards import Arm, NotMeasured, Share, Training

NONE = "no finished experiment was given. Train on it (`loopkit run`), and add --results DIRECTORY."


def training(results: Sequence[str | Path], game: str, reward: str | None) -> tuple[Training, ...] | NotMeasured:
    """What each experiment showed. Raises UsageError for one of another game, or of another reward."""
    made = []
    for path in map(Path, results):
        found = read(path)
        if found.game != game:
            raise UsageError(f"{path} is an experiment on {found.game}, and the card is of {game}. Leave it out.")
        if reward is not None and (other := _reward(path)) is not None and other != reward:
            raise UsageError(f"{path} was trained on the reward {other}, and the card is of {reward}. Leave it out.")
        made.append(of(found, path.name if path.suffix == ".json" else str(path)))
    return tuple(made) or NotMeasured(not_measured=NONE)


def read(path: Path) -> ExperimentResults:
    """An experiment's results: of its directory, its ``results.json``, or a record of ``results/``.

    Raises UsageError for anything else.
    """
    if path.is_dir():
        return finished_results(path)
    try:
        data: Json = json.loads(path.read_bytes())
        found = parse(data.get("results", data))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path} holds no results ({type(error).__name__}: {str(error)[:80]}). Give the --out of a `loopkit run`, "
            "or its results.json."
        ) from error
    if not isinstance(found, ExperimentResults):
        raise UsageError(f"{path} is a study's. Give the results.json of one of its experiments.")
    return found


def of(found: ExperimentResults, source: str) -> Training:
    """One experiment, as a card has it."""
    said = answer(found)
    arms = {
        name: Arm(
            exploit=found.mean(name, found.headline), task=found.mean(name, "task"),
            observed=found.mean(name, "observed"), found=None if name == BASE else _found(found, name),
        )
        for name in found.arm_names
    }  # fmt: skip
    return Training(
        source=source, model=found.model, trainer=found.trainer, verdict=said.name, sentence=str(said.sentence),
        seeds=len(found.seeds), prompts=min(run.n for run in found.runs), registered=told(found.registration),
        arms=arms,
        smallest_visible=dict(found.verdict.smallest_visible) if isinstance(found.verdict, OnLoophole) else {},
    )  # fmt: skip


def _found(found: ExperimentResults, arm: str) -> Share | None:
    seen = found.discovered.get(arm)
    if seen is None:
        return None
    return Share(k=round(seen.value * seen.n), n=seen.n, value=seen.value, low=seen.low, high=seen.high)


def _reward(path: Path) -> str | None:
    """The reward that an experiment in a directory was asked to train on; None where that cannot be told."""
    import tomllib

    file = path / "experiment.toml"
    if not file.is_file():
        return None
    named = tomllib.loads(file.read_text(encoding="utf-8")).get("game_options", {}).get("reward")
    return str(named) if named else None
