"""What a game says of itself: declarations, options, tasks and secrets."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from pydantic import BaseModel

from loopkit.checks.report import RULES, Complaints
from loopkit.checks.specimens import JSON_CURE, TEXT_CURE, is_json, is_text, sample, strings
from loopkit.contracts import SPLITS, ExploitDetector, Game, RewardChannel
from loopkit.experiment.config import RunSettings
from loopkit.records import Message, Rollout
from loopkit.rollouts.scoring import CORE_CLUES, PAID

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
STRICT = {"extra": "forbid", "frozen": True, "strict": True}


def declared(game: Game, channels: Mapping[str, RewardChannel], detectors: Mapping[str, ExploitDetector]) -> Complaints:
    if not isinstance(getattr(game, "version", None), (int, str)):
        yield "The game has no version. Set `version = 1` on the class, or leave it out: then it is a hash of the code."
    if getattr(game, "axis", None) not in ("specification", "robustness"):
        yield "The game's axis is unknown. Set `axis` to 'specification' or 'robustness'."
    if both := sorted(game.signals.keys() & game.clues.keys()):
        yield f"{both} are signals and clues at once: what pays and what detects must not mix. Rename or drop one."
    if taken := sorted(CORE_CLUES & game.clues.keys()):
        yield f"The clues {taken} are the core's own. Rename them; 'asked' and 'said' are there for any that ask."
    if taken := sorted(({PAID, "placebo"} & game.channels.keys()) | ({PAID} & channels.keys())):
        yield f"The channels {taken} are the core's own columns. Rename them."
    if odd := sorted(n for n in (*channels, *detectors) if not NAME.fullmatch(n)):
        yield f"{odd} cannot be named on a command line. Rename them: letters, digits and . _ -"
    if "loophole" not in channels:
        yield f"There is no channel 'loophole', only {sorted(channels)}. Add the one whose flaw the game is about."
    if not detectors:
        yield "There is no detector. Add at least one to `detectors`; the first gives the headline exploit rate."
    elif (onset := game.reporting.onset_detector) is not None and onset not in detectors:
        yield f"reporting.onset_detector {onset!r} is not a detector. Name one of {sorted(detectors)}, or None."
    for name in game.tiny.warmup_options:
        if not isinstance(getattr(game.options, name, None), int | float):
            yield f"tiny.warmup_options has {name!r}, which is not a numeric option. Name an option that is a number."
    for key, margin in game.margins.items():
        if key not in ("exploit", "task", "observed") or not 0 < margin < 1:
            yield f"margins has {key!r}: {margin}. Name exploit, task or observed, and a share between 0 and 1."
    for key in game.tiny.settings:
        section, _, option = key.partition(".")
        if section not in ("run", "trainer") or (section == "run" and option not in RunSettings.model_fields):
            yield f"tiny.settings has {key!r}, which no run knows. Name run.<option> or trainer.<option>."
        elif section == "run":
            try:
                RunSettings.model_validate({option: game.tiny.settings[key]})
            except ValueError as error:
                yield f"tiny.settings has an impossible {key!r} ({first_line(error)}). Give it a value it can have."
    ranges = {f"signal {k!r}": v for k, v in game.signals.items()}
    for who, (low, high) in {**ranges, **{f"channel {k!r}": c.range for k, c in channels.items()}}.items():
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            yield f"The range of {who} is [{low}, {high}]. Declare two finite numbers, the lower first."
    for name, channel in channels.items():
        if unknown := sorted(channel.reads - game.signals.keys()):
            yield f"Channel {name!r} reads undeclared signals {unknown}. Declare them in `signals`, or don't read them."
    for name, detector in detectors.items():
        if unknown := sorted(detector.reads - game.clues.keys() - CORE_CLUES):
            yield f"Detector {name!r} reads undeclared clues {unknown}. Declare them in `clues`, or don't read them."
    return f"{len(game.signals)} signals, {len(game.clues)} clues, {len(channels)} channels, {len(detectors)} detectors"


def options(game: Game, channels: Mapping[str, RewardChannel], detectors: Mapping[str, ExploitDetector]) -> Complaints:
    if not is_model(game.Options):
        yield "The game's Options is not a pydantic model. Derive it from loopkit.Options."
        return ""
    yield from strict("The game's Options", game.Options)
    yield from _kept("The game's options", game.options)
    for name, part in (*channels.items(), *detectors.items()):
        yield from strict(f"{type(part).__name__} ({name!r})", type(part))
        yield from _kept(f"The options of {name!r}", part)
    return f"{1 + len(channels) + len(detectors)} models"


def is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def strict(who: str, model: type[BaseModel]) -> Iterator[str]:
    """Complains of a model that takes misspelt names, changes or values of other types."""
    loose = [f"{key}={model.model_config.get(key)!r}" for key in STRICT if model.model_config.get(key) != STRICT[key]]
    if loose:
        yield f"{who} has {', '.join(loose)}: a misspelt or changed option would pass. Derive it from loopkit.Options."


def _kept(who: str, model: object) -> Iterator[str]:
    """Options go into run.toml, and a run makes its game from what it reads there."""
    if not isinstance(model, BaseModel):
        yield f"{who} are a {type(model).__name__}. Pass what Options makes to Game.__init__(options, judges)."
        return
    try:
        same = type(model).model_validate(model.model_dump(mode="json")) == model
    except ValueError as error:
        yield f"{who} cannot be read back from run.toml ({first_line(error)}). {RULES['options'].cure}"
    else:
        if not same:
            yield f"{who} come back from run.toml as others. {RULES['options'].cure}"


def first_line(error: ValueError) -> str:
    """The first fault of a ValidationError, in one line."""
    return " ".join(str(error).split("[type=")[0].split())


def tasks(game: Game) -> Complaints:
    by_split = {split: list(game.tasks(split)) for split in SPLITS}
    for split, those in by_split.items():
        ids, again = [t.id for t in those], list(game.tasks(split))
        if not those:
            yield f"Split {split!r} has no tasks. Give it some: all of {', '.join(SPLITS)} are used."
        if doubled := [i for i, n in Counter(ids).items() if n > 1]:
            yield f"Split {split!r} has several tasks of one id: {doubled[:3]}. Make ids unique."
        if ids != [t.id for t in again]:
            yield f"Split {split!r} has other ids, or another order, when asked again. Sort, and seed any draw by key."
        elif those != again:
            yield f"Split {split!r} has tasks of the same ids but other contents when asked again. Seed draws by key."
        for task in those:
            if not task.messages:
                yield f"Task {task.id!r} has no messages. Give it at least one to answer."
            if not all(map(is_text, (task.id, task.cluster, *(m.content for m in task.messages)))):
                yield f"Task {task.id!r} has an id or message that no file can hold. {TEXT_CURE}"
        for task in sample(those, 24, split):
            states = {f"state of message {i}": m.state for i, m in enumerate(task.messages)}
            for field, value in {"public": task.public, "secret": task.secret, **states}.items():
                if not is_json(value):
                    yield f"The {field} of task {task.id!r} does not survive JSON. {JSON_CURE}"
    for one, other in combinations(SPLITS, 2):
        prompts = {tuple(m.content for m in t.messages): t.id for t in by_split[one]}
        if shared := [t.id for t in by_split[other] if tuple(m.content for m in t.messages) in prompts]:
            yield f"Splits {one!r} and {other!r} share prompts (task {shared[0]!r}). Keep each prompt in one split."
        if crossing := sorted({t.cluster for t in by_split[one]} & {t.cluster for t in by_split[other]}):
            yield f"Splits {one!r} and {other!r} share clusters {crossing[:3]}. Keep a cluster whole, in one split."
    return ", ".join(f"{len(those)} in {split}" for split, those in by_split.items())


def secrets(game: Game, rollouts: Sequence[Rollout]) -> Complaints:
    """Seeks, word for word, the strings in ``secret`` of 6 or more characters that are not leaves of ``public``: in the
    ids and messages of every task, and in the replies to what was played.

    Numbers and short strings occur by chance, and are not sought; nor is what the policy itself said before a reply.
    """
    every = [Rollout(f"{split}/{task.id}/-", task) for split in SPLITS for task in game.tasks(split)]
    sought = 0
    for r in (*every, *rollouts):
        hidden = {s for s in strings(r.task.secret) if len(s) >= 6} - set(strings(r.task.public))
        sought += len(hidden) if not r.steps else 0
        shown = [("its id or opening messages", [r.task.id, *(m.content for m in r.task.messages)], "")]
        for n, (_, reply) in enumerate(r.steps):
            if isinstance(reply, Message):
                shown.append((f"the reply to {r.words[: n + 1]!r:.60}", [reply.content], "\n".join(r.words[: n + 1])))
        for where, texts, words in shown:
            if leaked := [s for s in hidden if s not in words and any(s in text for text in texts)]:
                yield f"Task {r.task.id!r} shows its secret {min(leaked)!r:.60} in {where}. {RULES['secrets'].cure}"
    return f"{sought} secrets of {len(every)} tasks, {len(rollouts)} rollouts"
