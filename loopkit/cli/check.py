"""``loopkit check``: does a game, trainer or intervention keep its contract?"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loopkit.checks import Finding, Report, check_game, check_intervention, check_trainer
from loopkit.checks.games import FUZZ
from loopkit.cli import asking, bases, complete, quality, render
from loopkit.cli.numbers import Finite
from loopkit.cli.sandbox import sandbox_option
from loopkit.contracts import PolicyRef
from loopkit.errors import MissingExtra, PluginError, UsageError, nearest, needing
from loopkit.experiment.config import parse_set
from loopkit.experiment.resolve import build_game, channels_of
from loopkit.front.asked import own_reward
from loopkit.front.tables import wrapped
from loopkit.registry import files
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import Setup

EPILOG = """\b
Examples:
  loopkit check                       # every installed game, trainer and intervention
  loopkit check self-grading -v       # and show what was proven, over how much
  loopkit check my_game.py:Compare    # a game in a file of yours; it runs with your rights
  loopkit check grpo  # a trainer: three steps on a small game, killed, resumed, served
  loopkit check context-compliance --data requests.parquet --json
  loopkit check --reward my_rewards.py:fn --data rows.jsonl  # your own reward, as loopkit probe
  loopkit check --detectors  # how often each game's detectors are right, on labelled transcripts
  loopkit check proxy-metric --detectors -v --least 0.9  # every mistake; exit code 1 below 0.9
  loopkit check self-grading --base tiny  # does it play the prompts of its warm-up as others?

