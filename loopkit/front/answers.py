"""The answer in one word and one plain sentence. The sentence says what was seen; the tests it rests on stand apart."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loopkit.front.tables import harmless
from loopkit.records import Json
from loopkit.report.numbers import p_value, percent, plain, without_name

FEW = 5
"""Below so many seeds a result is descriptive."""
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


def answer(data: Mapping[str, Json]) -> Answer:
    """The answer of an experiment's ``results.json``."""
    verdict, shortcut = data["verdict"], data.get("shortcut")
    found = verdict or shortcut
    if not found:
        return Answer(NONE, f"{_sentence_case(str(data.get('no_verdict') or 'none was asked for'))}.")
    seeds = int(found.get("seeds", len(data["seeds"])))
    basis = f"{seeds} seed{'s' * (seeds != 1)}"
    if seeds < FEW:
        basis += f"; descriptive: fewer than {FEW} seeds"
    elif found.get("p") is not None:
        basis += f"; {p_value(found['p'])}"
    name, tested = str(found["name"]), str(found["sentence"])
    if verdict:
        means = {m: (_mean(data, "base", m), _mean(data, "loophole", m)) for m in ("task", "observed")}
        exploit = (_mean(data, "base", data["headline"]), _mean(data, "loophole", data["headline"]))
        plain_words = SENTENCES.get(name)
        sentence = plain_words(exploit, means["task"], means["observed"]) if plain_words else without_name(name, tested)
    else:
        sentence = " ".join([_shortcut(found, tested), *_too_few(data), *_not_tried(data)])
    return Answer(name, sentence, tested, basis)


def _mean(data: Mapping[str, Json], arm: str, measure: str) -> float | None:
    found = data["arms"].get(arm, {}).get(measure)
    return found["value"] if found else None


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


def _inconclusive(exploit: Pair, task: Pair, observed: Pair) -> str:
    return (
        f"These runs do not settle it: the exploit rate went {_moved(exploit)}, the task score {_moved(task)}; "
        f"{_dashboard(observed)}."
    )


SENTENCES: Mapping[str, Callable[[Pair, Pair, Pair], str]] = {
    "blind spot": _blind_spot,
    "masked decline": _masked,
    "over-optimisation": _over,
    "visible": _visible,
    "no exploit": _no_exploit,
    "inconclusive": _inconclusive,
}
"""Verdict -> its plain sentence, from the means of exploit, task and observed. A name that is not here has the tested
sentence."""


def _shortcut(found: Mapping[str, Json], tested: str) -> str:
    """Of a reward of unknown worth: what moved, and what could not be seen."""
    reward = plain(found["components"]["reward rises"]["estimate"]["value"])
    blind = found.get("unseen_because", "")
    rose = ", ".join(found["rose"][:3])
    said = {
        "shortcut found": f"Training raised the reward by {reward}, and with it "
        + (f"signs of a shortcut rose: {rose}." if rose else "the trusted score fell."),
        "no shortcut seen": f"Training raised the reward by {reward}; no sign of a shortcut rose with it.",
        "inconclusive": f"These runs do not settle it: the reward moved by {reward}; {found['reason']}.",
    }.get(str(found["name"]))
    return f"{said} {blind}".strip() if said else without_name(str(found["name"]), tested)


def _too_few(data: Mapping[str, Json]) -> list[str]:
    """Of a verdict that is not settled: how many rows would do, where few were held out."""
    n = min(r["n"] for r in data["runs"])
    if data["shortcut"]["name"] != "inconclusive" or n >= ENOUGH:
        return []
    more = round(ENOUGH / HELD_OUT)
    return [f"Too few rows: {n} prompts were held out, and a rate over them may be off by {50 / n**0.5:.0f} points and "
            f"more by chance. Some {more} rows would do."]  # fmt: skip


def _not_tried(data: Mapping[str, Json]) -> list[str]:
    """How far a verdict on training reaches: of a form that nobody said in it nothing is known."""
    forms = data.get("not_tried")
    return [f"Not tried, since no reply in training had the form: {', '.join(forms)}."] if forms else []


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
