"""Proves that a game keeps its contract, and that its specimens are told apart. The checks, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from loopkit.checks import declared, economics, purity
from loopkit.checks.report import RULES, Book, Complaints, Report, blame
from loopkit.checks.specimens import (
    JSON_CURE,
    MOST_TURNS,
    TEXT_CURE,
    Specimen,
    converse,
    garbage_texts,
    is_json,
    is_text,
    sample,
    specimens_of,
)
from loopkit.contracts import SPLITS, ExploitDetector, Game, RewardChannel
from loopkit.errors import JudgeError, MissingExtra, UsageError
from loopkit.parts.channels import Placebo
from loopkit.records import Message, Rollout, Scored
from loopkit.rollouts.scoring import Setup, score

FUZZ = 1000


def check_game(
    game: Game,
    *,
    channels: Mapping[str, RewardChannel] | None = None,
    detectors: Mapping[str, ExploitDetector] | None = None,
    name: str = "",
    n_tasks: int = 24,
    fuzz: int = FUZZ,
    new_process: bool = True,
) -> Report:
    """Proves that a game keeps its contract and that its specimens are told apart.

    ``channels`` and ``detectors`` default to the game's own, with the placebo. ``n_tasks`` tasks (whole clusters,
    over all splits) and ``fuzz`` garbage completions are played. A check that needs a failed one is not made.
    "unproven": no control, or no exploit specimen among those tasks. ``new_process`` False spares the new process (it
    takes about a second); a game that cannot be sent there leaves that check out, and says so.

    Raises UsageError where ``tasks()`` does: the user's data or options are at fault, not the game.
    """
    book = Book(name or f"game {type(game).__name__}")
    try:
        channels = {**game.channels, "placebo": Placebo()} if channels is None else channels
        detectors = game.detectors if detectors is None else detectors
    except Exception as error:
        book.holds("declared", _only(f"{blame(error)} {RULES['declared'].cure}"))
        return book.report()
    parts = (game, channels, detectors)
    for check, complaints in {"declared": declared.declared(*parts), "options": declared.options(*parts)}.items():
        book.holds(check, complaints)
    if not all(f.ok for f in book.findings) or not book.holds("tasks", declared.tasks(game), passing=(UsageError,)):
        return book.report()
    played: list[Specimen] = []
    garbage: list[Rollout] = []
    scored: list[Scored] = []  # of the specimens, then of the garbage
    tasks = [(split, t) for split in SPLITS for t in sample(game.tasks(split), max(1, n_tasks // 3), split)]
    if not book.holds("specimens", specimens_of(game, tasks, played)):
        return book.report()
    setup = Setup(game, channels["loophole"], channels, detectors)
    rollouts = [s.rollout for s in played]
    conforms = book.holds("conformance", conformance(setup, played, fuzz, garbage, scored))
    book.holds("secrets", declared.secrets(game, rollouts + garbage))
    if not conforms:
        return book.report()
    some = rollouts[:: max(1, len(rollouts) // 32)] + garbage[:8]
    book.holds("batches", purity.batches(setup, some))
    book.holds("json", purity.round_trip(setup, some))
    book.holds("slots", purity.slots(setup, played))
    book.holds("draws", economics.draws(channels, scored))
    book.holds("rates", economics.rates(detectors, scored))
    book.holds("economics", economics.economics(channels, played, scored[: len(played)]))
    book.holds("detector", economics.detector(setup.headline, played, scored[: len(played)]))
    if new_process and all(f.ok for f in book.findings):
        book.holds("processes", purity.processes(setup))
    unproven = []
    if "control" not in channels:
        unproven.append("There is no channel 'control'. Add one that pays the true goal, to compare against.")
    elif economics.alike(channels, scored[: len(played)]):
        unproven.append(
            "'control' pays every specimen what 'loophole' pays, so it closes nothing. Let it pay the true goal."
        )
    if not any(s.kind == "exploit" for s in played):
        unproven.append("No exploit specimen is known. Let specimens() return one, so that the loophole is shown.")
    if unproven and game.reporting.unproven:
        unproven = [game.reporting.unproven]
    return book.report(unproven)


def _only(complaint: str) -> Complaints:
    yield complaint
    return ""


def conformance(
    setup: Setup, specimens: Sequence[Specimen], fuzz: int, garbage: list[Rollout], scored: list[Scored]
) -> Complaints:
    texts = garbage_texts(fuzz, specimens)
    like = [specimens[i % len(specimens)].rollout for i in range(fuzz)]
    start = [replace(r, id=f"{r.slot}/g{i}", steps=()) for i, r in enumerate(like)]
    scripts = [[texts[(i + i % 2 * n) % fuzz] for n in range(MOST_TURNS)] for i in range(fuzz)]
    garbage += converse(setup.game, start, scripts)
    if not all(r.done for r in garbage):
        yield (
            f"After {MOST_TURNS} turns of garbage reply() has not said Done. Bound the number of turns, on any words."
        )
        return ""
    for r in garbage:
        for n, (_, reply) in enumerate(r.steps):
            if not is_json(reply.state) or (isinstance(reply, Message) and not is_text(reply.content)):
                yield f"The reply to {r.words[: n + 1]!r:.60} cannot be kept in a file. {JSON_CURE} {TEXT_CURE}"
    for rollouts in ([s.rollout for s in specimens], garbage):
        try:
            rows = score(setup, rollouts, [0] * len(rollouts))
        except (JudgeError, MissingExtra):
            raise  # a server's fault, or what is not installed, and not the game's
        except Exception as error:
            for r in rollouts:  # which one is it?
                try:
                    score(setup, [r], [0])
                except Exception as alone:
                    yield f"On the words {r.words!r:.80}: {blame(alone)} {RULES['conformance'].cure}"
                    return ""
            yield f"Only in a batch: {blame(error)} {RULES['conformance'].cure}"
            return ""
        for s in rows:
            if not is_json(dict(s.assessment.clues)):
                yield f"The clues of the words {s.rollout.words!r:.80} do not survive JSON. {JSON_CURE}"
        scored += rows
    scores, honest = {name for s in scored for name in s.assessment.scores}, setup.game.reporting.honest_score
    if honest is not None and honest not in scores:
        yield f"reporting.honest_score {honest!r} is not a score of assess(). Name one of {sorted(scores)}, or None."
    return f"{len(specimens)} specimens, {fuzz} garbage completions"
