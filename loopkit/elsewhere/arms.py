"""Which arms there are and which runs they have: ``NAME=PATH`` words, or a small TOML file; a seed for each path."""

from __future__ import annotations

import glob
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.elsewhere.files import SUFFIXES
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import BASE
from loopkit.records import Json

SEED = re.compile(r"(?:^|[-_.])s(?:eed)?[-_=]?(\d{1,9})(?=$|[-_.])")
"""In the name of a file or directory: ``a-s3``, ``seed3``, ``run_seed-3.jsonl``."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
KNOWN = (BASE, "loophole", "control", "placebo")
"""Arms that a verdict speaks of; an arm of any other name is a fix of the loophole."""


@dataclass(frozen=True)
class Run:
    """One run of an arm: where it is recorded. ``own``: it is a run directory of loopkit's."""

    arm: str
    seed: int
    path: Path

    @property
    def own(self) -> bool:
        return (self.path / "run.toml").exists()


@dataclass(frozen=True)
class Arms:
    """The runs, arm by arm, the loophole's first; ``notes`` say what was assumed of them."""

    runs: Sequence[Run]
    notes: Sequence[str]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(run.arm for run in self.runs))


def of_words(words: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, Json]]:
    """``NAME=PATH`` words, or the name of one TOML file -> (arm -> paths, the file's other settings)."""
    if len(words) == 1 and words[0].endswith(".toml"):
        return of_file(Path(words[0]))
    out: dict[str, list[str]] = {}
    for word in words:
        arm, equals, path = word.partition("=")
        if not (equals and path and NAME.fullmatch(arm)):
            raise UsageError(
                f"{word!r} is no arm: write NAME=PATH with a name of small letters, such as loophole=runs/a-s0 or "
                "'control=logs/b-s*'; or name one TOML file."
            )
        out.setdefault(arm, []).append(path)
    return out, {}


def of_file(file: Path) -> tuple[dict[str, list[str]], dict[str, Json]]:
    """A TOML file with a table ``arms``: a path, a list of them, or a table seed -> path, beside the file."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(f"{file} is not TOML: {error}.") from error
    arms = data.pop("arms", None)
    if not isinstance(arms, dict) or not arms:
        raise UsageError(f'{file} has no table of arms. Write [arms], then loophole = ["logs/a-s0", "logs/a-s1"].')
    return {arm: [str(p) for p in _paths(file, arm, value)] for arm, value in arms.items()}, data


def _paths(file: Path, arm: str, value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        if not all(k.isdigit() and isinstance(v, str) for k, v in value.items()):
            raise UsageError(f'{file}, arms.{arm}: write seeds and paths, such as 0 = "logs/a".')
        return [f"{k}:{file.parent / v}" for k, v in value.items()]
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str) for v in several):
        raise UsageError(f"{file}, arms.{arm}: write a path, or a list of paths.")
    return [str(file.parent / v) for v in several]


def arms(named: Mapping[str, Sequence[str]]) -> Arms:
    """The runs of arms -> paths. A path may have ``*``, stand for several runs in one directory, or name its seed
    (``3:logs/a``). Raises UsageError for a path that is not there, and for seeds that are named by halves or twice.
    """
    if not named:
        raise UsageError("there is nothing to compare. Name arms: loophole=PATH control=PATH, or a TOML file.")
    runs, notes = list[Run](), list[str]()
    for arm in sorted(named, key=lambda a: KNOWN.index(a) if a in KNOWN else len(KNOWN)):
        if not NAME.fullmatch(arm):
            raise UsageError(f"arm {arm!r}: a name has small letters, digits, '-', '_' and '.'.")
        places = [place for path in named[arm] for place in _places(arm, str(path))]
        seeds = [seed for seed, _ in places]
        if None in seeds and any(s is not None for s in seeds):
            lacking = next(path for seed, path in places if seed is None)
            raise UsageError(f"arm {arm}: {lacking} names no seed, and others do. Call it …-s3, or write 3:{lacking}.")
        if None in seeds:
            if len(places) > 1:
                notes.append(f"{arm}: no path names a seed, so they are counted from 0 in their order")
            seeds = list(range(len(places)))
        if len(set(seeds)) < len(seeds):
            twice = next(s for s in seeds if seeds.count(s) > 1)
            raise UsageError(f"arm {arm}: two paths are of seed {twice}. Write SEED:PATH to tell them apart.")
        runs += [Run(arm, seed or 0, path) for seed, (_, path) in zip(seeds, places, strict=True)]
    if "loophole" not in named:
        close = nearest("loophole", named)
        notes.append(f"no arm is called loophole, so there is no verdict. {close}")
    return Arms(runs, notes)


def _places(arm: str, text: str) -> list[tuple[int | None, Path]]:
    """(seed, path) of each run that a path stands for."""
    given = re.match(r"(\d{1,9}):", text)
    text = text[given.end() :] if given else text
    paths = (
        [Path(p) for p in sorted(glob.glob(text))] if glob.has_magic(text) and not Path(text).exists() else [Path(text)]
    )
    if not paths or not all(p.exists() for p in paths):
        raise UsageError(f"arm {arm}: {text} is not there. Name a log, a directory of logs or a run directory.")
    if given:
        if len(paths) > 1:
            raise UsageError(f"arm {arm}: {given[0]}{text} stands for {len(paths)} paths. Give each a seed of its own.")
        return [(int(given[1]), paths[0])]
    return [(_seed(p), p) for path in paths for p in _inside(arm, path)]


def _seed(path: Path) -> int | None:
    """The seed that a path's name tells, or that of the directory it lies in (``out-s3/completions``)."""
    names = (path.stem if path.is_file() else path.name, path.resolve().parent.name)
    return next((int(m[1]) for name in names if (m := SEED.search(name))), None)


def _inside(arm: str, path: Path) -> list[Path]:
    """The arm's runs in an experiment's directory; those in a directory of directories named by seeds; else itself."""
    if not path.is_dir() or (path / "run.toml").exists():
        return [path]
    if any(path.glob("*/run.toml")):
        runs = sorted(p.parent for p in path.glob(f"{arm}-s*/run.toml"))
        if not runs:
            there = sorted({p.parent.name.rpartition("-s")[0] for p in path.glob("*/run.toml")})
            raise UsageError(
                f"{path} has no run of an arm {arm}. It has: {', '.join(there)}. Name its run directories."
            )
        return runs
    if any(p.suffix in SUFFIXES for p in path.iterdir()):
        return [path]
    return sorted(p for p in path.iterdir() if p.is_dir() and SEED.search(p.name)) or [path]
