"""``loopkit list``: what is registered and where it comes from; and, of one name, its options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import click

from loopkit.cli import complete, details, render
from loopkit.errors import LoopkitError, UsageError, nearest
from loopkit.experiment.resolve import build_game, own_channels
from loopkit.registry import plugins as registry
from loopkit.registry.contain import contained, excerpt
from loopkit.registry.plugins import KINDS, OWN, Entry, Kind, Plugins

EPILOG = """\b
Examples:
  loopkit list
  loopkit list channels --format markdown
  loopkit list trainers grpo              # its options: default, range, meaning
  loopkit list interventions penalty      # as an arm: --arms loophole,loophole+penalty
  loopkit list games self-grading --json  # options, channels, detectors, signals and clues
  loopkit list settings                   # options of every run
  loopkit list --from some-distribution
"""
SHOWN = 20
"""Names of one kind and distribution in the table, unless it is asked for."""


class Row(NamedTuple):
    kind: str
    name: str
    what: str
    origin: str


@click.command("list", epilog=EPILOG)
@click.argument("kind", type=click.Choice([*KINDS, "settings"]), required=False)
@click.argument("name", required=False, shell_complete=complete.name)
@click.option("--from", "source", metavar="DISTRIBUTION", shell_complete=complete.distribution,
              help="Only what this distribution offers, all of it.")  # fmt: skip
@render.format_option
@render.json_option
def list_(kind: str | None, name: str | None, source: str | None, style: str, as_json: bool) -> None:
    """List games, channels, detectors, trainers, interventions and policies (default: all), with their origin.

    With a NAME: what it is and its options. KIND settings: the options that every run has.
    """
    plugins = registry.load()
    if kind == "settings" or name:
        about = details.settings() if kind == "settings" else details.of(plugins, cast(Kind, kind), name or "")
        render.echo_json(about) if as_json else click.echo(details.text(about, style))
        return
    kinds = (cast(Kind, kind),) if kind else KINDS
    if source is not None and source not in (known := {o.distribution for o in plugins.origins}):
        raise UsageError(f"no plugin comes from {source!r}. {nearest(source, known)}")
    offers = [o for k in kinds for o in offered(plugins, k) if source in (None, o.entry.origin.distribution)]
    if as_json:
        render.echo_json([_row(o)._asdict() for o in offers])
    else:
        rows = [_row(o) for o in offers] if source else list(_short(offers))
        click.echo(render.table(rows, ["kind", "name", "what it is", "origin"], style, keys=2))
        render.tell_problems(plugins)


class Offer(NamedTuple):
    """A name that a user may ask for. ``thing`` is a game's own channel or detector, which has no entry of its own."""

    kind: Kind
    name: str
    entry: Entry
    thing: Any = None
    taken: bool = False
    """Whether several distributions ask for the name, so that none has it."""


def offered(plugins: Plugins, kind: Kind) -> list[Offer]:
    """Every name of a kind, a game's own channels and detectors among them; loopkit's own first, then by distribution.

    Of a game that cannot be made they are left out: that is for ``doctor``.
    """
    offers = [
        Offer(kind, name, plugins.entries[kind, name], taken=(kind, name) in plugins.contested)
        for name in plugins.names(kind)
    ]
    if kind in ("channels", "detectors"):
        for game in plugins.names("games"):
            if ("games", game) not in plugins.contested:
                offers += _owned(plugins, kind, game, plugins.entries["games", game])
    return sorted(
        offers,
        key=lambda o: (o.entry.origin.distribution != OWN, o.entry.origin.distribution, o.name.rpartition("/")[0]),
    )


def _owned(plugins: Plugins, kind: Kind, game: str, entry: Entry) -> list[Offer]:
    try:
        with contained(entry.origin, f"{entry} has no {kind}", ""):
            built = build_game(plugins, game, {})
            owned = own_channels(built) if kind == "channels" else built.detectors
            return [Offer(kind, f"{game}/{part}", entry, thing) for part, thing in owned.items() if part != "placebo"]
    except LoopkitError:
        return []


def _short(offers: list[Offer]) -> Iterator[Row]:
    """A distribution with very many names of a kind does not bury the others."""
    groups: dict[tuple[Kind, str], list[Offer]] = {}
    for offer in offers:
        groups.setdefault((offer.kind, str(offer.entry.origin)), []).append(offer)
    for (kind, origin), group in groups.items():
        yield from (_row(o) for o in group[:SHOWN])
        if len(group) > SHOWN:
            command = f"loopkit list {kind} --from {group[0].entry.origin.distribution}"
            yield Row(kind, f"… {len(group) - SHOWN} more", f"`{command}` lists them", origin)


def _row(offer: Offer) -> Row:
    return Row(offer.kind, excerpt(offer.name, 120), _about(offer), str(offer.entry.origin))


def _about(offer: Offer) -> str:
    """The first line of its docstring, and the options that make it what it is."""
    entry = offer.entry
    if offer.taken:
        return "asked for by several distributions: nobody has it (see `loopkit doctor`)"
    try:
        with contained(entry.origin, "cannot be described", ""):
            thing = entry.load() if offer.thing is None else offer.thing
            options = entry.preset if offer.thing is None else dict(thing)
            preset = ", ".join(f"{k}={v}" for k, v in options.items())
            return excerpt(details.first_line(thing) + (f" ({preset})" if preset else ""), 200)
    except LoopkitError as error:
        return excerpt(f"cannot be loaded: {error}", 100)
