"""What the files of a run are known by: their digests, kept with them in ``digests.json``.

They show accidents and careless edits, not forgery: whoever can write a file can write its digest. Every file of a run
is known but ``timings.jsonl``. A file is written first and then its digest, so a kill leaves files that are not known
yet, and never a known one that is not there; what is not known is played, or evaluated, again.
A run that was begun without digests is read, and called not verifiable.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopkit.errors import RunError
from loopkit.records import Json
from loopkit.system.files import TEMPORARY, flush, to_json, write_whole

FILE = "digests.json"
KEPT = "digests"
"""The key of a manifest that says that the run's digests are kept, so that a missing ``digests.json`` is noticed."""
LARGE = 256 << 20
"""Bytes from which on a file of a checkpoint is held to its size only, unless all of it is asked for."""
FEW = 6
"""Damaged files that are named."""
SINGLE = ("run.toml", "manifest.json", "steps.jsonl")
FOLDERS = ("rollouts", "scores", "eval", "checkpoints", "judges")
AS_WRITTEN, AFTERWARDS = "as written", "afterwards"


@dataclass
class Digests:
    """``files``: path in the run -> "<bytes> <sha256>", without ``steps.jsonl``, of which each line is known."""

    spec: str = ""
    """The hash of the run's spec, which its manifest has too."""
    files: dict[str, str] = field(default_factory=dict)
    steps: dict[int, str] = field(default_factory=dict)
    """Step -> SHA-256 of its line in ``steps.jsonl``."""
    rewriting: dict[str, str] = field(default_factory=dict)
    """What a file may be as well: it is being replaced, and the process that does it may be killed."""
    rescored: dict[str, str] = field(default_factory=dict)
    """A file of scores that was rebuilt -> what the rollouts were known by from which it was."""
    finished: bool = False
    """The run was trained and evaluated: nothing may be missing, and nothing is to come."""
    taken: str = AS_WRITTEN
    """"as written", or "afterwards": of a run begun without digests, so they tell nothing of the time before."""

    def put(self, name: str, data: bytes) -> None:
        self.files[name] = known_by(data)

    def forget(self, forgotten: Callable[[str], bool]) -> None:
        for kept in (self.files, self.rewriting, self.rescored):
            for name in [name for name in kept if forgotten(name)]:
                del kept[name]

    def write(self, run: Path, *, durable: bool = False) -> None:
        data = {**vars(self), "steps": {str(k): v for k, v in self.steps.items()}, "schema": 1}
        write_whole(run / FILE, to_json({**data, "sha256": _of_itself(data)}), durable=durable)


def known_by(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def line_digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _of_itself(data: Json) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def read(run: Path) -> Digests | None:
    """A run's digests, None of one that was begun without. Raises RunError where they are missing or damaged."""
    file = run / FILE
    cure = f"Restore it; or, if you know the run to be whole, take digests of it as it is: loopkit seal --anew {run}"
    try:
        data = json.loads(file.read_bytes())
        own = data.pop("sha256")
        if own != _of_itself(data) or data.pop("schema") != 1:
            raise ValueError("it was edited, or another version wrote it")
        known = Digests(**{**data, "steps": {int(k): v for k, v in data["steps"].items()}})
    except FileNotFoundError as error:
        if not _manifest(run).get(KEPT):
            return None
        raise RunError(f"{file} is missing, by which the run's files are known. {cure}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} cannot be read ({type(error).__name__}: {error}). {cure}") from error
    if _manifest(run).get("spec_hash", known.spec) != known.spec:
        raise RunError(f"{file} and manifest.json are of two runs. {cure}")
    return known


def _manifest(run: Path) -> dict[str, Json]:
    file = run / "manifest.json"
    try:
        return {**json.loads(file.read_bytes())}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{file} cannot be read ({type(error).__name__}). Restore it, or remove {run} and run the same command: it "
            "is made anew."
        ) from error


def files(run: Path) -> Iterator[tuple[str, Path]]:
    """(path in the run, file) of all that is to be known by a digest."""
    found = [run / name for name in SINGLE] + [p for folder in FOLDERS for p in sorted((run / folder).rglob("*"))]
    for path in found:
        name = path.relative_to(run).as_posix()
        if path.is_file() and TEMPORARY not in name:
            yield name, path


