"""``loopkit.card``: measures a game or a reward and makes its card. What is not measured is said, with the cure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import loopkit
from loopkit.checks import check_game
from loopkit.checks.played import Played, play
from loopkit.checks.quality import labels
from loopkit.contracts import ExploitDetector, Game, RewardChannel
from loopkit.errors import CheckFailed, LoopkitError, UsageError
from loopkit.experiment.manifest import versions
from loopkit.experiment.resolve import build_game, channels_of, detectors_of
from loopkit.front.trained import training
from loopkit.probing import Probe, Settings, run
from loopkit.records import Json
from loopkit.registry import files
from loopkit.registry import plugins as registry
from loopkit.report import cards
from loopkit.report.cards import Card, Contract, NotMeasured
from loopkit.rewards.source import fingerprint
from loopkit.stats.corrected import Labels
from loopkit.stats.rates import wilson
from loopkit.system import code

ROWS, REPLIES, SEARCH = 50, 10_000, 1000
"""What a card's probe of a game may ask: a part of what `loopkit probe` does, in seconds."""
LONG = 600.0
"""Seconds that bound a card's probe; the replies do, so that the same card is made on every machine."""
PROMPTS = 500
SUMMARY = 400
"""Characters of a reply that a card shows."""


def card(
    name: str | None = None,
    *,
    reward: str | None = None,
    trusted: str | None = None,
    data: str | Path | None = None,
    options: Mapping[str, Json] | None = None,
    model: str | None = None,
    prompts: int = PROMPTS,
    results: Sequence[str | Path] = (),
    probe: bool = True,
) -> Card:
    """The card of the game ``name``, or of a user's own ``reward`` on ``data``.

    ``model``: whose base rates are measured, on ``prompts`` held-out prompts. ``results``: finished experiments
    (directories, or files of their results), whose verdicts it shows. Raises UsageError for names that do not exist,
    and results of another game.
    """
    if (name is None) == (reward is None):
        raise UsageError("a card is of one game or one reward. Name a game, or give --reward FILE.py:NAME.")
    if reward is not None:
        return _of_reward(reward, trusted, data, results)
    if trusted is not None:
        raise UsageError("--trusted is held against a reward. Add --reward FILE.py:NAME, or leave it out.")
    assert name is not None
    chosen = {**(options or {}), **({"data": str(data)} if data is not None else {})}
    return _of_game(registry.load(), name, chosen, model, prompts, results, probe)


# --- a game -----------------------------------------------------------------------------------------------------------


def _of_game(
    plugins: registry.Plugins, name: str, options: dict[str, Json], model: str | None, prompts: int,
    results: Sequence[str | Path], probe: bool,
) -> Card:  # fmt: skip
    name = plugins.game_name(name)
    game = build_game(plugins, name, options)
    channels = channels_of(plugins, game, name)
    others = {n: plugins.build(plugins.detectors(name)[n]) for n in detectors_of(plugins, game, name)}
    detectors = {**game.detectors, **others}
    report = check_game(game, channels=channels, detectors=detectors, name=name)
    played = _played(game, channels, detectors)
    turns = "" if isinstance(played, NotMeasured) else _turns(played)
    command = ["loopkit", "card", name, *(w for k, v in options.items() for w in ("--set", f"game.{k}={v}"))]
    command += ["--model", model] if model else []
    command += [w for path in results for w in ("--results", str(path))]
    return Card(
        subject=_subject(plugins, name, game, options, turns),
        made=_made(command),
        contract=Contract(
            status=report.status, held=sum(f.ok and not f.left_out for f in report.findings),
            of=len({f.check for f in report.findings}), reasons=report.reasons,
            left_out={f.check: f.message for f in report.findings if f.left_out},
        ),
        pay=played if isinstance(played, NotMeasured) else _pay(played, channels),
        base_rates=_base(name, options, model, prompts),
        detectors=_quality(game, detectors, played),
        probe=_probed(name, game, options, channels, turns) if probe else NotMeasured(not_measured=OFF),
        training=training(results, name, None),
    )  # fmt: skip


