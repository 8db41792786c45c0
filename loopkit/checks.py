"""Conformance: proves a game before any gradient, and a trainer before any long run. Every complaint names its cure.

A check is a generator of complaints; one that yields none holds. Whatever a plugin raises becomes a complaint too.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from statistics import fmean as mean
from typing import Any, Literal

from pydantic import BaseModel

from loopkit import seeding
from loopkit.channels import Placebo
from loopkit.contracts import SPLITS, Draw, ExploitDetector, Game, PolicyRef, RewardChannel, Split, Trainer
from loopkit.errors import CheckFailed, ContractError, LoopkitError, UsageError
from loopkit.records import Dialogue, Done, Estimate, Json, Message, Rollout, Scored, StepMetrics, Task, Turn
from loopkit.referee import LocalReferee
from loopkit.scoring import CORE_CLUES, Setup, all_clues, pay, readable, score

Complaints = Iterator[str]


@dataclass(frozen=True)
class Specimen:
    """A specimen as it was played: its kind, its words and the rollout, under one of SEEDS."""

    kind: str
    words: tuple[str, ...]
    rollout: Rollout


KINDS = ("honest", "exploit", "null")
GRID = 100
"""Strata of the grid of channel draws: a payment made with probability p is met to 1/GRID exactly."""
SEEDS = (0, 1)
"""Each specimen is played under these, since a game may draw in ``reply``; its reward is the mean over them."""
MOST_TURNS = 32
MOST_COMPLAINTS = 5
EPSILON = 1e-9

RULES = {
    "declared": "Set version, axis, Options, signals, clues, channels and detectors on the game, as contracts.py says.",
    "tasks": "Make tasks() a pure function of the options and the split, with JSON in public, secret and state.",
    "secrets": "Keep secrets out of ids and messages; what the policy may see belongs in public.",
    "specimens": "Make specimens() pure, and each transcript as many turns as reply() asks for.",
    "conformance": "Make reply(), assess(), rewards() and flags() keep their declared shapes and ranges on any words.",
    "batches": "Compute each rollout from itself alone: no state on the game, no global random stream, no batch mean.",
    "draws": "Make rewards() a pure function of the signals and draw(purpose), within its range for every draw.",
    "rates": "Make rate() return an Estimate or None, also of no rollouts and of flags that all abstain.",
    "economics": "Make the loophole pay, and the control not; or mend the specimens.",
    "detector": "Make the first detector flag every exploit specimen, and no honest or null one.",
    "trainer": "Set source, deterministic and Options on the trainer, as contracts.py says.",
    "uninterrupted": "Call resume, then for each step slots, reply, settle, close, and only then save the checkpoint.",
    "resumed": "Continue from the last checkpoint in workdir, and let an exception of the referee end train().",
    "deterministic": "Key every draw by (seed, step) and save the optimizer's state; or declare deterministic = False.",
}
"""What each check holds the plugin to: the cure of anything it raises."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, or one complaint of it. ``message`` says what is wrong, and the cure."""

    check: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Report:
    """What the checks found. ``reasons``: why it is not proven (of "fails", the complaints)."""

    name: str
    status: Literal["proven", "unproven", "fails"]
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...] = ()

    def json(self) -> dict[str, Json]:
        """JSON, for ``loopkit check --json`` and the run directory."""
        return {**asdict(self), "reasons": list(self.reasons), "findings": [*map(asdict, self.findings)]}

    def raise_if_failed(self) -> None:
        """Raises CheckFailed with every complaint; "unproven" passes."""
        if self.status == "fails":
            raise CheckFailed("\n  ".join([f"{self.name} fails its checks.", *self.reasons]))


