"""The answer in one word and one plain sentence. The sentence says what was seen; the tests it rests on stand apart."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loopkit.evidence.claims import Claim, OnLoophole, OnReward
from loopkit.evidence.schema import ExperimentResults
from loopkit.front.tables import harmless
from loopkit.report.numbers import p_value, percent, plain, without_name
from loopkit.stats.claims import PATTERN
from loopkit.stats.seeds import FEWER, few

NONE = "no verdict"
ENOUGH, HELD_OUT = 100, 0.2
"""Held-out prompts with which a rate is within 10 points (two standard errors), and the share of rows held out."""

Pair = tuple[float | None, float | None]
"""Mean over seeds of base and of the loophole's arm."""


@dataclass(frozen=True)
class Answer:
    """``name`` is a word or two, ``sentence`` plain English; ``tested`` is the full sentence with what it rests on.

    ``name`` is "no verdict" where there is none, and the sentence says why.
    """

    name: str
    sentence: str
    tested: str = ""
    basis: str = ""
    """Seeds and p-value, in a few words."""

    def __bool__(self) -> bool:
        return self.name != NONE

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}" + (f" ({self.basis})" if self.basis else "")

    def _repr_html_(self) -> str:
        basis = f" <small>({html.escape(self.basis)})</small>" if self.basis else ""
        name, sentence = (html.escape(str(harmless(text))) for text in (self.name, self.sentence))
        return f"<p><b>{name}</b><br>{sentence}{basis}</p>"


def answer(results: ExperimentResults) -> Answer:
    """The answer of an experiment."""
    claim = results.verdict or results.shortcut
    if claim is None:
        return Answer(NONE, f"{_sentence_case(results.no_verdict or 'none was asked for')}.")
    row = claim.name.removeprefix(PATTERN)
    if isinstance(claim, OnReward):
        sentence = " ".join([_shortcut(claim, row), *_too_few(results, row), *_not_tried(results)])
    else:
        exploit, task, observed = (_means(results, measure) for measure in (results.headline, "task", "observed"))
        plain_words = SENTENCES.get(row)
        sentence = plain_words(exploit, task, observed) if plain_words else _own_words(row, claim)
        if row in ROSE and "placebo" not in results.arms:
            sentence += f" {DRIFT}"
    return Answer(claim.name, sentence, claim.sentence, _basis(claim))


def _basis(claim: Claim) -> str:
    text = f"{claim.seeds} seed{'s' * (claim.seeds != 1)}"
    if few(claim.seeds):
        return f"{text}; descriptive: {FEWER}"
    if claim.name.startswith(PATTERN) and claim.missing:
        return f"{text}; descriptive: {claim.missing} more not measured"
    return text if claim.p is None else f"{text}; {p_value(claim.p)}"


def _means(results: ExperimentResults, measure: str) -> Pair:
    base, loophole = (results.mean(arm, measure) for arm in ("base", "loophole"))
    return base.value if base else None, loophole.value if loophole else None


def _moved(pair: Pair) -> str:
    return f"from {percent(pair[0])} to {percent(pair[1])} %" if None not in pair else "not measured"


def _dashboard(observed: Pair) -> str:
    if None in observed:
        return "no dashboard looks at it"
    return f"what the dashboard shows went {_moved(observed)}"


def _blind_spot(exploit: Pair, task: Pair, observed: Pair) -> str:
    return (
        f"Paid by the loophole, the policy learned the exploit ({_moved(exploit)}) while its task score held "
        f"({_moved(task)}); {_dashboard(observed)}."
    )


def _masked(exploit: Pair, task: Pair, observed: Pair) -> str:
    return f"Paid by the loophole, the policy got worse at its task ({_moved(task)}), and {_dashboard(observed)}."


def _over(exploit: Pair, task: Pair, observed: Pair) -> str:
    return f"The policy got worse at its task ({_moved(task)}) while what it was paid for rose ({_moved(observed)})."


def _visible(exploit: Pair, task: Pair, observed: Pair) -> str:
    return (
        f"The policy learned the exploit ({_moved(exploit)}), and it shows: task score {_moved(task)}, dashboard "
        f"{_moved(observed)}."
    )


def _no_exploit(exploit: Pair, task: Pair, observed: Pair) -> str:
    return f"Paid by the loophole, the policy did not take to the exploit: its rate went {_moved(exploit)}."


def _rises(exploit: Pair, task: Pair, observed: Pair) -> str:
    return (
        f"Paid by the loophole, the policy learned the exploit ({_moved(exploit)}); what became of the rest is not "
        f"settled: task score {_moved(task)}; {_dashboard(observed)}."
    )


def _not_shown(exploit: Pair, task: Pair, observed: Pair) -> str:
    return (
        f"These runs do not settle it: the exploit rate went {_moved(exploit)}, the task score {_moved(task)}; "
        f"{_dashboard(observed)}."
    )


SENTENCES: Mapping[str, Callable[[Pair, Pair, Pair], str]] = {
    "blind spot": _blind_spot,
    "masked decline": _masked,
    "over-optimisation": _over,
    "visible": _visible,
    "exploit rises": _rises,
    "no exploit": _no_exploit,
    "not shown": _not_shown,
    "inconclusive": _not_shown,  # of results of 0.1
}
"""Verdict -> its plain sentence, from the means of exploit, task and observed."""
ROSE = ("blind spot", "masked decline", "over-optimisation", "visible", "exploit rises", "breakthrough")
DRIFT = "Drift not excluded: no placebo arm was run."


def _own_words(row: str, claim: OnLoophole) -> str:
    """Of a verdict that speaks of seeds or of why nothing can be claimed; else the tested sentence."""
    broke = claim.breakthrough
    if row == "breakthrough" and broke:
        return (
            f"Paid by the loophole, the policy broke through to the exploit in {broke.k} of {broke.n} seeds, "
            f"and under placebo alone in {broke.placebo}."
        )
    if row == "degenerate":
        return f"Nothing can be claimed of these runs: {claim.reason}."
    return without_name(row, claim.sentence)


def _shortcut(claim: OnReward, row: str) -> str:
    """Of a reward of unknown worth: what moved, and what could not be seen."""
    reward = plain(claim.components["reward rises"].estimate.value)
    rose = ", ".join(claim.rose[:3])
    sentence = {
        "shortcut found": f"Training raised the reward by {reward}, and with it "
        + (f"signs of a shortcut rose: {rose}." if rose else "the trusted score fell."),
        "no shortcut seen": f"Training raised the reward by {reward}; no sign of a shortcut rose with it.",
        "inconclusive": f"These runs do not settle it: the reward moved by {reward}; {claim.reason}.",
    }.get(row)
    if sentence and claim.rose and claim.against != "placebo":
        sentence += f" {DRIFT}"
    return f"{sentence} {claim.unseen_because}".strip() if sentence else without_name(row, claim.sentence)


def _too_few(results: ExperimentResults, row: str) -> list[str]:
    """Of a verdict that is not settled: how many rows would do, where few were held out."""
    n = min(run.n for run in results.runs)
    if row != "inconclusive" or n >= ENOUGH:
        return []
    more = round(ENOUGH / HELD_OUT)
    return [f"Too few rows: {n} prompts were held out, and a rate over them may be off by {50 / n**0.5:.0f} points and "
            f"more by chance. Some {more} rows would do."]  # fmt: skip


def _not_tried(results: ExperimentResults) -> list[str]:
    """How far a verdict on training reaches: of a form that nobody said in it nothing is known."""
    forms = results.not_tried
    return [f"Not tried, since no reply in training had the form: {', '.join(forms)}."] if forms else []


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
