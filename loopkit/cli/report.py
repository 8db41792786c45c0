"""``loopkit report``: one page that holds everything an experiment, or a study, found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import render
from loopkit.cli.numbers import Finite
from loopkit.errors import UsageError
from loopkit.registry import plugins as registry
from loopkit.report.page import build
from loopkit.report.rollouts import Cache
from loopkit.system.files import write_whole

EPILOG = """\b
Examples:
  loopkit report runs/context-compliance-…         # writes report.html into it
  loopkit report runs/one runs/other --out both.html
  loopkit report runs/study-transfer-…             # the study, and the runs it rests on
  loopkit report runs/mine --live                  # again and again while `loopkit run` goes on

The page is one file: it loads nothing, needs no network, and is safe to open whatever a model said.
"""


@click.command(epilog=EPILOG)
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="File to write.  [default: report.html in DIR, or here if there are several]")  # fmt: skip
@click.option("--live", is_flag=True, help="Write the page again while runs go on, until every run is finished.")
@click.option("--every", type=Finite(1), default=10.0, show_default=True, help="Seconds between, with --live.")
@render.json_option
def report(directories: Sequence[Path], out: Path | None, live: bool, every: float, as_json: bool) -> None:
    """Write report.html: verdict, curves, tables, exploits and rollouts of experiments and studies."""
    out = out or (directories[0] if len(directories) == 1 else Path()) / "report.html"
    plugins, cache = registry.load(), Cache()
    while True:
        page, done = build(directories, plugins, every=every if live else None, cache=cache)
        if out.suffix not in (".html", ".htm"):
            raise UsageError(f"--out {out}: the page is HTML. Name a file that ends in .html.")
        write_whole(out, page.encode())
        if as_json and (done or not live):
            render.echo_json({"out": str(out), "bytes": len(page.encode()), "finished": done})
        elif not as_json:
            click.echo(f"{out}: {len(page.encode()) / 1e6:.1f} MB" + ("" if done else ", runs are still going on"))
        if done or not live:
            return
        time.sleep(every)