OFF = "it was left out by --no-probe."


def _subject(
    plugins: registry.Plugins, name: str, game: Game, options: Mapping[str, Json], turns: str
) -> cards.Subject:
    origin = plugins.get("games", name).origin
    about = {} if files.is_file(name) else _metadata(origin.distribution)
    known = partial(_known, about)
    home = known("Project-URL").rpartition(", ")[2] or known("Home-page")
    return cards.Subject(
        kind="game", name=name, title=" ".join((type(game).__doc__ or name).strip().partition("\n\n")[0].split()),
        version=str(type(game).version), hash=code.of_class(type(game)), axis=game.axis, turns=turns,
        options=dict(options), origin=str(origin), licence=known("License-Expression") or known("License"),
        author=known("Author") or known("Author-email"), home=home,
    )  # fmt: skip


def _metadata(distribution: str) -> Mapping[str, Any]:
    """What a distribution says of itself; nothing of one that is not installed."""
    try:
        return metadata(distribution).json
    except PackageNotFoundError:
        return {}


def _known(about: Mapping[str, Any], key: str) -> str:
    """The first value of a metadata field, or empty."""
    value = about.get(key.lower().replace("-", "_")) or ""
    return str(value[0] if isinstance(value, list) else value)


def _made(command: Sequence[str]) -> cards.Made:
    return cards.Made(loopkit=loopkit.__version__, command=shlex.join(command), versions=versions())


def _played(
    game: Game, channels: Mapping[str, RewardChannel], detectors: Mapping[str, ExploitDetector]
) -> Played | NotMeasured:
    try:
        return play(game, channels, detectors)
    except CheckFailed as error:
        return NotMeasured(not_measured=f"its specimens could not be played: {error}")


def _turns(played: Played) -> str:
    most = max(len(s.rollout.steps) for s in played.specimens)
    return "1" if most == 1 else "2 or more"


def _pay(played: Played, channels: Mapping[str, RewardChannel]) -> cards.Pay | NotMeasured:
    return cards.Pay(
        n=played.n,
        channels={name: played.pays(name, channel) for name, channel in channels.items() if name != "placebo"},
    )


def _base(name: str, options: Mapping[str, Json], model: str | None, prompts: int) -> cards.BaseRates | NotMeasured:
    if model is None:
        return NotMeasured(not_measured="no model was played. Add --model tiny, or another that can play it.")
    from loopkit.front.evaluations import evaluate

    seen = evaluate(model, name, prompts=prompts, options={"game": dict(options)} if options else (), progress=False)
    return cards.BaseRates(
        model=model, split=seen.split, seed=seen.seed, n=seen.summary.n,
        scores=dict(seen.summary.scores), rates=dict(seen.summary.rates),
    )  # fmt: skip


def _quality(
    game: Game, detectors: Mapping[str, ExploitDetector], played: Played | NotMeasured
) -> tuple[cards.Quality, ...] | NotMeasured:
    """On the specimens, and on transcripts that a reader labelled, where the game has some."""
    made = []
    labelled = game.labelled()
    for name, detector in detectors.items():
        if not isinstance(played, NotMeasured):
            made.append(_row(name, "specimens", *played.labels(name)))
        if known := [one for one in labelled if name in one.flags]:
            found = labels(game, name, detector, labelled)
            made.append(_row(name, "labelled", found, len(known) - found.exploits - found.honest))
    return tuple(made) or NotMeasured(not_measured="no specimen could be played, and the game has no labelled().")


def _row(name: str, on: Any, found: Labels, abstained: int) -> cards.Quality:
    return cards.Quality(
        detector=name, on=on, recall=share(found.flagged, found.exploits),
        false_positives=share(found.honest - found.cleared, found.honest), abstained=abstained,
    )  # fmt: skip


