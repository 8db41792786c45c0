"""``loopkit card``: what is known of a game or a reward, on one card; and what is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import asking, complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.errors import UsageError
from loopkit.experiment.config import parse_set

EPILOG = """\b
Examples:
  loopkit card self-grading                      # Markdown, printed
  loopkit card self-grading --model tiny --out cards  # and base rates; four files
  loopkit card proxy-metric --results runs/first      # and what training showed
  loopkit card --reward my_rewards.py:passes --data rows.jsonl --out cards
  loopkit card --schema                          # the JSON schema of a card

What was not measured is said on the card, with what to do. --out writes NAME.json, NAME.md, NAME.html and the badge
NAME.svg. Exit codes: 0 done (whatever the card says), 2 usage.
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False, shell_complete=complete.game)
@asking.reward_option
@asking.trusted_option
@click.option("--data", type=click.Path(), help="Rows of the reward, or real rows for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="game.NAME=VALUE", help="Game options. Repeatable.")
@click.option("--model", shell_complete=complete.model, help="Whose base rates are measured, such as tiny.")
@click.option("--prompts", type=click.IntRange(1), help="With --model: held-out prompts.  [default: 500]")
@click.option("--results", multiple=True, type=click.Path(path_type=Path),
              help="A finished experiment: its directory, or its results.json. Repeatable.")  # fmt: skip
@click.option("--no-probe", is_flag=True, help="Leave the probe of a game out.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Directory for the four files.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a card, and nothing else.")
@sandbox_option
@render.json_option
def card(
    name: str | None, reward: str | None, trusted: str | None, data: str | None, settings: Sequence[str],
    model: str | None, prompts: int | None, results: Sequence[Path], no_probe: bool, out: Path | None, schema: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Make the card of the game NAME, or of your own --reward: contract, detectors, probe, training."""
    from loopkit.front import carded
    from loopkit.report import card_pages, cards
    from loopkit.system.files import write_whole

    if schema:
        click.echo(json.dumps(cards.schema(), indent=1))
        return
    if prompts is not None and model is None:
        raise UsageError("--prompts is about the base rates of a model. Add --model tiny, or leave it out.")
    options = parse_set(settings, ("game",)).get("game", {})
    if reward and (options or model):
        raise UsageError("--set and --model are about a game. Leave them out with --reward.")
    made = carded.card(
        name, reward=reward, trusted=trusted, data=data, options=options, model=model,
        prompts=prompts or carded.PROMPTS, results=results, probe=not no_probe,
    )  # fmt: skip
    if out is None:
        click.echo(made.json_text() if as_json else card_pages.markdown(made))
        return
    stem = carded.stem(made)
    files = [out / f"{stem}{suffix}" for suffix in card_pages.FORMS]
    for file in files:
        write_whole(file, card_pages.written(made, file.suffix, f"{stem}.svg").encode())
    if as_json:
        render.echo_json({"files": [str(file) for file in files], "status": cards.status(made)[0],
                          "not_measured": dict(made.missing)})  # fmt: skip
        return
    render.say(f"{made.subject.name}: {cards.status(made)[0]}. Written: {', '.join(map(str, files))}.")
    for part, why in made.missing:
        render.say(f"Not measured: {cards.PARTS[part].lower()}: {why}")
