"""What an arm is: a channel that pays, and interventions beside it. From its table to parts, every name checked.

``loophole+penalty`` pays ``loophole`` and does ``penalty``. Under another name the table says so:
``[arms.strict] channel = "loophole"``, ``interventions = ["penalty"]``, and ``[arms.strict.penalty] weight = 3.0``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopkit.contracts import Game, Trainer
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import Intervened, RunSpec, validate
from loopkit.interventions import Intervention, Monitor
from loopkit.records import Json

if TYPE_CHECKING:
    from loopkit.registry.plugins import Plugins

AND = "+"
KEYS = ("channel", "interventions")
PLAIN = ("loophole", "control", "placebo")
"""Arms that others are compared with: what they are called is what they are."""


@dataclass(frozen=True)
class Arm:
    """An arm as it was written: nothing of it is looked up yet."""

    name: str
    channel: str
    options: Mapping[str, Json]
    """The channel's."""
    interventions: Mapping[str, Mapping[str, Json]]
    """Name -> its options, in the order in which they are done."""


def read_arm(name: str, table: Mapping[str, Json]) -> Arm:
    """The arm of a name and its table. Raises UsageError of one that says two things at once."""
    channel, *named = name.split(AND)
    chosen = table.get("interventions", named)
    if isinstance(chosen, str):
        chosen = [part.strip() for part in chosen.split(AND)]
    if not isinstance(chosen, Sequence) or not all(isinstance(part, str) and part for part in chosen):
        raise UsageError(f'arms.{name}.interventions is {chosen!r}. Write names: interventions = ["penalty", "kl"].')
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"arms.{name} names an intervention twice. Name each once.")
    if chosen and name in PLAIN:
        raise UsageError(
            f"arms.{name} has interventions, and {name!r} is what others are compared with. Name the arm otherwise: "
            f"--arms {name},{name}{AND}{chosen[0]}."
        )
    parts: dict[str, Mapping[str, Json]] = {}
    for part in chosen:
        options = table.get(part, {})
        if not isinstance(options, Mapping):
            raise UsageError(f"arms.{name}.{part} = {options!r}: name an option, as in arms.{name}.{part}.OPTION=1.")
        parts[part] = options
    rest = {k: v for k, v in table.items() if k not in (*KEYS, *parts)}
    return Arm(name, str(table.get("channel", channel)), rest, parts)


def watched(arms: Sequence[Arm], plugins: Plugins) -> list[str]:
    """The detectors that the arms' interventions watch."""
    parts = [make(plugins, n, o, f"arms.{arm.name}.{n}") for arm in arms for n, o in arm.interventions.items()]
    return sorted({part.watched for part in parts} - {""})


def make(plugins: Plugins, name: str, options: Mapping[str, Json], where: str) -> Intervention:
    """An intervention with its options. Raises UsageError naming what it does not know."""
    entry = plugins.get("interventions", name)
    for option in options:
        if option in entry.preset:
            raise UsageError(f"{where}.{option} is what makes {name!r} that preset, and cannot be set. Leave it out.")
    made: Intervention = validate(entry.load(), {**options, **entry.preset}, where)
    return made


def interventions_of(
    arm: Arm,
    plugins: Plugins,
    game: Game,
    detectors: Sequence[str],
    offered: Sequence[str],
    trainer_name: str,
    options: Mapping[str, Json],
) -> list[Intervened]:
    """What a spec records of an arm's interventions, defaults filled in.

    ``detectors``: those that look besides the game's own, of all that are ``offered``; ``options``: the trainer's.
    Raises UsageError where the trainer cannot do one, or where a monitor would be the detector of the exploit rate.
    """
    out = []
    for name, written in arm.interventions.items():
        where = f"arms.{arm.name}.{name}"
        one = make(plugins, name, written, where)
        _require_watchable(one, game, detectors, offered, where)
        _require_trainer(one, plugins.trainer(trainer_name), trainer_name, where)
        changed_options(plugins, trainer_name, {**options}, {name: one}, where)
        out.append(Intervened(name=name, options=one.model_dump(mode="json")))
    return out


def _require_watchable(
    one: Intervention, game: Game, others: Sequence[str], offered: Sequence[str], where: str
) -> None:
    if not one.watched:
        return
    if one.watched not in (*game.detectors, *others):
        known = (*game.detectors, *offered)
        raise UsageError(f"{where}.monitor: there is no detector {one.watched!r}. {nearest(one.watched, known)}")
    headline = next(iter(game.detectors))
    measures = {headline, game.reporting.onset_detector or headline}
    if one.watched in measures and not (isinstance(one, Monitor) and one.oracle):
        raise UsageError(
            f"{where}.monitor: {one.watched!r} measures the exploit rate, and what pays must not be what measures. "
            f"Name another (words, or one of `loopkit list detectors`), or say that it is a bound: {where}.oracle=true."
        )


def _require_trainer(one: Intervention, trainer: type[Trainer], name: str, where: str) -> None:
    lacks = ""
    if trainer.source != "referee":
        lacks = "learns from recorded rollouts"
    elif "keep" in one.changes() and not trainer.budgets:
        lacks = "samples by an engine of its own, which learns from every rollout"
    elif "stop" in one.changes() and not trainer.stops:
        lacks = "makes every step it was given"
    if lacks:
        raise UsageError(f"{where}: trainer {name!r} {lacks}. Leave that out, or choose another (grpo can).")


def built(plugins: Plugins, spec: RunSpec) -> dict[str, Intervention]:
    """A spec's interventions by name."""
    return {i.name: make(plugins, i.name, _free(plugins, i), f"arms.{spec.arm}.{i.name}") for i in spec.interventions}


def _free(plugins: Plugins, one: Intervened) -> dict[str, Json]:
    """Its options but for what a preset fixes."""
    fixed = plugins.get("interventions", one.name).preset
    return {k: v for k, v in one.options.items() if k not in fixed}


def changed_options(
    plugins: Plugins, trainer: str, options: Mapping[str, Json], parts: Mapping[str, Intervention], where: str
) -> Any:
    """The trainer's options as interventions leave them, validated. Raises UsageError where a preset fixes one."""
    entry, changed = plugins.get("trainers", trainer), dict(options)
    for name, one in parts.items():
        changes = one.trainer(changed)
        if fixed := sorted(changes.keys() & entry.preset.keys()):
            raise UsageError(f"{where}: {name} changes {', '.join(fixed)}, which trainer {trainer!r} fixes.")
        changed |= changes
    return validate(plugins.trainer(trainer).Options, changed, f"{where}: trainer {trainer}")