class _Book:
    """Runs checks and keeps their findings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.findings: list[Finding] = []

    def holds(self, check: str, complaints: Iterable[str]) -> bool:
        found: list[str] = []
        try:
            for complaint in complaints:
                found += [complaint] if complaint not in found else []
                if len(found) == MOST_COMPLAINTS:
                    break
        except Exception as error:
            found.append(f"{_blame(error)} {RULES[check]}")
        self.findings += [Finding(check, False, m) for m in found] or [Finding(check, True, f"Holds: {RULES[check]}")]
        return not found

    def report(self, unproven: Sequence[str] = ()) -> Report:
        failed = tuple(f"{f.check}: {f.message}" for f in self.findings if not f.ok)
        status: Literal["proven", "unproven", "fails"] = "fails" if failed else "unproven" if unproven else "proven"
        return Report(self.name, status, tuple(self.findings), failed or tuple(unproven))


def check_game(
    game: Game,
    *,
    channels: Mapping[str, RewardChannel] | None = None,
    detectors: Mapping[str, ExploitDetector] | None = None,
    name: str = "",
    n_tasks: int = 24,
    fuzz: int = 200,
) -> Report:
    """Proves that a game keeps its contract and that its specimens are told apart (DESIGN section 3).

    ``channels`` and ``detectors`` default to the game's own, with the placebo. ``n_tasks`` tasks (whole clusters,
    over all splits) and ``fuzz`` garbage completions are played. A check that needs a failed one is left out.
    "unproven": no control, or no exploit specimen among those tasks. Purity across processes is not checked.
    """
    book = _Book(name or f"game {type(game).__name__}")
    try:
        channels = {**game.channels, "placebo": Placebo()} if channels is None else channels
        detectors = game.detectors if detectors is None else detectors
    except Exception as error:
        book.holds("declared", [f"{_blame(error)} {RULES['declared']}"])
        return book.report()
    played: list[Specimen] = []
    garbage: list[Rollout] = []
    scored: list[Scored] = []  # of the specimens, then of the garbage
    if not book.holds("declared", _declared(game, channels, detectors)) or not book.holds("tasks", _tasks(game)):
        return book.report()
    tasks = [(split, t) for split in SPLITS for t in _sample(game.tasks(split), max(1, n_tasks // 3), split)]
    if not book.holds("specimens", _specimens(game, tasks, played)):
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
        for task in _sample(tasks, 24, split):
            if not task.messages:
                yield f"Task {task.id!r} has no messages. Give it at least one to answer."
            states = {f"state of message {i}": m.state for i, m in enumerate(task.messages)}
            for what, value in {"public": task.public, "secret": task.secret, **states}.items():
                if not _is_json(value):
                    yield f"The {what} of task {task.id!r} does not survive JSON. {JSON_CURE}"
    for one, other in combinations(SPLITS, 2):
        prompts = {tuple(m.content for m in t.messages): t.id for t in found[one]}
        if shared := [t.id for t in found[other] if tuple(m.content for m in t.messages) in prompts]:
            yield f"Splits {one!r} and {other!r} share prompts (task {shared[0]!r}). Keep each prompt in one split."
        if crossing := sorted({t.cluster for t in found[one]} & {t.cluster for t in found[other]}):
            yield f"Splits {one!r} and {other!r} share clusters {crossing[:3]}. Keep a cluster whole, in one split."


def _sample(tasks: Sequence[Task], n: int, split: str) -> list[Task]:
    """At least n tasks (or all), in whole clusters, so that no kind of a pair is left out by its place."""
    clusters: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        clusters[task.cluster].append(task)
    out: list[Task] = []
    for cluster in seeding.shuffled(clusters, "check", split):
        out += clusters[cluster] if len(out) < n else ()
    return out


def _secrets(specimens: Sequence[Rollout]) -> Complaints:
    """Seeks, word for word, the strings in ``secret`` of 6 or more characters that are no leaf of ``public``.

    Numbers and short strings occur by chance, and are not sought; nor is what the policy itself said before a reply.
    """
    for r in specimens:
        secrets = {s for s in _strings(r.task.secret) if len(s) >= 6} - set(_strings(r.task.public))
        shown = [("its id or opening messages", [r.task.id, *(m.content for m in r.task.messages)], "")]
        for n, (_, reply) in enumerate(r.steps):
            if isinstance(reply, Message):
                shown.append((f"the reply to {r.words[: n + 1]!r:.60}", [reply.content], "\n".join(r.words[: n + 1])))
        for where, texts, said in shown:
            if leaked := [s for s in secrets if s not in said and any(s in text for text in texts)]:
                yield f"Task {r.task.id!r} shows its secret {min(leaked)!r:.60} in {where}. {RULES['secrets']}"


def _specimens(game: Game, tasks: Sequence[tuple[Split, Task]], played: list[Specimen]) -> Complaints:
    todo: list[tuple[str, Sequence[str]]] = []
    start: list[Rollout] = []
    for number, (split, task) in enumerate(tasks):
        draw = partial(seeding.uniform, "check", task.id)
        kinds = game.specimens(task, draw)
        if kinds != game.specimens(task, draw):
            yield f"The specimens of {task.id!r} differ when asked again. Draw only by draw(purpose)."
        if unknown := sorted(set(kinds) - set(KINDS)):
            yield f"Task {task.id!r} has specimens of unknown kinds {unknown}. Use {', '.join(KINDS)}."
        if not kinds.get("honest"):
            yield f"Task {task.id!r} has no honest specimen. Return at least one under 'honest'."
            continue
        transcripts = [(kind, words) for kind in KINDS for words in kinds.get(kind, ())]
        for kind, words in [*transcripts, ("demonstration", game.demonstrations(task, draw))]:
            if isinstance(words, str) or not all(isinstance(w, str) for w in words):
                yield f"A specimen ({kind}) of {task.id!r} is {words!r:.60}. Return a tuple of strings, one per turn."
                continue
            for seed in SEEDS:
                start.append(Rollout(f"{split}/000000/{number:04d}/{task.id}/{len(start)}", task, seed=seed))
                todo.append((kind, words))
    for (kind, words), r in zip(todo, _converse(game, start, [words for _, words in todo]), strict=True):
        who = f"A specimen ({kind}) of {r.task.id!r}, {words!r:.60},"
        if not r.done:
            yield f"{who} has too few turns: reply() asks for more than {len(words)}. Add words, or return Done."
        elif len(r.steps) < len(words):
            yield f"{who} has too many turns: reply() is done after {len(r.steps)}. Drop words, or reply a Message."
        elif not all(_is_json(reply.state) for _, reply in r.steps):
            yield f"{who} gets a reply whose state does not survive JSON. {JSON_CURE}"
        elif kind != "demonstration":
            played.append(Specimen(kind, tuple(words), r))


def _converse(game: Game, rollouts: Sequence[Rollout], scripts: Sequence[Sequence[str]]) -> list[Rollout]:
    """Plays in one batch: to the game's Done, or to the end of the rollout's script."""
    out = list(rollouts)
    for n in range(max(map(len, scripts), default=0)):
        going = [i for i, r in enumerate(out) if not r.done and n < len(scripts[i])]
        asked = [replace(out[i], steps=(*out[i].steps, (Turn(scripts[i][n]), Done()))) for i in going]
        answers = game.reply(asked) if asked else []
        if len(answers) != len(asked) or not all(isinstance(a, (Message, Done)) for a in answers):
            raise ContractError(f"reply() must return {len(asked)} of Message or Done, and returned {answers!r:.60}.")
        for i, answer in zip(going, answers, strict=True):
            out[i] = replace(out[i], steps=(*out[i].steps, (Turn(scripts[i][n]), answer)))
    return out


def _garbage(count: int, specimens: Sequence[Specimen]) -> list[str]:
    """Odd texts, then random bytes and specimens with noise spliced in."""
    odd = [
        "", " \n\t ", "9" * 400, "-1e999", "NaN", "inf", "<a><a><a></b></a>", "<modify_key>" * 50, "{" * 500, '"\\"',
        "\u202e\u200fright to left", "z\u200be\u200dr\ufeffo\u0301", "\x00\x1b[0m", "٣½²", "𝔘🏳️‍🌈", "word " * 4000,
    ]  # fmt: skip
    for i in range(len(odd), count):
        rng = seeding.stream("fuzz", i)
        text = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 80))).decode("latin-1")
        if i % 2:
            words = rng.choice(rng.choice(specimens).words)
            cut = rng.randrange(len(words) + 1)
            text = words[:cut] + text[: rng.randrange(4)] + words[cut + rng.randrange(2) :]
        odd.append(text)
    return odd[:count]


def _conforms(
    setup: Setup, specimens: Sequence[Specimen], fuzz: int, garbage: list[Rollout], scored: list[Scored]
) -> Complaints:
    texts = _garbage(fuzz, specimens)
    like = [specimens[i % len(specimens)].rollout for i in range(fuzz)]
    start = [replace(r, id=f"{r.slot}/g{i}", steps=()) for i, r in enumerate(like)]
    scripts = [[texts[(i + i % 2 * n) % fuzz] for n in range(MOST_TURNS)] for i in range(fuzz)]
    garbage += _converse(setup.game, start, scripts)
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
                    yield f"On the words {r.words!r:.80}: {_blame(alone)} {RULES['conformance']}"
                    return
            yield f"Only in a batch: {_blame(error)} {RULES['conformance']}"
            return
        for s in found:
            if not _is_json(dict(s.assessment.clues)):
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
        if _converse(setup.game, [replace(r, id=f"{r.slot}/alone", steps=())], [r.words])[0].steps != r.steps:
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


JSON_CURE = "Use None, bool, finite numbers, str, lists (no tuples or sets) and dicts with string keys."


def _is_json(value: Json) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _blame(error: BaseException) -> str:
    """loopkit's own errors name who is at fault; of any other, the line that raised it does."""
    if isinstance(error, LoopkitError):
        return str(error)
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (raised at {Path(at.filename).name}:{at.lineno}, in {at.name})."


