"""``loopkit audit``: detectors and shadow channels over completions that somebody already has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.elsewhere import games
from loopkit.elsewhere.findings import Audit, Number, Rate, generic
from loopkit.elsewhere.formats import FORMATS, Log, read
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import parse_set
from loopkit.registry.contain import excerpt
from loopkit.report.audit import build, change, mean
from loopkit.system.files import to_json, write_whole

EPILOG = """\b
Examples:
  loopkit audit output/completions  # a TRL run with log_completions=True
  loopkit audit logs/2026-01-01_task.eval --out audited         # an Inspect log, and a page
  loopkit audit traces.jsonl --reward rewards.tests --trusted rewards.judge
  loopkit audit replies.jsonl --column completion=output --column step=epoch
  loopkit audit output/completions --game self-grading  # the game's detectors and channels
  loopkit audit replies.jsonl --fail-over 0.05 --fail-over format=0.01

Without --game it looks for signs that need no game: a sign is where to look, and proves nothing. Exit codes: 0 done,
1 a rate is over --fail-over, 2 usage.
"""
TOLD = 5
"""Skipped rows named on standard error; the rest are counted."""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--format", "format", type=click.Choice(list(FORMATS)), help="Format of the logs.  [default: by columns]")
@click.option("--column", "columns", multiple=True, metavar="ROLE=COLUMN",
              help="Which column is the completion, prompt, reference or step. Repeatable.")  # fmt: skip
@click.option("--reward", help="Column of the reward that was paid.  [default: reward, or the only one of a TRL log]")
@click.option("--trusted", help="Column of a score that you trust, to compare the reward with.")
@click.option("--game", shell_complete=complete.game, help="Game whose tasks these are completions to.")
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="game.NAME=VALUE", help="Game options. Repeatable.")
@click.option("--strict", is_flag=True, help="A row that cannot be read is an error.")
@click.option("--fail-over", "limits", multiple=True, metavar="[DETECTOR=]RATE",
              help="Exit with 1 where a rate (by default the first detector's) is higher. Repeatable.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where audit.json and report.html go.")
@sandbox_option
@render.json_option
def audit(
    files: Sequence[Path],
    format: str | None,
    columns: Sequence[str],
    reward: str | None,
    trusted: str | None,
    game: str | None,
    data: str | None,
    settings: Sequence[str],
    strict: bool,
    limits: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Look for exploits in the logs FILE (JSONL, JSON, Parquet, Inspect logs; or directories of them)."""
    wanted = [_limit(text) for text in limits]
    log = read(files, format, dict(_pair(text) for text in columns))
    if strict and log.skipped:
        raise UsageError(f"{log.skipped[0].where}: {log.skipped[0].why}. Mend it, or leave --strict out.")
    if game is None:
        if settings or data:
            raise UsageError("--set and --data are options of a game: name it with --game, or leave them out.")
        result = generic(log, reward, trusted)
    else:
        if trusted is not None:
            raise UsageError("--trusted compares columns of the log; a game has its own score 'task'. Leave one out.")
        result = _of_game(game, log, settings, data, reward)
    over = _over(result, wanted)
    if out is not None:
        write_whole(out / "audit.json", to_json(result.json()))
        write_whole(out / "report.html", build(result).encode())
    if as_json:
        render.echo_json({**result.json(), "over": over})
    else:
        _print(result)
        for line in over:
            render.say(f"Over the limit: {line}")
        if out is not None:
            render.say(f"\n{out / 'report.html'} and audit.json are written.")
    _tell_skipped(log)
    if over:
        raise SystemExit(1)


def _of_game(game: str, log: Log, settings: Sequence[str], data: str | None, reward: str | None) -> Audit:
    setup = games.set_up(game, parse_set(settings, ("game",)).get("game", {}), data)
    return games.audit(setup, game, log, reward)


def _pair(text: str) -> tuple[str, str]:
    role, equals, column = text.partition("=")
    if not (role and equals and column):
        raise UsageError(f"--column {text!r} is not understood: write ROLE=COLUMN, such as completion=output.")
    return role, column


def _limit(text: str) -> tuple[str | None, float]:
    name, _, number = text.rpartition("=")
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"--fail-over {text!r}: the rate is a number from 0 to 1, such as 0.05 or format=0.01.")
    return name or None, rate


def _over(result: Audit, limits: Sequence[tuple[str | None, float]]) -> list[str]:
    """The limits that a rate exceeds. A rate that could not be measured is an error."""
    rates = {r.name: r.rate for r in result.rates}
    out = []
    for name, limit in limits:
        name = name or result.headline
        if name not in rates:
            raise UsageError(f"--fail-over {name}: no such detector here. {nearest(name, rates)}")
        rate = rates[name]
        if rate is None:
            raise UsageError(f"--fail-over {name}: this log has no rollout that {name} looks at, so nothing is shown.")
        if rate.value > limit:
            out.append(f"{name} is {render.percent(rate.value)} %, above {render.percent(limit)} %")
    return out


def _print(result: Audit) -> None:
    steps = f", steps {result.steps[0]} to {result.steps[1]}" if result.steps else ""
    prompts = "" if result.prompts is None else f", {result.prompts} prompts"
    render.say(f"{len(result.rows)} completions ({', '.join(result.formats)}){prompts}{steps}. 95 % intervals; the "
               "prompt is the unit; rates in percent.")  # fmt: skip
    if result.game:
        reasons = "; ".join(f"{n}: {reason}" for reason, n in result.game["unmatched"].items())
        render.say(f"{result.game['matched']} of {result.game['rows']} are rollouts of {result.game['name']}"
                   + (f", the others are not ({reasons})." if reasons else "."))  # fmt: skip
    click.echo("")
    over_steps = ["first third", "last third", "change"] if result.thirds else []
    rows = [_rate(r, result) for r in result.rates]
    click.echo(render.table(rows, ["detector", "rate", *over_steps, "first at"]))
    for title, numbers in (("mean reward of channel", result.channels), ("mean of", result.numbers)):
        if numbers:
            head = [title, "all", *over_steps]
            if numbers is result.channels and result.agreement:
                head.append(f"pays as {result.reward} says")
            estimates = [(n, (n.mean, n.early, n.late, n.change)[: len(over_steps) + 1]) for n in numbers]
            click.echo("")
            click.echo(render.table([[n.name, *map(mean, es), *_agree(n, result)] for n, es in estimates], head))
    for line in result.unseen:
        render.say(f"\nNot seen: {line}.")
    for i in result.worst[:3]:
        row = result.rows[i]
        flags = ", ".join(n for n, f in result.flags.items() if f[i])
        render.say(f"\n{row.where} ({flags}): {excerpt(' | '.join(row.said), 240)}")


def _agree(number: Number, result: Audit) -> list[str]:
    return [render.interval(result.agreement[number.name])] if number.name in result.agreement else []


def _rate(r: Rate, result: Audit) -> list[str]:
    first = "-"
    if r.first is not None:
        row = result.rows[r.first]
        first = row.where.rpartition("/")[2] if row.step is None else f"step {row.step}"
    over_steps = [render.interval(r.early), render.interval(r.late), change(r.change)] if result.thirds else []
    return [r.name, render.interval(r.rate), *over_steps, first]


def _tell_skipped(log: Log) -> None:
    for one in log.skipped[:TOLD]:
        render.say(f"Skipped: {one.where}: {one.why}.", err=True)
    if len(log.skipped) > TOLD:
        click.echo(f"Skipped: {len(log.skipped) - TOLD} more rows, all in --json.", err=True)
