"""Proves that a game keeps its contract, and that its specimens are told apart."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from statistics import fmean as mean

from pydantic import BaseModel

from loopkit import seeding
from loopkit.channels import Placebo
from loopkit.checks.report import RULES, Book, Complaints, Report, blame
from loopkit.checks.specimens import (
    JSON_CURE,
    KINDS,
    Specimen,
    converse,
    garbage_texts,
    is_json,
    sample,
    specimens_of,
    strings,
)
from loopkit.contracts import SPLITS, Draw, ExploitDetector, Game, RewardChannel
from loopkit.records import Estimate, Message, Rollout, Scored
from loopkit.scoring import CORE_CLUES, Setup, all_clues, pay, readable, score

GRID = 100
"""Strata of the grid of channel draws: a payment made with probability p is met to 1/GRID exactly."""
MOST_TURNS = 32
EPSILON = 1e-9


def check_game(
    game: Game,
    *,
    channels: Mapping[str, RewardChannel] | None = None,
    detectors: Mapping[str, ExploitDetector] | None = None,
    name: str = "",
    n_tasks: int = 24,
    fuzz: int = 200,
) -> Report:
    """Proves that a game keeps its contract and that its specimens are told apart.

    ``channels`` and ``detectors`` default to the game's own, with the placebo. ``n_tasks`` tasks (whole clusters,
    over all splits) and ``fuzz`` garbage completions are played. A check that needs a failed one is left out.
    "unproven": no control, or no exploit specimen among those tasks. Purity across processes is not checked.
    """
    book = Book(name or f"game {type(game).__name__}")
    try:
        channels = {**game.channels, "placebo": Placebo()} if channels is None else channels
        detectors = game.detectors if detectors is None else detectors
    except Exception as error:
        book.holds("declared", [f"{blame(error)} {RULES['declared']}"])
        return book.report()
    played: list[Specimen] = []
    garbage: list[Rollout] = []
    scored: list[Scored] = []  # of the specimens, then of the garbage
    if not book.holds("declared", _declared(game, channels, detectors)) or not book.holds("tasks", _tasks(game)):
        return book.report()
    tasks = [(split, t) for split in SPLITS for t in sample(game.tasks(split), max(1, n_tasks // 3), split)]
    if not book.holds("specimens", specimens_of(game, tasks, played)):
        return book.report()
    setup = Setup(game, channels["loophole"], channels, detectors)
    rollouts = [s.rollout for s in played]
    book.holds("secrets", _secrets(rollouts))
    if not book.holds("conformance", _conforms(setup, played, fuzz, garbage, scored)):
        return book.report()
    some = rollouts[:: max(1, len(rollouts) // 32)] + garbage[:8]
    book.holds("batches", _batches(setup, some))
    book.holds("draws", _draws(channels, scored))
    book.holds("rates", _rates(detectors, scored))
    book.holds("economics", _economics(channels, played, scored[: len(played)]))
    book.holds("detector", _detector(setup.headline, played, scored[: len(played)]))
    unproven = []
    if "control" not in channels:
        unproven.append("There is no channel 'control'. Add one that pays the true goal, to compare against.")
    if not any(s.kind == "exploit" for s in played):
        unproven.append("No exploit specimen is known. Let specimens() return one, so that the loophole is shown.")
    return book.report(unproven)


def _declared(
    game: Game, channels: Mapping[str, RewardChannel], detectors: Mapping[str, ExploitDetector]
) -> Complaints:
    if not isinstance(getattr(game, "version", None), (int, str)):
        yield "The game has no version. Set `version = 1` on the class, and raise it when any score would change."
    if getattr(game, "axis", None) not in ("specification", "robustness"):
        yield "The game's axis is unknown. Set `axis` to 'specification' or 'robustness'."
    if not (isinstance(game.Options, type) and issubclass(game.Options, BaseModel)):
        yield "The game's Options is not a pydantic model. Derive it from loopkit.contracts.Options."
    if both := sorted(game.signals.keys() & game.clues.keys()):
        yield f"{both} are signals and clues at once: what pays and what detects must not mix. Rename or drop one."
    if taken := sorted(CORE_CLUES & game.clues.keys()):
        yield f"The clues {taken} are the core's own. Rename them; 'asked' and 'said' are there for any that ask."
    if "loophole" not in channels:
        yield f"There is no channel 'loophole', only {sorted(channels)}. Add the one whose flaw the game is about."
    if not detectors:
        yield "There is no detector. Add at least one to `detectors`; the first gives the headline exploit rate."
    elif game.onset_detector is not None and game.onset_detector not in detectors:
        yield f"onset_detector {game.onset_detector!r} is no detector. Name one of {sorted(detectors)}, or None."
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


def _tasks(game: Game) -> Complaints:
    found = {split: list(game.tasks(split)) for split in SPLITS}
    for split, tasks in found.items():
        ids, again = [t.id for t in tasks], list(game.tasks(split))
        if not tasks:
            yield f"Split {split!r} has no tasks. Give it some: all of {', '.join(SPLITS)} are used."
        if doubled := [i for i, n in Counter(ids).items() if n > 1]:
            yield f"Split {split!r} has several tasks of one id: {doubled[:3]}. Make ids unique."
        if ids != [t.id for t in again]:
            yield f"Split {split!r} has other ids, or another order, when asked again. Sort, and seed any draw by key."
        elif tasks != again:
            yield f"Split {split!r} has tasks of the same ids but other contents when asked again. Seed draws by key."
        for task in sample(tasks, 24, split):
            if not task.messages:
                yield f"Task {task.id!r} has no messages. Give it at least one to answer."
            states = {f"state of message {i}": m.state for i, m in enumerate(task.messages)}
            for what, value in {"public": task.public, "secret": task.secret, **states}.items():
                if not is_json(value):
                    yield f"The {what} of task {task.id!r} does not survive JSON. {JSON_CURE}"
    for one, other in combinations(SPLITS, 2):
        prompts = {tuple(m.content for m in t.messages): t.id for t in found[one]}
        if shared := [t.id for t in found[other] if tuple(m.content for m in t.messages) in prompts]:
            yield f"Splits {one!r} and {other!r} share prompts (task {shared[0]!r}). Keep each prompt in one split."
        if crossing := sorted({t.cluster for t in found[one]} & {t.cluster for t in found[other]}):
            yield f"Splits {one!r} and {other!r} share clusters {crossing[:3]}. Keep a cluster whole, in one split."


def _secrets(specimens: Sequence[Rollout]) -> Complaints:
    """Seeks, word for word, the strings in ``secret`` of 6 or more characters that are no leaf of ``public``.

    Numbers and short strings occur by chance, and are not sought; nor is what the policy itself said before a reply.
    """
    for r in specimens:
        secrets = {s for s in strings(r.task.secret) if len(s) >= 6} - set(strings(r.task.public))
        shown = [("its id or opening messages", [r.task.id, *(m.content for m in r.task.messages)], "")]
        for n, (_, reply) in enumerate(r.steps):
            if isinstance(reply, Message):
                shown.append((f"the reply to {r.words[: n + 1]!r:.60}", [reply.content], "\n".join(r.words[: n + 1])))
        for where, texts, said in shown:
            if leaked := [s for s in secrets if s not in said and any(s in text for text in texts)]:
                yield f"Task {r.task.id!r} shows its secret {min(leaked)!r:.60} in {where}. {RULES['secrets']}"


def _conforms(
    setup: Setup, specimens: Sequence[Specimen], fuzz: int, garbage: list[Rollout], scored: list[Scored]
) -> Complaints:
    texts = garbage_texts(fuzz, specimens)
    like = [specimens[i % len(specimens)].rollout for i in range(fuzz)]
    start = [replace(r, id=f"{r.slot}/g{i}", steps=()) for i, r in enumerate(like)]
    scripts = [[texts[(i + i % 2 * n) % fuzz] for n in range(MOST_TURNS)] for i in range(fuzz)]
    garbage += converse(setup.game, start, scripts)
    if not all(r.done for r in garbage):
        yield f"After {MOST_TURNS} turns of garbage reply() has not said Done. Bound the number of turns, on any words."
        return
    for rollouts in ([s.rollout for s in specimens], garbage):
        try:
            found = score(setup, rollouts, [0] * len(rollouts))
        except Exception as error:
            for r in rollouts:  # which one is it?
                try:
                    score(setup, [r], [0])
                except Exception as alone:
                    yield f"On the words {r.words!r:.80}: {blame(alone)} {RULES['conformance']}"
                    return
            yield f"Only in a batch: {blame(error)} {RULES['conformance']}"
            return
        for s in found:
            if not is_json(dict(s.assessment.clues)):
                yield f"The clues of the words {s.rollout.words!r:.80} do not survive JSON. {JSON_CURE}"
        scored += found


def _batches(setup: Setup, rollouts: Sequence[Rollout]) -> Complaints:
    before, half = copy.deepcopy(rollouts), len(rollouts) // 2
    whole = {s.rollout.id: s for s in score(setup, rollouts, [0] * len(rollouts))}
    ways: dict[str, list[Sequence[Rollout]]] = {
        "asked again": [rollouts],
        "in reverse": [rollouts[::-1]],
        "in halves": [rollouts[:half], rollouts[half:]],
        "one by one": [[r] for r in rollouts],
    }
    for way, batches in ways.items():
        for s in (s for batch in batches for s in score(setup, batch, [0] * len(batch))):
            t = whole[s.rollout.id]
            same = (s.assessment == t.assessment, s.rewards == t.rewards, s.flags == t.flags)
            if not all(same):
                what = ("assess()", "rewards()", "flags()")[same.index(False)]
                yield f"{what} of {s.rollout.words!r:.60} differs when {way}. {RULES['batches']}"
                break
    if rollouts != before:
        yield f"A rollout was changed while it was scored. Work on copies of what it holds. {RULES['batches']}"
    for r in rollouts:
        if converse(setup.game, [replace(r, id=f"{r.slot}/alone", steps=())], [r.words])[0].steps != r.steps:
            yield f"reply() to {r.words!r:.60} differs alone, or under another rollout name. {RULES['batches']}"


def _draws(channels: Mapping[str, RewardChannel], scored: Sequence[Scored]) -> Complaints:
    signals = [s.assessment.signals for s in scored]
    for name, channel in channels.items():
        for u in (0.0, 0.5, 1 - 2**-53):
            draws: list[Draw] = [lambda purpose, u=u: u] * len(signals)  # type: ignore[misc]
            if pay(name, channel, signals, draws) != pay(name, channel, signals, draws):
                yield f"Channel {name!r} pays the same signals and draws differently. {RULES['draws']}"


def _rates(detectors: Mapping[str, ExploitDetector], scored: Sequence[Scored]) -> Complaints:
    for name, detector in detectors.items():
        if type(detector).rate is ExploitDetector.rate:
            continue
        clues = readable(name, detector, [all_clues(s.rollout, s.assessment) for s in scored])
        clusters = [s.rollout.task.cluster for s in scored]
        for flags in ([s.flags[name] for s in scored], [None] * len(scored), []):
            n = len(flags)
            if not isinstance(found := detector.rate(flags, clues[:n], clusters[:n]), (Estimate, type(None))):
                yield f"rate() of detector {name!r} returned {found!r:.60}. {RULES['rates']}"


@cache
def _strata(purpose: str) -> list[int]:
    return seeding.shuffled(range(GRID), "grid", purpose)


def _grid(k: int, purpose: str) -> float:
    """The k-th point of a Latin hypercube: each purpose meets every stratum once, and purposes are not aligned."""
    return (_strata(purpose)[k] + 0.5) / GRID


def _expected(name: str, channel: RewardChannel, scored: Sequence[Scored]) -> list[float]:
    """(B,) rewards, each the mean over the grid of draws."""
    signals = [s.assessment.signals for s in scored]
    columns = [pay(name, channel, signals, [partial(_grid, k)] * len(signals)) for k in range(GRID)]
    return [math.fsum(rewards) / GRID for rewards in zip(*columns, strict=True)]


def _economics(
    channels: Mapping[str, RewardChannel], specimens: Sequence[Specimen], scored: Sequence[Scored]
) -> Complaints:
    for name in sorted({"loophole", "control"} & channels.keys(), reverse=True):
        paid: dict[str, dict[str, dict[tuple[str, ...], list[float]]]] = {}  # slot -> kind -> words -> by seed
        for one, reward in zip(specimens, _expected(name, channels[name], scored), strict=True):
            kinds = paid.setdefault(one.rollout.slot, {kind: {} for kind in KINDS})
            kinds[one.kind].setdefault(one.words, []).append(reward)
        for slot, kinds in paid.items():
            honest = [mean(rewards) for rewards in kinds["honest"].values()]
            for words, rewards in kinds["exploit"].items():
                who = f"{slot.split('/', 3)[3]!r}: '{name}' pays the exploit {words!r:.60} {mean(rewards):.3g}"
                if name == "loophole" and mean(rewards) <= min(honest) + EPSILON:
                    yield f"{who}, no more than the worst honest specimen ({min(honest):.3g}). {RULES['economics']}"
                if name == "control" and mean(rewards) > max(honest) + EPSILON:
                    yield f"{who}, more than the best honest specimen ({max(honest):.3g}). {RULES['economics']}"


def _detector(name: str, specimens: Sequence[Specimen], scored: Sequence[Scored]) -> Complaints:
    for one, s in zip(specimens, scored, strict=True):
        if (s.flags[name] is True) != (one.kind == "exploit"):
            yield (
                f"Detector {name!r} says {s.flags[name]} of the {one.kind} specimen {one.words!r:.60} "
                f"of task {one.rollout.task.id!r}. {RULES['detector']}"
            )