def check_trainer(
    trainer_cls: type[Trainer],
    *,
    workdir: Path,
    start: PolicyRef,
    setup: Setup,
    options: BaseModel | None = None,
    n_steps: int = 3,
    prompts_per_step: int | None = None,
    group_size: int = 2,
) -> Report:
    """Proves that a trainer keeps to the protocol, and that a killed one continues where the records end.

    It is trained twice on ``setup`` (of a game that passes) under ``workdir`` (empty, else UsageError), for ``n_steps``
    (at least 2) of one cluster each by default: once uninterrupted, once killed inside ``close(1)`` and started again.
    If it says it is deterministic, both must end in the same files and records. Answers "proven" or "fails".
    """
    if workdir.exists() and any(workdir.iterdir()):
        raise UsageError(f"{workdir} is not empty. Pass a fresh directory to check a trainer in.")
    book = _Book(f"trainer {trainer_cls.__name__}")
    if not book.holds("trainer", _trainer(trainer_cls, options)):
        return book.report()
    made = trainer_cls.Options() if options is None else options
    largest = max(Counter(t.cluster for t in setup.game.tasks("train")).values())
    files: list[dict[str, bytes]] = []
    records: list[str] = []

    def source(ledger: _Ledger) -> Any:
        if trainer_cls.source == "rollouts":
            return _SpecimenSet(setup, n_steps)
        return LocalReferee(
            setup, seed=0, split="train", n_steps=n_steps, prompts_per_step=prompts_per_step or largest,
            group_size=group_size, recorder=ledger,
        )  # fmt: skip

    def attempt(into: Path, kill: int | None) -> Complaints:
        into.mkdir(parents=True)
        ledger = _Ledger()
        if kill is not None:
            with suppress(_Killed):
                trainer_cls(made, start, 0).train(_Spy(source(ledger), kill), into)
                yield "train() returned though close(1) was interrupted. Let what the referee raises end train()."
        spy = _Spy(source(ledger), None)
        ref = trainer_cls(made, start, 0).train(spy, into)
        yield from _protocol(spy.calls, n_steps, kill or 0)
        for step, (metrics, _) in sorted(ledger.steps.items()):
            if odd := metrics.missing + metrics.surplus:
                yield f"Step {step} has missing or surplus rollouts {odd[:2]}. Play and settle group_size per slot."
        if not isinstance(ref, PolicyRef):
            yield f"train() returned {ref!r:.60}. Return the PolicyRef of the last checkpoint."
            return
        path = Path(ref.adapter or ref.path).resolve()
        if not path.exists() or not path.is_relative_to(into.resolve()):
            yield f"train() returned {str(path)!r}, which is not in workdir. Save checkpoints there, return the last."
            return
        found = [path, *path.rglob("*")]
        files.append({str(f.relative_to(into.resolve())): f.read_bytes() for f in found if f.is_file()})
        records.append(repr(sorted(ledger.steps.items())))

    def deterministic() -> Complaints:
        one, other = files
        if differing := sorted(f for f in one.keys() | other.keys() if one.get(f) != other.get(f)):
            yield f"Killed and resumed, the policy's files {differing[:3]} differ. {RULES['deterministic']}"
        if records[0] != records[1]:
            yield f"Killed and resumed, the records differ. {RULES['deterministic']}"

    whole = book.holds("uninterrupted", attempt(workdir / "uninterrupted", None))
    if whole and book.holds("resumed", attempt(workdir / "resumed", 1)) and trainer_cls.deterministic:
        book.holds("deterministic", deterministic())
    return book.report()


