"""The documentation's pages as tests read them: their blocks, their commands, and a tutorial followed word for word."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.dists import Venv

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DOCS = [p for p in PAGES if p.parent != ROOT]
FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<why>[^\n]*?) -->\n\n?)?"
    r"^(?P<indent> *)```(?P<language>[^\s`]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.M | re.S,
)
FILE = re.compile(r"# (\w+\.py)\n")
"""A Python block that begins so is a file of that name; any other is run."""
NEAR = 20
"""Points: another machine or another version of torch warms up other weights."""


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    why: str | None
    """Why no test runs it: the comment ``<!-- not run: reason -->`` before it."""

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of these languages; of every language where none is named."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, m.start("text")) + 1, m["language"], m["text"], m["why"])
        for m in FENCE.finditer(text)
    ]
    return [b for b in found if not languages or b.language in languages]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def lines(block: Block) -> list[str]:
    """The command lines of a console or sh block: continuations joined, chains taken apart."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        found += [part.strip() for part in re.split(r"&&|;(?= )", line.strip().removeprefix("$ "))]
    return [line for line in found if line and not line.startswith("#")]


# --- a tutorial -------------------------------------------------------------------------------------------------------


def write_files(page: Path, into: Path) -> dict[str, str]:
    """The page's files, by name: every toml and python block of a tutorial begins with the name of one."""
    found = {}
    for block in blocks(page, "toml", "python"):
        named = re.match(r"# ([\w.]+)\n", block.text)
        assert named, f"{block}: a file without a name"
        found[named[1]] = block.text
        (into / named[1]).write_text(block.text)
    return found


def commands(page: Path) -> Iterator[tuple[str, str | None]]:
    """(command, what it prints) in the order of the page; the last command of a block prints the text that follows."""
    waiting: list[str] = []
    for block in blocks(page, "console", "text"):
        if block.language == "text":
            yield from ((command, None) for command in waiting[:-1])
            yield waiting[-1], block.text
            waiting = []
        else:
            waiting += [line.removeprefix("$ ") for line in block.text.splitlines()]
    assert not waiting


Compare = Callable[[str, str], None]
"""(printed, expected): holds what a command printed to what the page shows."""


def follow(page: Path, tmp_path: Path, compare: dict[str, Compare], made: Collection[str] = ()) -> list[str]:
    """Everything the page says, in a fresh environment and ``tmp_path/empty`` -> the commands that were run.

    The page's files are written first, but for those ``made`` by a command of it.

    What a command prints is what the page shows, but for the seconds that something took; ``compare`` has another
    comparison for the commands that begin so.
    """
    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = Venv(tmp_path / "venv", folder)
    for file in write_files(page, folder).keys() & {*made}:
        (folder / file).unlink()
    done = []
    for command, expected in commands(page):
        program, *arguments = shlex.split(command)
        if program == "pytest":  # the fresh environment sees the running one's modules, not its scripts
            program, arguments = "python", ["-m", "pytest", *arguments]
        printed = "".join(f"{line.rstrip()}\n" for line in fresh(program, *arguments).stdout.splitlines())
        done.append(command)
        if expected is not None:
            own = [c for start, c in compare.items() if command.startswith(start)]
            (own[0] if own else same)(printed, expected)
    return done


def same(printed: str, expected: str) -> None:
    assert untimed(printed) == untimed(expected)


def untimed(text: str) -> str:
    """Without the seconds that a check took."""
    return re.sub(r"\(\d+\.\d s\)", "(… s)", text)


def same_experiment(*names: str) -> Compare:
    """The same arms with means that are near, and the same verdict in the first line."""

    def compare(printed: str, expected: str) -> None:
        here, there = (dict(arms(text)) for text in (printed, expected))
        assert here.keys() == there.keys() == set(names)
        for arm in names:
            assert all(abs(a - b) <= NEAR for a, b in zip(here[arm], there[arm], strict=True)), (arm, printed)
        assert printed.splitlines()[0] == expected.splitlines()[0]

    return compare


def arms(text: str) -> Iterator[tuple[str, list[float]]]:
    """(arm, its means in the printed answer: task, observed, exploit; a column without a number is left out)."""
    for line in text.splitlines():
        if found := re.match(r"(\w[\w-]*)  +((?:[\d.-]+(?: \([+-][\d.]+\))?  +)+)", line):
            yield found[1], [float(n) for n in re.findall(r"(?:^| {2,})(-?\d[\d.]*)", found[2])]
