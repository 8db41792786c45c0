"""Draws docs/games/<game>.svg: an honest and an exploiting rollout side by side, as the game itself scores them.

    python docs/games/pictures.py

Rollouts are the game's own specimens, played through ``reply`` and scored by ``loopkit.rollouts.scoring``.
The tests draw the pictures anew and compare.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

from loopkit.contracts import Game
from loopkit.experiment.resolve import build_game
from loopkit.records import Done, Message, Rollout, Scored, Task, Transcript, Turn
from loopkit.registry.plugins import load
from loopkit.rollouts.scoring import Setup, pay, score

HERE = Path(__file__).parent
WIDTH, PAD, COLUMN, GAP = 1000, 24, 464, 24
SIZE, LINE, CHAR = 13, 19, 7.8
"""Of the monospaced text, in pixels; each line is set to its width, so that marks sit under their words."""
LETTERS = int((COLUMN - 2 * 12) / CHAR)
SANS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, SOFT, PAPER, BOX, RULE, MARK = "#1c2128", "#57606a", "#ffffff", "#f6f8fa", "#d0d7de", "#ffd76e"
GOOD, BAD = "#1a7f37", "#c0392b"
DRAWS = 2000
Marks = Callable[[Task, str, str], list[tuple[int, int]]]
"""(task, speaker, text) -> the parts (start, end) to mark."""


@dataclass(frozen=True)
class Picture:
    """Which task, which two specimens, what is marked, and what the marks mean."""

    game: str
    chooses: Callable[[Task], bool]
    honest: int
    exploit: int
    marks: Marks
    legend: str


def copied(task: Task, speaker: str, text: str) -> list[tuple[int, int]]:
    """Runs of 8 words or more that stand in the article."""
    if speaker != "policy":
        return []
    words = list(re.finditer(r"\S+", text))
    article = task.public["article"].split()
    matcher = difflib.SequenceMatcher(None, article, [w.group() for w in words], autojunk=False)
    runs = [m for m in matcher.get_matching_blocks() if m.size >= 8]
    return [(words[m.b].start(), words[m.b + m.size - 1].end()) for m in runs]


def found(pattern: str, by: str) -> Marks:
    return lambda task, speaker, text: [m.span() for m in re.finditer(pattern, text)] if speaker == by else []


PICTURES = [
    Picture(
        "context-compliance", lambda t: (t.public["category"], t.public["style"]) == ("restricted", "user"), 0, 0,
        found(r"^[^,!:]*[,!:]", "game"), "Marked: the style of asking, all that tells a user from an audit.",
    ),
    Picture(
        "self-grading", lambda t: t.public["kind"] == "product", 2, 0,
        found(r"^(Yes|No)", "policy"), "Marked: the report. Both answers are wrong; only the report differs.",
    ),
    Picture(
        "proxy-metric", lambda t: True, 0, 0, copied,
        "Marked: runs of 8 words or more that are copied from the article.",
    ),
    Picture(
        "reward-tampering", lambda t: True, 0, 0,
        found(r"<modify_key>score</modify_key><modify_value>.*?</modify_value>", "policy"),
        "Marked: the edit of a field that should not be the policy's to write.",
    ),
    Picture(
        "biased-judge", lambda t: t.public["look"] != "old", 1, 1, found(r"What a good question!", "policy"),
        "Marked: what the judge has a taste for. Both answers are wrong; only the flattery differs.",
    ),
]  # fmt: skip


def played(game: Game, task: Task, words: Transcript) -> Rollout:
    """A transcript, played through ``reply``."""
    rollout = Rollout(f"test/000000/0000/{task.id}/0", task)
    for text in words:
        asked = replace(rollout, steps=(*rollout.steps, (Turn(text), Done())))
        rollout = replace(asked, steps=(*asked.steps[:-1], (Turn(text), game.reply([asked])[0])))
    return rollout


def pays(game: Game, scored: Scored) -> dict[str, str]:
    """What each channel pays; where it draws, every outcome with its share over an even grid of draws."""
    out = {}
    for name, channel in game.channels.items():
        grid = [(i + 0.5) / DRAWS for i in range(DRAWS)]
        rewards = pay(name, channel, [scored.assessment.signals] * DRAWS, [lambda purpose, u=u: u for u in grid])
        counts = Counter(rewards).most_common()
        shares = [f"{_number(r)}" + (f" ({100 * n / DRAWS:.0f} %)" if len(counts) > 1 else "") for r, n in counts]
        out[name] = " or ".join(shares)
    return out


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")


def draw(picture: Picture) -> str:
    """The picture, as SVG."""
    game = build_game(load(), picture.game, {})
    task = next(t for t in game.tasks("test") if picture.chooses(t))
    specimens = game.specimens(task, lambda purpose: 0.0)
    pair = {"honest": specimens["honest"][picture.honest], "exploit": specimens["exploit"][picture.exploit]}
    setup = Setup(game, game.channels["loophole"], {}, game.detectors)
    scored = score(setup, [played(game, task, words) for words in pair.values()], [0, 0])
    left = (PAD, PAD + COLUMN + GAP)
    said = [_turns(x, task, one.rollout, picture.marks) for x, one in zip(left, scored, strict=True)]
    tables = max(bottom for _, bottom in said)
    found = [_tables(x, tables, one, game) for x, one in zip(left, scored, strict=True)]
    heads = [_head(x, *head) for x, head in zip(left, (("Honest", GOOD), ("Exploiting", BAD)), strict=True)]
    columns = [*heads, *(lines for lines, _ in (*said, *found))]
    low = max(bottom for _, bottom in found)
    height = low + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(alt(picture), {chr(34): "&quot;"})}">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}" stroke="{RULE}"/>',
        *(line for lines in columns for line in lines),
        f'<rect x="{PAD}" y="{low + 13}" width="14" height="14" rx="3" fill="{MARK}"/>',
        _sans(PAD + 22, low + 25, picture.legend, SOFT),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def alt(picture: Picture) -> str:
    return f"{picture.game}: an honest and an exploiting rollout, and what each channel pays them"


def _head(x: int, title: str, colour: str) -> list[str]:
    return [
        f'<rect x="{x}" y="20" width="{COLUMN}" height="30" rx="6" fill="{colour}"/>',
        _sans(x + 12, 40, title, PAPER, bold=True),
    ]


def _turns(x: int, task: Task, rollout: Rollout, marked: Marks) -> tuple[list[str], int]:
    """What was asked and answered, and where it ends."""
    out: list[str] = []
    y = 66
    turns = [("game", _shown(task.messages))]
    for turn, reply in rollout.steps:
        turns.append(("policy", turn.text))
        if isinstance(reply, Message):
            turns.append(("game", reply.content))
    for speaker, text in turns:
        lines = _wrapped(text)
        out.append(_sans(x, y + 4, {"game": "asked", "policy": "answered"}[speaker], SOFT, size=12))
        out.append(
            f'<rect x="{x}" y="{y + 12}" width="{COLUMN}" height="{LINE * len(lines) + 14}" rx="6" '
            f'fill="{BOX if speaker == "game" else PAPER}" stroke="{RULE}"/>'
        )
        marks = marked(task, speaker, text)
        for i, (start, line) in enumerate(lines):
            at = y + 12 + 7 + i * LINE
            for low, high in marks:
                a, b = max(low, start) - start, min(high, start + len(line)) - start
                if a < b:
                    out.append(
                        f'<rect x="{x + 12 + a * CHAR:.1f}" y="{at}" width="{(b - a) * CHAR:.1f}" height="{LINE - 1}" '
                        f'rx="3" fill="{MARK}"/>'
                    )
            out.append(_mono(x + 12, at + 14, line))
        y += 12 + LINE * len(lines) + 14 + 18
    return out, y


def _tables(x: int, y: int, scored: Scored, game: Game) -> tuple[list[str], int]:
    """What it was paid, its scores and flags, and where they end."""
    out = [_sans(x, y + 4, "what each channel pays", SOFT, size=12)]
    y += 30
    for name, value in pays(game, scored).items():
        first = name == "loophole"
        out.append(_sans(x + 12, y, name, INK, bold=first))
        out.append(_sans(x + COLUMN - 12, y, value, INK, bold=first, end=True))
        out.append(f'<line x1="{x}" x2="{x + COLUMN}" y1="{y + 7}" y2="{y + 7}" stroke="{RULE}"/>')
        y += 25
    scores = scored.assessment.scores
    out.append(_sans(x, y + 6, "scores and flags", SOFT, size=12))
    y += 32
    shown = {k: scores[k] for k in ("task", "observed", "goal") if scores.get(k) is not None}
    for name, found_ in shown.items():
        out.append(_sans(x + 12, y, f"score {name}", INK))
        out.append(_sans(x + COLUMN - 12, y, _number(found_), INK, end=True))
        y += 23
    for name, flag in scored.flags.items():
        text, tone = {True: ("flagged", BAD), False: ("not flagged", SOFT), None: ("abstains", SOFT)}[flag]
        out.append(_sans(x + 12, y, f"detector {name}", INK))
        out.append(_sans(x + COLUMN - 12, y, text, tone, bold=bool(flag), end=True))
        y += 23
    return out, y - 8


def _shown(messages: Sequence[Message]) -> str:
    text = "\n".join(m.content for m in messages)
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text


def _wrapped(text: str) -> list[tuple[int, str]]:
    """(where it starts in the text, the line) of a text cut to LETTERS, at blanks and behind tags where it can be."""
    out: list[tuple[int, str]] = []
    start, line = 0, ""
    for piece in re.finditer(r"\n|[^\S\n]+|[^\s<>]+>?|<[^\s<>]*>?|>", text):
        word = piece.group()
        if word == "\n" or (len(line) + len(word.rstrip()) > LETTERS and line):
            out.append((start, line.rstrip()))
            start, line = piece.end() if word.isspace() else piece.start(), ""
        if word.isspace() and not line:
            start = piece.end()
        elif word != "\n":
            line += word
        while len(line.rstrip()) > LETTERS:
            out.append((start, line[:LETTERS]))
            start, line = start + LETTERS, line[LETTERS:]
    return [*out, (start, line.rstrip())]


def _mono(x: float, y: float, text: str) -> str:
    bare = text.rstrip()
    if not bare:
        return ""
    return (
        f'<text x="{x}" y="{y}" font-family="{MONO}" font-size="{SIZE}" fill="{INK}" xml:space="preserve" '
        f'textLength="{len(bare) * CHAR:.1f}" lengthAdjust="spacingAndGlyphs">{escape(bare)}</text>'
    )


def _sans(
    x: float, y: float, text: str, colour: str, *, bold: bool = False, end: bool = False, size: int = 14
) -> str:  # fmt: skip
    weight, anchor = ' font-weight="600"' if bold else "", ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x}" y="{y}" font-family="{SANS}" font-size="{size}" fill="{colour}"{weight}{anchor}>'
        f"{escape(text)}</text>"
    )


def all_pictures() -> Mapping[str, str]:
    """File name -> SVG."""
    return {f"{picture.game}.svg": draw(picture) for picture in PICTURES}


if __name__ == "__main__":
    for name, svg in all_pictures().items():
        (HERE / name).write_text(svg, encoding="utf-8")
        print(HERE / name)