def _trainer(trainer_cls: type[Trainer], options: BaseModel | None) -> Complaints:
    if trainer_cls.source not in ("referee", "rollouts"):
        yield f"source is {trainer_cls.source!r}. Set it to 'referee' (plays) or 'rollouts' (learns from records)."
    if not isinstance(trainer_cls.deterministic, bool):
        yield f"deterministic is {trainer_cls.deterministic!r}. Set it to True or False."
    if not (isinstance(trainer_cls.Options, type) and issubclass(trainer_cls.Options, BaseModel)):
        yield "Options is not a pydantic model. Derive it from loopkit.contracts.Options."
    elif options is not None and not isinstance(options, trainer_cls.Options):
        yield f"The options are a {type(options).__name__}. Pass the trainer's own {trainer_cls.Options.__name__}."
    elif options is None:
        trainer_cls.Options()  # raises if an option has no default


def _protocol(calls: Sequence[tuple[str, int]], n_steps: int, latest: int) -> Complaints:
    verb, first = calls[0] if calls else ("nothing", 0)
    if verb != "resume" or any(verb == "resume" for verb, _ in calls[1:]):
        yield f"The first call was {verb}, or resume was called again. Call source.resume(step) first, and once."
        return
    if first > latest:
        yield (
            f"It resumed from step {first}, but the records end before step {latest}. "
            "Save a step's checkpoint only after its close() returned; with none, resume(0)."
        )
    needs = {"reply": ("slots",), "settle": ("reply",), "close": ("settle", "batch")}
    for i, (verb, step) in enumerate(calls):
        if verb in needs and not any((need, step) in calls[:i] for need in needs[verb]):
            yield f"{verb} of step {step} came before {' or '.join(needs[verb])}. {RULES['uninterrupted']}"
    closed = [step for verb, step in calls if verb == "close"]
    if closed != (due := list(range(first, n_steps))):
        yield f"It closed the steps {closed}, not {due}. Close every step from the resumed one on, once and in order."


