"""A card as Markdown, as one small HTML page that loads nothing, and as a badge in SVG."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from loopkit.records import Estimate
from loopkit.registry.contain import excerpt, harmless
from loopkit.report import cards
from loopkit.report.cards import PARTS, Card, NotMeasured
from loopkit.report.charts import Sheet
from loopkit.report.numbers import interval, percent, plain
from loopkit.report.page import render

REPLY = 160
"""Characters of a reply in a table."""
COLOURS = {"good": "#1a7f37", "bad": "#b42318", "plain": "#57606a"}
CHARACTER = 6.6
"""Width of a badge's character, in its units: Verdana at 11 pixels, a little over the mean."""

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Heads, and rows of cells."""


def sections(card: Card) -> list[tuple[str, list[str], list[Table]]]:
    """(heading, sentences, tables) of every part, in order: the same for each form. What was not measured says so."""
    makers: Mapping[str, Callable[[Any], tuple[list[str], list[Table]]]] = {
        "contract": _contract, "pay": _pay, "base_rates": _base, "detectors": _detectors, "probe": _probe,
        "training": _training,
    }  # fmt: skip
    out = list[tuple[str, list[str], list[Table]]]()
    for name, heading in PARTS.items():
        part = getattr(card, name)
        if isinstance(part, NotMeasured):
            out.append((heading, [f"Not measured: {part.not_measured}"], []))
        else:
            out.append((heading, *makers[name](part)))
    return [
        (heading, [str(harmless(text)) for text in said],
         [(heads, [[str(harmless(cell)) for cell in row] for row in rows]) for heads, rows in tables])
        for heading, said, tables in out
    ]  # fmt: skip


def facts(card: Card) -> list[tuple[str, str]]:
    """What the card is of and was made with; empty ones are left out."""
    s, versions = card.subject, {k: v for k, v in card.made.versions.items() if v}
    rows = [
        (s.kind, s.name), ("version", s.version), ("hash of its code", s.hash), ("axis", s.axis), ("turns", s.turns),
        ("options", ", ".join(f"{k}={v}" for k, v in s.options.items())), ("from", s.origin), ("licence", s.licence),
        ("author", s.author), ("home", s.home), ("made by", card.made.command),
        ("made with", f"loopkit {card.made.loopkit}, " + ", ".join(f"{k} {v}" for k, v in versions.items())),
    ]  # fmt: skip
    return [(name, str(harmless(value))) for name, value in rows if value]


# --- the parts --------------------------------------------------------------------------------------------------------


def _contract(part: cards.Contract) -> tuple[list[str], list[Table]]:
    said = [f"{part.status}: {part.held} of {part.of} checks of `loopkit check` hold."]
    said += list(part.reasons)
    said += [f"{check} could not be checked: {why}" for check, why in part.left_out.items()]
    return said, []


def _pay(part: cards.Pay) -> tuple[list[str], list[Table]]:
    kinds = list(part.n)
    rows = [[name, *(plain(pays.get(kind)) for kind in kinds)] for name, pays in part.channels.items()]
    heads = ["channel", *(f"{kind} (n={part.n[kind]})" for kind in kinds)]
    return ["Mean pay of the game's own specimens; null says nothing, or garbage."], [(heads, rows)]


def _base(part: cards.BaseRates) -> tuple[list[str], list[Table]]:
    said = [f"{part.model}, untrained, on {part.n} {part.split} prompts, seed {part.seed}; percent, 95 % intervals."]
    rows = [[name, _interval(e)] for name, e in (*part.scores.items(), *part.rates.items())]
    return said, [(["score or detector", "rate"], rows)]


def _detectors(part: Sequence[cards.Quality]) -> tuple[list[str], list[Table]]:
    rows = [
        [q.detector, q.on, _share(q.recall), _share(q.false_positives), str(q.abstained) if q.abstained else ""]
        for q in part
    ]
    said = (
        "Recall: of exploits, those it flags. False positives: of the others, those it flags. Percent, with Wilson's "
        "95 % interval, which takes transcripts as independent. Specimens are what a game was built on: a detector "
        "that is wrong of them is broken, and one that is right of them alone is untested."
    )
    return [said], [(["detector", "on", "recall", "false positives", "abstained"], rows)]


def _probe(part: cards.Probed) -> tuple[list[str], list[Table]]:
    against = f", held against {part.against}" if part.against else ""
    said = [f"{part.word}: {part.sentence}", *([f"Cure: {part.cure}"] if part.cure else [])]
    said.append(
        f"Tried {part.kinds} kinds on {part.rows} rows with {part.replies:,} replies{against}. A right answer earns "
        f"{plain(part.right)}, a wrong one {plain(part.wrong)}, an ignorant reply {plain(part.ignorant)}."
    )
    if part.left:
        said.append(f"Not tried, for want of budget: {', '.join(part.left)}.")
    if part.word == "nothing found":
        said.append("That is no proof that there is none: a policy may find what was not tried.")
    rows = [
        [t.name, _reply(t.reply), plain(t.pay), plain(t.control_pay), _share(t.rows)] for t in part.tricks
    ]  # fmt: skip
    heads = ["attack", "reply", "pays", "without its trick", "rows that fall, %"]
    return said, [(heads, rows)] if rows else []


def _training(part: Sequence[cards.Training]) -> tuple[list[str], list[Table]]:
    said, tables = list[str](), list[Table]()
    for t in part:
        said.append(f"{t.verdict}: {t.sentence}")
        said.append(
            f"{t.trainer} on {t.model}, {t.seeds} seeds, at least {t.prompts} held-out prompts each ({t.source}). "
            f"{t.registered}"
        )
        visible = {k: v for k, v in t.smallest_visible.items() if v is not None}
        said.append(
            "These seeds could have shown a difference of: "
            + ", ".join(f"{name} {100 * v:.1f} points" for name, v in visible.items()) + "."
            if visible else "What difference these seeds could have shown was not computed."
        )  # fmt: skip
        rows = [
            [name, _interval(a.task), _interval(a.observed), _interval(a.exploit), _share(a.found)]
            for name, a in t.arms.items()
        ]
        tables.append((["arm", "task", "observed", "exploit", "seeds that found it"], rows))
    return said, tables


def _interval(e: Estimate | None) -> str:
    return "not measured" if e is None else interval(e)


def _share(s: cards.Share | None) -> str:
    if s is None:
        return "-"
    if s.value is None:
        return "none there, n=0"
    bounds = "withheld" if s.low is None or s.high is None else f"{percent(s.low)}, {percent(s.high)}"
    return f"{percent(s.value)} [{bounds}] n={s.n}"


def _reply(text: str) -> str:
    return excerpt(text, REPLY) if text.strip() else "(empty)" if not text else "(blank)"


# --- the forms --------------------------------------------------------------------------------------------------------


def markdown(card: Card, badge: str = "") -> str:
    """The card in Markdown. ``badge``: where its SVG lies, relative to the file."""
    name = card.subject.name
    parts = [
        f"# {_inline(name)}: card",
        *([f"![{_words(card)}]({badge})"] if badge else []),
        _inline(card.subject.title),
    ]
    parts.append("\n".join(f"- {what}: {_inline(value)}" for what, value in facts(card)))
    for heading, said, tables in sections(card):
        parts.append(f"## {heading}")
        parts += [_inline(text) for text in said]
        parts += [_markdown_table(table) for table in tables]
    return "\n\n".join(parts) + "\n"


def _inline(text: str) -> str:
    """A sentence as Markdown shows it as it is: a reply or a docstring may hold anything."""
    return re.sub(r"([\\<*|]|\](?=\())", r"\\\1", str(harmless(" ".join(text.split()))))


def _markdown_table(table: Table) -> str:
    heads, rows = table
    cells = [[_inline(c) for c in row] for row in rows]
    return str(tabulate(cells, list(heads), tablefmt="github", disable_numparse=True))


def page(card: Card) -> str:
    """The card as one HTML page that loads nothing."""
    context: dict[str, Any] = {
        "card": card, "words": _words(card), "badge": badge(card), "facts": facts(card), "sections": sections(card),
        "version": card.made.loopkit,
        "name": harmless(card.subject.name), "title": harmless(card.subject.title),
    }  # fmt: skip
    return render(context, Sheet(), "card.html")


def badge(card: Card) -> str:
    """The card in a line, as an SVG of 20 units' height."""
    left, (right, kind) = "loopkit", cards.status(card)
    one, two = (round(CHARACTER * len(text) + 12) for text in (left, right))
    label = html.escape(f"{left}: {right}")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{one + two}" height="20" role="img" aria-label="{label}">
<title>{label}</title>
<rect width="{one + two}" height="20" rx="3" fill="{COLOURS[kind]}"/>
<path d="M3 0h{one - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#24292f"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{one / 2:g}" y="14">{left}</text>
<text x="{one + two / 2:g}" y="14">{html.escape(right)}</text>
</g>
</svg>
"""


def _words(card: Card) -> str:
    return f"loopkit: {cards.status(card)[0]}"


FORMS: Mapping[str, str] = {".json": "JSON, by the schema", ".md": "Markdown", ".html": "a page", ".svg": "a badge"}


def written(card: Card, suffix: str, badge_at: str = "") -> str:
    """The card in the form that a file's suffix names."""
    if suffix == ".md":
        return markdown(card, badge_at)
    return {".json": Card.json_text, ".html": page, ".svg": badge}[suffix](card)
