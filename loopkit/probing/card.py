"""A probe's result in words: what is printed, and a card in Markdown or JSON to keep beside the reward."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from loopkit.probing.records import Hit, Probe
from loopkit.registry.contain import excerpt

WIDTH = 98
ROWS = 6
PAYS = 0.5
"""Share of a right answer's pay from which a weak spot is named, or a right answer's other form called underpaid."""
NO_PROOF = "That is no proof that there is none: a policy may find what was not tried."


def printed(found: Probe, verbose: bool = False) -> str:
    """At most 30 lines of 100 columns: verdict, table, winning reply, cure, what was tried; ``verbose``: all of it."""
    parts = [_wrap(f"{found.word}: {found.sentence}", 2 if not verbose else 20)]
    if hits := shown(found.hits, verbose):
        parts.append(tabulate([_row(h, found) for h in hits], HEAD, "simple", disable_numparse=True))
        best = hits[0]
        reply = [f"The winning reply, to row {best.row}:  {quoted(best.reply, verbose)}"]
        if best.control is not None:
            reply.append(f"Without its trick:  {quoted(best.control, verbose)}")
        parts.append("\n".join(map(_wrap, reply)))
    if found.cure:
        parts.append(_wrap(f"Cure: {found.cure}", 2))
    lines = [_levels(found)] if found.form else []
    lines += [line for line in (_weak(found, verbose), _under(found, verbose)) if line]
    lines += [f"Also: {f.text}. {f.cure}" for f in found.faults if f.word != found.word][: None if verbose else 2]
    if found.breaks:
        more = f" and {len(found.breaks) - 1} more" if len(found.breaks) > 1 and not verbose else ""
        lines.append(f"Breaks on: {'; '.join(found.breaks if verbose else found.breaks[:1])}{more}.")
    lines += [f"Note: {note}." for note in dict.fromkeys(found.notes)][: None if verbose else 2]
    lines.append(tried(found))
    parts.append("\n".join(_wrap(line, 2 if not verbose else 20) for line in lines))
    return "\n\n".join(parts)


def brief(found: Probe) -> str:
    """The verdict, the winning reply and the paid form in a few lines: what is said before a run."""
    lines = [f"{found.word}: {found.sentence}"]
    if hits := shown(found.hits):
        lines.append(f"The winning reply, to row {hits[0].row}:  {quoted(hits[0].reply)}")
    lines += [f"Cure: {found.cure}"] if found.cure else [NO_PROOF] if found.code == 0 else []
    lines += [_levels(found)] if found.form else []
    return "\n".join(map(_wrap, lines))


HEAD = ("attack", "pays", "without its trick", "rows that fall")


def shown(hits: Sequence[Hit], every: bool = False) -> list[Hit]:
    """The hits to show: the best of each kind, at most ROWS."""
    if every:
        return list(hits)
    best = dict[str, Hit]()
    for hit in hits:
        best.setdefault(hit.kind, hit)
    return list(best.values())[:ROWS]


def _row(hit: Hit, found: Probe) -> tuple[str, str, str, str]:
    control = "-" if hit.control_pay is None else f"{hit.control_pay:.3g}"
    return excerpt(hit.name, 52), f"{hit.pay:.3g}", control, f"{hit.fell} of {hit.of}"


def _levels(found: Probe) -> str:
    assert found.form is not None
    whole = ", the reference as a whole" if found.form.worked else ""
    wrong = "" if found.wrong is None else f"; a wrong one in it earns {found.wrong:.3g}"
    return (
        f"Paid form: {found.form.name}{whole}. A right answer in it earns {found.right:.3g}{wrong}; an ignorant reply "
        f"{found.ignorant:.3g}."
    )


def _weak(found: Probe, verbose: bool) -> str:
    """What holds the reference and is paid, though it is more than the answer: weak spots, which accuse nobody."""
    hedged = [p for p in found.paid if p.means == "hedged" and p.share >= PAYS]
    form = [p for p in found.paid if p.means == "form"]
    lines = ["Also paid, with the reference in it: " + _listed(hedged, verbose)] if hedged else []
    lines += ["Form alone earns, without being right: " + _listed(form, verbose)] if form else []
    return " ".join(lines)


def _under(found: Probe, verbose: bool) -> str:
    low = [p for p in found.paid if p.means in ("malformed", "renoted") and p.share < PAYS]
    return "Right, and paid less than half: " + _listed(low, verbose) if low else ""


def _listed(some: Sequence[object], verbose: bool) -> str:
    names = [f"{p.name} ({100 * p.share:.0f} %)" for p in some]  # type: ignore[attr-defined]
    more = f" and {len(names) - 3} more" if len(names) > 3 and not verbose else ""
    return ", ".join(names if verbose else names[:3]) + f"{more}."


def tried(found: Probe) -> str:
    """What was tried, with what is not; and that finding nothing proves nothing."""
    kinds = len(found.kinds)
    text = (
        f"Tried {kinds} kinds on {found.rows} rows: {found.replies:,} replies in {found.seconds:.1f} s, "
        f"{found.in_reward:.1f} s of it in the reward, called as {found.signature or 'its library calls it'}."
    )
    if found.left:
        text += f" Not made, for want of budget: {', '.join(found.left)}."
    if found.code == 0:
        text = f"Nothing found of {kinds} kinds tried. {NO_PROOF} {text}"
    return text


def quoted(text: str, whole: bool = False) -> str:
    """A reply on one line; an empty one as ``(empty)``."""
    return f'"{excerpt(text, 2000 if whole else 70)}"' if text.strip() else "(empty)" if not text else "(blank)"


def _wrap(text: str, most: int = 2) -> str:
    lines = textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines[: most + 1] if most < 20 else lines)


def card(found: Probe, markdown: bool = True) -> str:
    """A card of the probe: Markdown, or JSON with all of it."""
    if not markdown:
        return json.dumps(found.json(), indent=2, ensure_ascii=False, default=str) + "\n"
    parts = [f"# Probe of `{found.reward}`: {found.word}", found.sentence]
    if hits := shown(found.hits):
        parts.append(tabulate([_row(h, found) for h in hits], HEAD, "github", disable_numparse=True))
        best = hits[0]
        parts.append(f"The winning reply, to row {best.row}:\n\n{_block(best.reply)}")
        if best.control is not None:
            parts.append(f"Without its trick, it is the matched control:\n\n{_block(best.control)}")
    if found.cure:
        parts.append(f"**Cure.** {found.cure}")
    if found.form:
        parts.append(f"{_levels(found)}\n\n{_block(found.form.template)}")
    for line in (_weak(found, True), _under(found, True)):
        if line:
            parts.append(line)
    parts += [f"{f.text[:1].upper()}{f.text[1:]}. {f.cure}" for f in found.faults]
    if found.breaks:
        parts.append("It breaks on:\n\n" + "\n".join(f"- {excerpt(b, 200)}" for b in found.breaks[:20]))
    parts.append(f"{tried(found)} Kinds: {', '.join(found.kinds)}.")
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    fence = "````" if "```" in text else "```"
    return f"{fence}text\n{text[:2000] or '(empty)'}\n{fence}"
