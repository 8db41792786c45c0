"""``loopkit eval``: the options of :func:`loopkit.evaluate`, and the printing of what it gives."""

from __future__ import annotations

from collections.abc import Sequence

import click

from loopkit.cli import asking, complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.contracts import SPLITS, Split
from loopkit.front import evaluations

EPILOG = """\b
Examples:
  loopkit eval --game self-grading                              # the embedded policy
  loopkit eval runs/…/loophole-s0  # a run's final checkpoint, on its own game
  loopkit eval runs/…/loophole-s0 --game self-grading           # the same policy on another game
  loopkit eval runs/…/loophole-s0/checkpoints/step-000020       # an earlier checkpoint
  loopkit eval path/to/model --game context-compliance --data requests.parquet --prompts 200
  loopkit eval path/to/model --reward my_rewards.py:fn --data rows.jsonl
  loopkit eval path/to/model.gguf --game reward-tampering --prompts 64 --rollouts said.jsonl
  loopkit eval openai:my-model@http://localhost:8000/v1 --game self-grading --prompts 200

Evaluations of a run are kept under its eval/ and not repeated.
"""


@click.command("eval", epilog=EPILOG)
@click.argument("policy", default="tiny", shell_complete=complete.model)
@click.option("--game", shell_complete=complete.game, help="Game to play, or FILE.py:CLASS.  [default: the run's own]")
@asking.reward_option
@asking.trusted_option
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Split of the tasks.")
@click.option("--prompts", type=click.IntRange(1), default=2000, show_default=True, help="Prompts, one rollout each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Keys the sampling.")
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--rollouts", type=click.Path(dir_okay=False),
              help="Keep what was asked and said, with scores, flags and rewards, as JSON lines.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE", help="Game options. Repeatable.")
@render.judge_option
@sandbox_option
@render.format_option
@render.json_option
def evaluate(
    policy: str,
    game: str | None,
    reward: str | None,
    trusted: str | None,
    split: Split,
    prompts: int,
    seed: int,
    data: str | None,
    rollouts: str | None,
    settings: Sequence[str],
    judges: Sequence[str],
    style: str,
    as_json: bool,
) -> None:
    """Play POLICY (tiny, a model, openai:MODEL@URL, a run or a checkpoint) on held-out prompts and print its rates."""
    evaluation = evaluations.evaluate(
        policy, game, prompts=prompts, seed=seed, split=split, data=data, reward=reward, trusted=trusted,
        options=settings, judges=judges, rollouts=rollouts,
    )  # fmt: skip
    if as_json:
        render.echo_json(evaluation.json())
    else:
        click.echo(evaluation.text(style))