Answers proven, unproven (no control, or no known exploit: it runs, labelled) or fails. Exit code 1 where one fails;
of a reward 1 where it is gameable, 4 where that could not be told.
What each check proves, and what it says of broken plugins, is in docs/contracts.md.
"""


@click.command(epilog=EPILOG)
@click.argument("names", nargs=-1, shell_complete=complete.checked)
@asking.reward_option
@asking.trusted_option
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="game.NAME=VALUE", help="Game options. Repeatable.")
@click.option("--fuzz", type=click.IntRange(1), default=FUZZ, show_default=True, help="Garbage completions a game.")
@click.option("--detectors", is_flag=True, help="Measure the games' detectors on labelled transcripts, instead.")
@click.option("--base", metavar="MODEL", help="Hold a model's base rates on train and on test to agree, instead.")
@click.option("--unseen", is_flag=True, help="With --base: of train, what a warm-up with split=half was not shown.")
@click.option("--least", type=Finite(0, 1), help="With --detectors: fail where precision or recall is lower.")
@click.option("--verbose", "-v", is_flag=True, help="Show what held, too; with --detectors, every mistake.")
@sandbox_option
@render.format_option
@render.json_option
def check(
    names: Sequence[str],
    reward: str | None,
    trusted: str | None,
    data: str | None,
    settings: Sequence[str],
    fuzz: int,
    detectors: bool,
    base: str | None,
    unseen: bool,
    least: float | None,
    verbose: bool,
    style: str,
    as_json: bool,
) -> None:
    """Check that NAMES (games, trainers or interventions; default: all, but cluster engines) keep their contracts."""
    plugins = registry.load()
    tables = parse_set(settings)
    if reward:
        own_reward(None, reward, trusted, tables)
        sys.exit(_reward(names, tables["game"], data, verbose, as_json))
    if trusted:
        raise UsageError("--trusted is held against a reward. Add --reward FILE.py:NAME, or leave it out.")
    options = tables.get("game", {}) | ({"data": data} if data else {})
    names, games, trainers = _sorted_out(plugins, names)
    if options and not (names and set(names) <= set(games)):
        raise UsageError("--data and --set are options of a game. Name the games they are for: loopkit check GAME.")
    if least is not None and not detectors:
        raise UsageError("--least is about precision and recall. Add --detectors, or leave it out.")
    if unseen and not base:
        raise UsageError("--unseen is about the base rates of a model. Add --base MODEL, or leave it out.")
    if base:
        if not names or set(names) - set(games):
            raise UsageError(
                "--base is about a model's base rates in a game. Name games: loopkit check GAME --base tiny."
            )
        sys.exit(max(bases.report(name, base, options, unseen, style, as_json) for name in names))
    if detectors:
        if others := sorted(set(names) - set(games)):
            raise UsageError(f"{', '.join(others)}: only games have detectors. Name games, or none for all of them.")
        sys.exit(quality.report(plugins, names or games, options, least, verbose, style, as_json))
    began, reports, missing = time.perf_counter(), list[tuple[Report, float]](), 0
    left = [] if names else [name for name in trainers if _alone(plugins, name)]
    ready = [name for name in games if not _asks(plugins, name)]
    for name in names or (*ready, *(t for t in trainers if t not in left), *plugins.names("interventions")):
        start = time.perf_counter()
        try:
            report = _one(plugins, name, name in games, options, fuzz)
        except MissingExtra as error:  # of all that is installed, the rest can be checked
            if names:
                raise
            missing = error.exit_code
            click.echo(f"Not checked: {name}. {error}", err=True)
            continue
        reports.append((report, time.perf_counter() - start))
        if not as_json:
            _print(*reports[-1], verbose, style, _blamed(plugins, name) if name in games else "")
            if name in games and (beside := checked_beside(plugins, name)):
                render.say(beside)
    if left:
        click.echo(f"Not checked unless named, since each takes the whole machine: {', '.join(left)}.", err=True)
    _sum_up(reports, time.perf_counter() - began, as_json)
    sys.exit(1 if any(r.status == "fails" for r, _ in reports) else missing)


def _sorted_out(plugins: registry.Plugins, names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """(what is to be checked, games, trainers); a game of a file counts among the games. Raises UsageError."""
    chosen = list(dict.fromkeys(plugins.game_name(game_of(plugins, name)) for name in names))
    for name in filter(files.is_file, chosen):
        plugins.game(name)  # a file that is not there, or cannot be imported, is not a failed check
    games, trainers = [*plugins.names("games"), *filter(files.is_file, chosen)], list(plugins.names("trainers"))
    known = (*games, *trainers, *plugins.names("interventions"))
    for name in chosen:
        if name not in known:
            raise UsageError(f"no game, trainer or intervention {name!r}. {nearest(name, known)}")
    return chosen, games, trainers


def _one(plugins: registry.Plugins, name: str, is_game: bool, options: dict[str, object], fuzz: int) -> Report:
    with render.Bars() as bars:
        if bars.terminal:  # a trainer takes a minute or two
            bars.update(name, "check", 0, 0)
        if is_game:
            return _game(plugins, name, options, fuzz)
        intervenes = ("interventions", name) in plugins.entries and ("trainers", name) not in plugins.entries
        return _intervention(plugins, name) if intervenes else _trainer(plugins, name)


def _sum_up(reports: Sequence[tuple[Report, float]], seconds: float, as_json: bool) -> None:
    if as_json:
        render.echo_json([{**report.json(), "seconds": round(took, 3)} for report, took in reports])
    elif len(reports) > 1:
        counts = {status: sum(r.status == status for r, _ in reports) for status in ("proven", "unproven", "fails")}
        summary = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        click.echo(f"{len(reports)} checked in {seconds:.1f} s: {summary}.")


def _reward(
    names: Sequence[str], options: dict[str, Any], data: str | None, verbose: bool, as_json: bool
) -> int:  # fmt: skip
    """A reward is probed: that it keeps a contract would say nothing of whether it can be gamed."""
    from loopkit.front.probed import probed
    from loopkit.probing.card import printed

    if names:
        raise UsageError(f"--reward is checked by itself. Leave {', '.join(names)} out.")
    probe = probed(options, data or options.get("data"))
    click.echo(probe.card(markdown=False) if as_json else printed(probe, verbose))
    return probe.code


def game_of(plugins: registry.Plugins, name: str) -> str:
    """The game that another distribution's channel or detector GAME/NAME is checked with; any other name as it is."""
    if not any((kind, name) in plugins.entries for kind in ("channels", "detectors")):
        return name
    game = name.partition("/")[0]
    if game == "*":
        raise UsageError(f"{name} is checked with a game that it serves: loopkit check GAME.")
    return game


def checked_beside(plugins: registry.Plugins, name: str) -> str:
    """The channels and detectors of other distributions that a game was checked with, in a line."""
    distribution = plugins.get("games", name).origin.distribution
    parts = [
        f"{kind[:-1]} {entry.name} ({entry.origin})"
        for kind, entries in (("channels", plugins.channels(name)), ("detectors", plugins.detectors(name)))
        for entry in entries.values()
        if entry.origin.distribution != distribution
    ]
    return f"Checked with it: {', '.join(parts)}." if parts else ""