def add(run: Path, *, finished: bool = False, only: str = "") -> None:
    """Know every file that is not known yet (``only``: under this path), and bring all of it to the disk.

    A checkpoint that lists its own files is known by that list: what was saved, and not what lies there now.
    """
    known = read(run)
    if known is None:
        return
    for name, path in files(run):
        if name != "steps.jsonl" and name.startswith(only) and (name not in known.files or name.startswith("judges/")):
            known.files[name] = _as_saved(path) or _of_file(path)
    known.finished = known.finished or finished
    flush(run)
    known.write(run, durable=True)


def _as_saved(path: Path) -> str | None:
    """A file of a checkpoint by what the checkpoint says of it."""
    for parent in path.parents:
        if re.fullmatch(r"step-\d+", parent.name) and (listed := parent / "sha256.json") != path and listed.exists():
            digest = json.loads(listed.read_bytes()).get(path.relative_to(parent).as_posix())
            return f"{path.stat().st_size} {digest}" if digest else None
    return None


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def take(run: Path, lines: dict[int, str], finished: bool) -> Digests:
    """Digests of a run's files as they are now. ``lines``: step -> its line."""
    known = Digests(str(_manifest(run).get("spec_hash", "")), finished=finished, taken=AFTERWARDS)
    known.files = {name: _of_file(path) for name, path in files(run) if name != "steps.jsonl"}
    known.steps = {step: line_digest(line) for step, line in lines.items()}
    flush(run)
    known.write(run, durable=True)
    return known


def restore(run: Path) -> str:
    return f"Restore it from a copy, or remove {run} and run the same command: it is made anew."


def refuse(run: Path, found: Sequence[str], cure: str = "") -> None:
    """Raise RunError where damage was found, naming it and the cure."""
    if found:
        more = f"; and {len(found) - FEW} more" if len(found) > FEW else ""
        raise RunError(f"{run} is damaged: {'; '.join(found[:FEW])}{more}. {cure or restore(run)}")


# --- damage -----------------------------------------------------------------------------------------------------------


def damage(run: Path, known: Digests, which: Callable[[str], bool], *, whole: bool = False) -> list[str]:
    """What is wrong with the files that ``which`` takes: "rollouts/step-000001.parquet is missing", and so on.

    ``whole``: large files of checkpoints are read to the end, too.
    """
    out = []
    for name, expected in sorted(known.files.items()):
        if not which(name):
            continue
        path = run / name
        if not path.is_file():
            out.append(f"{name} is missing")
        elif not any(_is(name, path, one, whole) for one in (expected, known.rewriting.get(name)) if one):
            size, is_now = expected.partition(" ")[0], path.stat().st_size
            why = f" ({is_now} bytes for {size})" if str(is_now) != size and not name.startswith("judges/") else ""
            out.append(f"{name} is not what was written{why}")
    if known.finished:
        strange = (n for n, _ in files(run) if n.startswith(("rollouts/", "scores/")) and n not in known.files)
        out += [f"{name} is no file of this run" for name in strange if which(name)]
    return out


def _is(name: str, path: Path, expected: str, whole: bool) -> bool:
    size = int(expected.partition(" ")[0])
    if name.startswith("judges/"):  # it grows with every answer, whenever one is asked
        return known_by(path.read_bytes()[:size]) == expected
    if path.stat().st_size != size:
        return False
    if size >= LARGE and name.startswith("checkpoints/") and not whole:
        return True
    return _of_file(path) == expected


def checkpoint_damage(checkpoint: Path) -> str | None:
    """Why a checkpoint is not the one its run knows; None if it is, or is not known yet."""
    run = checkpoint.parent.parent
    known = read(run) if (run / FILE).exists() else None
    listed = f"checkpoints/{checkpoint.name}/sha256.json"
    found = damage(run, known, lambda name: name == listed) if known is not None else []
    return f"{found[0]}: another run's, or edited" if found else None


def step_of(name: str) -> int | None:
    """The step whose record a file is; None of other files. A checkpoint after 40 steps is of step 39."""
    if match := re.match(r"(?:rollouts|scores)/step-(\d+)\.parquet", name):
        return int(match[1])
    match = re.match(r"checkpoints/step-(\d+)/", name)
    return int(match[1]) - 1 if match else None