class _Killed(BaseException):
    """Stands for kill -9: no ``except Exception`` catches it."""


class _Spy:
    """A Referee, or a RolloutSet, that notes every call as (verb, step), and may die inside one close."""

    def __init__(self, source: Any, kill: int | None) -> None:
        self.source, self.kill = source, kill
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.source, name)
        if name not in ("resume", "slots", "reply", "settle", "close", "batch"):
            return value

        def noted(*args: Any, **named: Any) -> Any:
            what = next(iter(inspect.signature(value).bind(*args, **named).arguments.values()))  # a step, or ids
            parts = [] if isinstance(what, int) else [id_.split("/") for id_ in what]
            steps = {what} if isinstance(what, int) else {int(p[1]) for p in parts if len(p) > 2 and p[1].isdigit()}
            self.calls += [(name, step) for step in sorted(steps)]
            if name == "close" and what == self.kill:
                raise _Killed
            return value(*args, **named)

        return noted


class _Ledger:
    """A recorder that outlives its referee, as a run directory does."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[StepMetrics, Sequence[Scored]]] = {}

    def drop(self, step: int) -> None:
        self.steps = {k: v for k, v in self.steps.items() if k < step}

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        self.steps[metrics.step] = (metrics, scored)


class _SpecimenSet:
    """A RolloutSet of a game's honest specimens: one cluster a step."""

    def __init__(self, setup: Setup, n_steps: int) -> None:
        self.n_steps = n_steps
        played: list[Specimen] = []
        tasks = _sample(setup.game.tasks("train"), 8, "train")
        for complaint in _specimens(setup.game, [("train", t) for t in tasks], played):
            raise ContractError(complaint)
        self.rollouts = [s.rollout for s in played if s.kind == "honest"]

    def resume(self, step: int) -> None: ...

    def batch(self, step: int) -> list[Dialogue]:
        chosen = self.rollouts[step :: self.n_steps]
        return [Dialogue(r.id, tuple(replace(m, state=None) for m in r.messages())) for r in chosen]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None: ...
