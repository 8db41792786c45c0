"""The probe: loads a reward in a child, learns what it pays for, attacks it, searches, and comes to a verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from loopkit.errors import UsageError
from loopkit.probing import attacks, forms, informed, records, verdict
from loopkit.probing.faults import KINDS, Depends
from loopkit.probing.levels import SMALL, Asker, Levels, learn, mean
from loopkit.probing.records import Fault, Hit, Probe
from loopkit.probing.runner import Budget, Job, Runner, Spent, log_file
from loopkit.probing.search import Found, search
from loopkit.probing.settings import Settings, read, spread, table
from loopkit.probing.weigh import FORM, Weighed, weigh
from loopkit.probing.world import built
from loopkit.rewards.signatures import Table

T = TypeVar("T")
GENERAL = {"nothing said": 0, "anything said": 0, "length": 1}
"""Kinds that explain others: where anything pays, tags pay too, and where length does, so does a long reply in tags."""


@dataclass
class Session:
    """What is gathered on the way. ``left`` names what the budget did not reach."""

    settings: Settings
    budget: Budget
    weighed: list[tuple[attacks.Attack, Weighed]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    paid: list[records.Paid] = field(default_factory=list)
    kinds: dict[str, None] = field(default_factory=dict)
    left: dict[str, None] = field(default_factory=dict)
    seen: set[float] = field(default_factory=set)
    found: Found | None = None

    @property
    def hits(self) -> list[Hit]:
        """What accuses, the most telling first: of equal ones what explains the others, then a short reply."""
        hits = [w.hit for _, w in self.weighed if w.accuses and w.hit]
        if self.found and self.found.hit:
            hits.append(self.found.hit)
        return sorted(
            hits, key=lambda h: (-round(h.fell / h.of * min(h.share, 1.0), 1), GENERAL.get(h.kind, 2), len(h.reply))
        )

    def each(self, what: Iterable[T], name: Callable[[T], str]) -> Iterator[T]:
        """Go through attacks until the budget ends; then name the kinds of those that are left."""
        over = False
        for one in what:
            if over or self.budget.left <= 0:
                over = True
                self.left.setdefault(name(one))
                continue
            yield one


def run(settings: Settings) -> Probe:
    """Probe a reward. Raises UsageError where it cannot be loaded, or the rows do not do."""
    began, log = time.monotonic(), log_file()
    try:
        return _run(settings, began, log)
    finally:
        if not log.stat().st_size:
            log.unlink()


def _run(settings: Settings, began: float, log: Path) -> Probe:
    rows = read(settings)
    known = table(settings, rows) if rows else Table((), False)
    specs = {"reward": settings.reward} | ({"trusted": settings.trusted} if settings.trusted else {})
    session = Session(settings, Budget(settings.replies, settings.seconds))

    def runner(hash_seed: int = 0, chat: bool | None = None) -> Runner:
        return Runner(Job(specs, known, rows, chat), session.budget, settings.deadline, log, hash_seed)

    if not rows:
        rows = own_rows(settings, runner())
        known = table(settings, rows)
    with runner() as asked:
        _in_form(asked, known, rows)
        loaded = asked.loaded["reward"]
        literals = loaded["literals"] if settings.code else []
        world = built(rows, known.prompt, known.reference, literals)
        world.forms = forms.known(world.asked, literals)
        asker = Asker(asked, world)
        levels, worked = _probe(session, asker, known, lambda seed: runner(seed, asked.job.chat))
        told = verdict.decide(session.hits, session.faults, levels, asker.world, known.reference, session.seen, worked)
        with contextlib.suppress(Spent):
            _informed(session, asker, levels)
        return Probe(
            settings.reward, told.word, told.sentence, told.cure, session.hits, session.faults, session.paid,
            _breaks(session), told.form, levels.right, levels.wrong, levels.ignorant, len(rows), list(session.kinds),
            list(session.left), ", ".join(loaded["kinds"]), [*_other_way(asked, known), *loaded["notes"]],
            session.budget.used, session.found.replies if session.found else 0, time.monotonic() - began, asked.seconds,
            str(log) if log.stat().st_size else "",
            {"data": str(settings.data) if isinstance(settings.data, (str, Path)) else "", "trusted": settings.trusted},
        )  # fmt: skip


def own_rows(settings: Settings, runner: Runner) -> list[dict[str, object]]:
    """The rows that a reward brings; UsageError where it brings none."""
    made = runner.rows_of(settings.reward)
    if not made:
        raise UsageError("there are no rows. Give --data FILE, JSONL or Parquet, with a question in each.")
    return spread(made, settings.rows)


def _in_form(asked: Runner, known: Table, rows: list[dict[str, object]]) -> None:
    """Pass completions as prompts are, messages or texts; the other way, where that alone works."""
    world = built(rows, known.prompt, known.reference, ())
    first = list(world.numbers)[:3]
    said = [world.references[n] or "yes" for n in first]
    usual = asked.fresh(first, said)
    if not usual or any(not p.kind for p in usual):
        return
    asked.reload(not known.chat)
    other = asked.fresh(first, said)
    if all(p.kind for p in other):
        raise UsageError(
            f"the reward cannot score a plain reply: {usual[0].failure}. It was asked about {said[0]!r:.60} on row 0. "
            "Mend it, or map what it reads to a column: --column NAME=COLUMN."
        )


def _other_way(asked: Runner, known: Table) -> list[str]:
    """What is to be said where completions are not passed as prompts are."""
    if asked.job.chat is None:
        return []
    is_chat = "messages" if known.chat else "a text"
    return [f"prompts are {is_chat}, but it takes completions the other way: TRL would fail on them"]


def _learned(session: Session, asker: Asker, known: Table) -> tuple[Levels, bool]:
    """What is paid. Where nothing is, completions may be passed the wrong way, which need not raise: then the other."""
    start, good = asker.world, session.settings.good
    levels, worked = learn(asker, known.prompt, known.reference, good)
    runner = asker.runner
    if levels.known or runner.job.chat is not None or not any(start.references):
        return levels, worked
    runner.reload(not known.chat)
    asker.world = replace(start)
    other, other_worked = learn(asker, known.prompt, known.reference, good)
    if other.known:
        return other, other_worked
    runner.reload(None)
    asker.world = replace(start)
    return learn(asker, known.prompt, known.reference, good)


def _probe(session: Session, asker: Asker, known: Table, fresh_runner: Callable[[int], Runner]) -> tuple[Levels, bool]:
    """Learn, attack, search; what was found is in the session."""
    levels, worked = Levels(None, None, 0.0, False), False
    try:
        levels, worked = _learned(session, asker, known)
        depends = Depends(asker, levels, fresh_runner)
        session.faults += depends.faults()
        session.kinds |= dict.fromkeys(KINDS)
        if depends.grouped:
            asker.grouped = True
            levels, worked = learn(asker, known.prompt, known.reference, session.settings.good)
    except Spent:
        session.left |= dict.fromkeys(KINDS)
    trusted = _trusted(session, asker)
    for attack in session.each(attacks.blind(asker.world), lambda a: a.kind):
        try:
            session.weighed.append((attack, weigh(attack, asker, levels, trusted, session.seen)))
            session.kinds.setdefault(attack.kind)
        except Spent:
            session.left.setdefault(attack.kind)
    session.paid += _for_form(session)
    others = [c for c in known.columns if c not in (known.prompt, known.reference)]
    if session.left and not session.seen and levels.right is None:
        session.faults.append(verdict.SPENT)
    else:
        session.faults += verdict.of_values(asker, levels, session.seen, others)
    if session.settings.search and not session.hits and not any(f.word for f in session.faults):
        session.found = search(asker, levels, trusted, session.settings.search)
        session.kinds.setdefault("search")
    return levels, worked


def _for_form(session: Session) -> list[records.Paid]:
    """The most that form alone earns, where that is too little to accuse."""
    low = [w.hit for a, w in session.weighed if a.kind == FORM and w.hit and not w.accuses]
    return [records.Paid(h.name, "form", h.share, h.reply) for h in sorted(low, key=lambda h: -h.share)[:1]]


def _trusted(session: Session, asker: Asker) -> tuple[float, float] | None:
    """(what ignorance earns, what a right answer does) of the trusted reward. Raises UsageError where it is none."""
    if not session.settings.trusted:
        return None
    w = asker.world
    try:
        right = mean(asker.pay(w.numbers, [w.form.say(r) for r in w.references], "trusted"))
        bare = mean(asker.pay(w.numbers, list(w.references), "trusted"))
        low = mean(asker.pay(w.numbers, ["I do not know." for _ in w.numbers], "trusted"))
    except Spent:
        return None
    high = max((v for v in (right, bare) if v is not None), default=0.0)
    if low is None or high <= low + SMALL:
        raise UsageError(
            f"the trusted reward {session.settings.trusted} pays the reference ({high:.3g}) no more than an ignorant "
            "reply. Give one that does, or the reference's column: --reference COLUMN."
        )
    return low, high


def _informed(session: Session, asker: Asker, levels: Levels) -> None:
    """What replies that hold the reference earn."""
    if not levels.known:
        return
    w = asker.world
    rows = [n for n in w.numbers if w.references[n]][:12]
    for one in session.each(informed.informed(w), lambda i: "informed"):
        said = [one.says(w, n) for n in rows]
        found = mean(asker.pay(rows, said))
        session.kinds.setdefault(f"informed: {one.means}")
        if found is not None:
            session.paid.append(records.Paid(one.name, one.means, levels.share(found), said[0]))


def _breaks(session: Session) -> list[str]:
    """Attacks on which the reward raised, hung or ended, by what it did."""
    return [f"{a.name}: {w.broke}" for a, w in session.weighed if w.broke]
