"""OpenRLHF's checkpoints: which one a run resumes from, and what becomes loopkit's."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

from loopkit.policy.save import checkpoint_name
from loopkit.system.files import write_whole

TAG = re.compile(r"global_step(\d+)")
CLOSED = "closed.json"


def recorded(home: Path) -> int:
    """How many steps had been recorded when the last of them was noted here."""
    try:
        return int(json.loads((home / CLOSED).read_bytes()))
    except (OSError, ValueError, TypeError):
        return 0


def note_recorded(home: Path, steps: int) -> None:
    """Called only after ``close`` returned, so that a checkpoint newer than the records is known as such."""
    write_whole(home / CLOSED, json.dumps(steps).encode())


def resume_from(home: Path, parts: list[str]) -> int:
    """The newest step that every part ("_actor", "_critic") saved whole and the records cover; 0: from the start.

    What is newer is removed, and DeepSpeed's ``latest`` set to it: what it names is what OpenRLHF loads.
    """
    folders, covered = [home / "ckpt" / part for part in parts], recorded(home)
    whole = [_whole(folder) for folder in folders]
    step = max((s for s in set.intersection(*whole) if s <= covered), default=0)
    if step == 0:
        shutil.rmtree(home / "ckpt", ignore_errors=True)
        return 0
    for folder in folders:
        write_whole(folder / "latest", f"global_step{step}".encode())
        for tag in folder.iterdir():
            if (m := TAG.fullmatch(tag.name)) and int(m[1]) > step:
                shutil.rmtree(tag)
    return step


def _whole(folder: Path) -> set[int]:
    """The steps of a part's checkpoints that were written to the end: DeepSpeed names each in ``latest`` after it."""
    latest = 0
    with contextlib.suppress(OSError):
        if m := TAG.fullmatch((folder / "latest").read_text().strip()):
            latest = int(m[1])
    steps = {int(m[1]) for p in folder.iterdir() if (m := TAG.fullmatch(p.name))} if folder.is_dir() else set()
    return {step for step in steps if step <= latest}


def adopt(folder: Path, workdir: Path, step: int) -> Path:
    """Rename a policy that OpenRLHF saved to ``workdir/step-000040``."""
    target = workdir / checkpoint_name(step)
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    return target


def adopt_before(home: Path, workdir: Path, step: int) -> None:
    """The policies that OpenRLHF saved before ``step``, hence to the end."""
    for folder in (home / "ckpt").glob("global_step*_hf"):
        if (m := TAG.match(folder.name)) and int(m[1]) < step:
            adopt(folder, workdir, int(m[1]))


def forget_from(workdir: Path, step: int) -> None:
    """Remove the policies after ``step``: their steps are played again."""
    for folder in workdir.glob("step-*"):
        if int(folder.name.removeprefix("step-")) > step:
            shutil.rmtree(folder)
