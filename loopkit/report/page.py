"""The page: one file that holds everything and asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

import loopkit
from loopkit.errors import UsageError
from loopkit.records import Json
from loopkit.registry.plugins import Plugins
from loopkit.report import experiment, studies
from loopkit.report.charts import Sheet
from loopkit.report.gather import ExperimentData, StudyData, gather
from loopkit.report.rollouts import LONGEST, Cache, Row, Shown, show

BUDGET = 4_000
"""Rollouts embedded in one page, over all its experiments."""
BYTES = 6_000_000
"""Most bytes of embedded rollouts: beyond, every second one is left out until they fit."""


def build(
    directories: Sequence[Path], plugins: Plugins, *, every: float | None = None, cache: Cache | None = None
) -> tuple[str, bool]:
    """(the page, whether every run is finished). ``every``: the page loads itself again after so many seconds.

    Raises UsageError or RunError naming a directory or file that cannot be read.
    """
    cache = Cache() if cache is None else cache
    sources = gather(directories, plugins)
    experiments = [s for s in sources if isinstance(s, ExperimentData)]
    studied = [s for s in sources if isinstance(s, StudyData)]
    if not sources:
        raise UsageError(f"{', '.join(map(str, directories))}: no run has begun there yet.")
    done = all(e.finished for e in experiments)
    shown = [show(e, k, BUDGET // len(experiments), cache) for k, e in enumerate(experiments)]
    sheet = Sheet()
    views = [experiment.view(e, k, shown[k], sheet) for k, e in enumerate(experiments)]
    pages = [studies.view(s, k, sheet) for k, s in enumerate(studied)]
    data, kept = embedded(experiments, shown, views)
    context = {
        "studies": pages,
        "experiments": views,
        "version": loopkit.__version__,
        "every": None if done else every,
        "directories": [str(d) for d in directories],
        "data": script_json(data),
        "kept": kept,
        "total": sum(s.total for s in shown),
        "tiny": any(v["tiny"] for v in views) or any("tiny" in str(p["model"]) for p in pages),
    }
    return render(context, sheet), done


def render(context: Mapping[str, Any], sheet: Sheet, template: str = "page.html") -> str:
    """Fill a template. The content security policy allows its own style and script, by their hashes, and no more."""
    assets = resources.files("loopkit.report") / "assets"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (assets / name).read_text(encoding="utf-8")),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style = (assets / "style.css").read_text(encoding="utf-8") + sheet.css()
    script = (assets / "page.js").read_text(encoding="utf-8")
    policy = "; ".join([
        "default-src 'none'", "img-src data:", f"style-src {_hash(style)}", f"script-src {_hash(script)}",
        "base-uri 'none'", "form-action 'none'",
    ])  # fmt: skip
    return environment.get_template(template).render(context, style=style, script=script, policy=policy)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_json(data: Json) -> str:
    """JSON that cannot end the element it lies in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def embedded(
    experiments: Sequence[ExperimentData], shown: Sequence[Shown], views: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Json], int]:
    """(the rollout browser's data, how many rollouts). Prompts are kept once; numbers to four digits."""
    rows = [r for s in shown for r in s.rows]
    always = {r.id for s in shown for rows in s.first for r in rows} | {c["id"] for v in views for c in v["clusters"]}
    rows += [r for s in shown for r in s.said if r.id in always]
    rows = sorted({r.id: r for r in rows}.values(), key=lambda r: (r.experiment, not r.run.trained))
    packed = [(r, _size(r)) for r in rows]
    while sum(size for _, size in packed) > BYTES and len(packed) > len(always) + 1:
        packed = [p for k, p in enumerate(packed) if k % 2 == 0 or p[0].id in always]
    prompts: dict[str, int] = {}
    runs = {(k, r.name): (k, r.spec.arm, r.spec.seed, r.name) for k, e in enumerate(experiments) for r in e.runs}
    places = {key: k for k, key in enumerate(runs)}
    columns = [_columns(s) for s in shown]
    out = []
    for r, _ in packed:
        known = columns[r.experiment]
        text = json.dumps(
            None if r.prompt is None else [[role, t[:LONGEST], max(0, len(t) - LONGEST)] for role, t in r.prompt]
        )
        out.append([
            places[r.experiment, r.run.name], r.step, r.slot, r.name, prompts.setdefault(text, len(prompts)),
            [[t.text, t.finish, None if t.reply is None else t.reply[:LONGEST], t.cut] for t in r.turns],
            [None if (f := r.flags.get(c)) is None else int(f) for c in known["flags"]],
            *([_short(getattr(r, kind).get(c)) for c in known[kind]] for kind in ("rewards", "scores", "clues")),
        ])  # fmt: skip
    named = zip(experiments, views, columns, strict=True)
    return {
        "experiments": [{"name": e.name, "phrases": v["phrases"], **c} for e, v, c in named],
        "runs": [list(r) for r in runs.values()],
        "prompts": [json.loads(p) for p in prompts],
        "rollouts": out,
    }, len(out)  # fmt: skip


def _columns(shown: Shown) -> dict[str, list[str]]:
    return {
        kind: list(dict.fromkeys(c for r in shown.rows for c in getattr(r, kind)))
        for kind in ("flags", "rewards", "scores", "clues")
    }


def _size(row: Row) -> int:
    return 200 + sum(len(json.dumps(t.text)) + len(t.reply or "") for t in row.turns)


def _short(value: Json) -> Json:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value if value is None or isinstance(value, (bool, int)) else str(value)[:200]