def _game(plugins: registry.Plugins, name: str, options: dict[str, object], fuzz: int) -> Report:
    try:
        game = build_game(plugins, name, options)
        parts = {n: plugins.build(e) for n, e in plugins.detectors(name).items() if n not in game.detectors}
        others = {n: part for n, part in parts.items() if not part.asked_for}
        return check_game(
            game,
            channels=channels_of(plugins, game, name),
            detectors={**game.detectors, **others},
            name=name,
            fuzz=fuzz,
        )
    except MissingExtra:
        raise
    except (PluginError, UsageError) as error:  # one broken plugin does not keep the other reports back
        if options and isinstance(error, UsageError):
            raise  # the user's own options or data
        return _not_made(name, error)


def _blamed(plugins: registry.Plugins, name: str) -> str:
    """What a user who wrote no game is told beside the complaints of its checks."""
    try:
        return plugins.game(name).reporting.blamed
    except (PluginError, UsageError, AttributeError):
        return ""  # it is reported as one that cannot be loaded


def _asks(plugins: registry.Plugins, name: str) -> bool:
    """Whether a game has options that must be set first, as a user's own reward."""
    try:
        return any(field.is_required() for field in plugins.game(name).Options.model_fields.values())
    except (PluginError, AttributeError):
        return False  # it is reported as one that cannot be loaded


def _alone(plugins: registry.Plugins, name: str) -> bool:
    try:
        return plugins.trainer(name).alone
    except (PluginError, UsageError):
        return False  # it is reported as one that cannot be loaded


def _trainer(plugins: registry.Plugins, name: str) -> Report:
    """Three steps on a bundled game, from the embedded policy."""
    with needing(name):
        from loopkit.policy.tiny import BUNDLED, seen_games

        try:
            game = next(iter(seen_games(plugins).values()))
            setup = Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)
            entry, trainer = plugins.get("trainers", name), plugins.trainer(name)
            with tempfile.TemporaryDirectory() as folder:
                return check_trainer(
                    trainer,
                    workdir=Path(folder),
                    start=PolicyRef(str(BUNDLED)),
                    setup=setup,
                    group_size=8,
                    options=dict(entry.preset),
                    name=name,
                )
        except MissingExtra:
            raise
        except (PluginError, UsageError) as error:
            return _not_made(name, error)


def _intervention(plugins: registry.Plugins, name: str) -> Report:
    """On the prompts of a bundled game, and the options of grpo if it is there."""
    try:
        entry, trainers = plugins.get("interventions", name), plugins.names("trainers")
        game = next(build_game(plugins, game, {}) for game in plugins.names("games") if not _asks(plugins, game))
        trainer = plugins.trainer("grpo") if "grpo" in trainers else None
        return check_intervention(entry.load(), game=game, trainer=trainer, options=entry.preset, name=name)
    except MissingExtra:
        raise
    except (PluginError, UsageError) as error:
        return _not_made(name, error)


def _not_made(name: str, error: Exception) -> Report:
    return Report(name, "fails", (Finding("loaded", False, str(error)),), (f"loaded: {error}",))


def _print(report: Report, seconds: float, verbose: bool, style: str, blamed: str = "") -> None:
    done = [f for f in report.findings if not f.left_out]
    held, left = sum(f.ok for f in done), len(report.findings) - len(done)
    counts = f"{held} of {len({f.check for f in done})} checks held" + (f", {left} left out" if left else "")
    render.say(f"{report.name}: {report.status}. {counts} ({seconds:.1f} s).")
    if report.status == "unproven":
        for reason in report.reasons:
            click.echo(wrapped(reason, "  "))
    shown = [f for f in report.findings if verbose or not f.ok or f.left_out]
    if shown:
        rows = [[_mark(f), f.check, f.message] for f in shown]
        click.echo(render.table(rows, ["", "check", "what was found"], style))
    if blamed and report.status == "fails":
        render.say(blamed)


def _mark(finding: Finding) -> str:
    return "-" if finding.left_out else "ok" if finding.ok else "FAILS"
