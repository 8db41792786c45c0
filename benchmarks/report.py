"""(e) A report on 200 steps x 256 rollouts x 10 runs: its size, and how long Chromium takes to show it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Row, spent
from tests.report.browser import browser
from tests.report.scripted import experiment

STEPS, PROMPTS, GROUP, SEEDS = 200, 32, 8, 5
"""Of both arms of context-compliance: 10 runs, 512,000 rollouts."""
TIMES = 20
"""Each played step is kept so often, or the playing alone would take a quarter of an hour."""
PAINTED = """
const done = arguments[0];
requestAnimationFrame(() => setTimeout(() => {
  const e = performance.getEntriesByType("navigation")[0];
  const p = performance.getEntriesByName("first-contentful-paint")[0];
  done({dom: e.domContentLoadedEventEnd, load: e.loadEventEnd, paint: p ? p.startTime : null});
}, 0));
"""


def opened(page: Path) -> dict[str, Any]:
    """Milliseconds from the start of the navigation, in a browser of its own, which has opened nothing before."""
    with browser() as driver:
        began = time.perf_counter()
        driver.get(page.as_uri())
        found: dict[str, Any] = driver.execute_async_script(PAINTED)
        return {**found, "wall": 1e3 * (time.perf_counter() - began)}


def rows(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        out, page = Path(directory) / "experiment", Path(directory) / "report.html"
        experiment(out, seeds=str(SEEDS), steps=STEPS, prompts=PROMPTS, group=GROUP, times=TIMES)
        kept = sum(json.loads(line)["n"] for file in out.glob("*/steps.jsonl") for line in file.open())
        if kept != 2 * SEEDS * STEPS * PROMPTS * GROUP:
            raise RuntimeError(f"{kept} rollouts were kept")
        command = [sys.executable, "-c", "from loopkit.cli import main; main()", "report", str(out), "--out", str(page)]
        with spent() as cost:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = [opened(page) for _ in range(rounds)]
        size = page.stat().st_size / 1e6
    note = f"{kept:,} rollouts, {2 * SEEDS} runs"
    seconds = {k: [f[k] / 1e3 for f in found if f[k] is not None] for k in found[0]}
    spread = {k: f"{min(v):.2f}-{max(v):.2f} over {len(v)} cold starts" for k, v in seconds.items() if v}
    names = {"paint": "first paint", "dom": "DOMContentLoaded", "load": "load event", "wall": "open, with the driver"}
    return [
        Row("report.html", "MB", size, aim="< 10", note=note),
        *(
            Row(f"the page, {names[k]}", "s", median(seconds[k]), aim="< 3", note=spread[k])
            for k in names
            if k in spread
        ),
        Row("making it", "s", cost.wall, note=f"{cost.cpu:.1f} CPU s"),
    ]