def stem(card: Card) -> str:
    """What a card's files are called: the name, without what a file's name may not hold."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", card.subject.name.rpartition("/")[2]).strip("-.") or "card"


def share(k: int, n: int) -> cards.Share:
    """``k`` of ``n`` with Wilson's interval."""
    low, high = wilson(k, n) if n else (None, None)
    return cards.Share(k=k, n=n, value=k / n if n else None, low=low, high=high)


def _probed(
    name: str, game: Game, options: Mapping[str, Json], channels: Mapping[str, RewardChannel], turns: str
) -> cards.Probed | NotMeasured:
    """The channel ``loophole`` as a reward, held against ``control``: a game of one turn is rows and a reward."""
    from loopkit.export import rows as exported
    from loopkit.export.bridge import Exported

    if turns != "1":
        return NotMeasured(
            not_measured="the probe says one reply to a row, and this game asks more turns. What its known exploit "
            "earns stands under pay."
        )
    if files.is_file(name):
        return NotMeasured(not_measured="the game is a file. Make it a distribution: `loopkit new game NAME`.")
    there = exported.rows(Exported(name, type(game).version, game.options.model_dump(mode="json")), "test", 10 * ROWS)
    try:
        found = run(Settings(
            "loopkit.export.rows:paid", there, "loopkit.export.rows:meant" if "control" in channels else "",
            "answer", "prompt", rows=ROWS, replies=REPLIES, seconds=LONG, search=SEARCH, code=False,
        ))  # fmt: skip
    except LoopkitError as error:
        return NotMeasured(not_measured=f"the probe could not be made: {error}")
    return probed(found, "the channel control" if "control" in channels else "")


def probed(found: Probe, against: str) -> cards.Probed:
    """A probe as a card has it: the most telling trick of each kind."""
    from loopkit.probing.card import shown

    return cards.Probed(
        word=found.word, sentence=found.sentence, cure=found.cure,
        tricks=tuple(
            cards.Trick(name=h.name, reply=h.reply[:SUMMARY], pay=h.pay, control_pay=h.control_pay,
                        rows=share(h.fell, h.of))
            for h in shown(found.hits)
        ),
        right=found.right, wrong=found.wrong, ignorant=found.ignorant, rows=found.rows, replies=found.replies,
        kinds=len(found.kinds), left=tuple(found.left), against=against,
    )  # fmt: skip


# --- a reward ---------------------------------------------------------------------------------------------------------


def _of_reward(reward: str, trusted: str | None, data: str | Path | None, results: Sequence[str | Path]) -> Card:
    found = run(Settings(reward, data, trusted or ""))
    command = ["loopkit", "card", "--reward", reward, *(["--data", str(data)] if data is not None else [])]
    command += ["--trusted", trusted] if trusted else []
    command += [w for path in results for w in ("--results", str(path))]
    game = registry.load().with_flag("reward")
    return Card(
        subject=cards.Subject(kind="reward", name=reward, title=f"A reward, called as {found.signature}.",
                              version="", hash=_hash(reward)),
        made=_made(command),
        contract=NotMeasured(not_measured="a reward keeps no contract of a game's; the probe says what it pays for."),
        pay=NotMeasured(not_measured="a reward names no specimens; what right and wrong answers earn is under probe."),
        base_rates=NotMeasured(
            not_measured="what an untrained policy earns is a training's arm base. Give --results of `loopkit run`."
        ),
        detectors=NotMeasured(not_measured="a reward brings no detector."),
        probe=probed(found, trusted or ""),
        training=training(results, game or "", reward),
    )  # fmt: skip


def _hash(reward: str) -> str:
    """Of all that the reward is made of; of a library's set its name says all, with the versions."""
    import hashlib

    from loopkit.rewards.reward import parts

    made = []
    for weight, named in parts(reward):
        try:
            made.append((weight, fingerprint(named)))
        except LoopkitError:
            made.append((weight, named))
    return made[0][1] if len(made) == 1 else hashlib.sha256(repr(made).encode()).hexdigest()[:16]
