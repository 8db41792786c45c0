"""Turns an Experiment into RunSpecs, and a RunSpec into the game, channels and detectors that it names.

Every name and option is checked here, once, before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopkit.contracts import Game, Policy, PolicyRef, RewardChannel
from loopkit.errors import PluginError, UsageError, nearest
from loopkit.experiment.arms import Arm, built, interventions_of, read_arm, watched
from loopkit.experiment.config import (
    BASE,
    TINY_SETTINGS,
    Experiment,
    RolloutQuery,
    RunSettings,
    RunSpec,
    on_tiny,
    parse_seeds,
    validate,
)
from loopkit.parts.channels import Placebo
from loopkit.parts.judges import closed
from loopkit.records import Json
from loopkit.registry import files
from loopkit.registry.contain import contained
from loopkit.rollouts.scoring import CORE_CLUES, PAID, Setup

if TYPE_CHECKING:
    from loopkit.parts.judges import Role
    from loopkit.registry.plugins import Entry, Plugins


GGUF = "gguf"
"""The scheme, and the ending, of a file of quantised weights."""


def build_game(
    plugins: Plugins, name: str, options: Mapping[str, Json], judges: Mapping[str, Policy] | None = None
) -> Game:
    """The game with validated options, its preset among them, and its judges by role."""
    cls, preset = plugins.game(name), plugins.get("games", name).preset
    if "data" in options and "data" not in cls.Options.model_fields:
        raise UsageError(f"game {name} takes no --data: its tasks are its own. Leave it out, or choose another game.")
    chosen = validate(cls.Options, {**options, **preset}, f"game {name}")
    origin = plugins.get("games", name).origin
    mend = "mend it" if files.is_file(name) else f"report it to the authors of {origin.distribution}"
    cure = f"Check its options, or {mend}."
    with contained(origin, f"game {name!r} of {origin} could not be made", cure, passes=(UsageError,)):  # bad data
        return cls(chosen, judges) if judges else cls(chosen)


def own_channels(game: Game) -> dict[str, RewardChannel]:
    """A game's own channels at their defaults, and the placebo. Nobody else can take these names."""
    return {**game.channels, "placebo": Placebo()}


def channels_of(plugins: Plugins, game: Game, name: str) -> dict[str, RewardChannel]:
    """Every channel of a game at its defaults: its own, the placebo, and those of other distributions."""
    others = {
        channel: plugins.build(entry)
        for channel, entry in plugins.channels(name).items()
        if channel not in game.channels
    }
    return {**others, **own_channels(game)}


def channel_of(
    plugins: Plugins, game: Game, name: str, channel: str, options: Mapping[str, Json], where: str
) -> RewardChannel:
    """One channel of the game called ``name``, its options set and validated. Builds no other plugin's."""
    if channel in game.absent:
        raise UsageError(f"{where}: channel {channel!r} of {name} {game.absent[channel]}")
    if channel == PAID:
        raise UsageError(f"{where}: {PAID!r} is the column of whatever pays, and no channel can have that name.")
    default = own_channels(game).get(channel)
    if default is None:
        registered = [n for n in (f"{name}/{channel}", f"*/{channel}") if ("channels", n) in plugins.entries]
        if not registered:
            known = {*own_channels(game), *plugins.channels(name)}
            other = f" Or say what it pays: --set {where}.channel=loophole." if where.startswith("arms.") else ""
            raise UsageError(f"{where}: {name} has no channel {channel!r}. {nearest(channel, known)}{other}")
        default = plugins.build(plugins.get("channels", registered[0]))
    chosen: RewardChannel = validate(type(default), {**default.model_dump(), **options}, where)
    return chosen


def detectors_of(plugins: Plugins, game: Game, name: str, watch: Collection[str] = ()) -> list[str]:
    """The detectors of other distributions that a run of the game called ``name`` applies; of those that look only
    where they are asked for, what ``watch`` names.

    ``*/x`` looks at every game that has the clues it reads. One that cannot be made, or that was made for this game
    and reads what it has not, is left out: nobody asked for it by name. ``plugins.problems`` then says so.
    """
    out = []
    for detector, entry in plugins.detectors(name).items():
        if detector in game.detectors:
            continue
        try:
            made = plugins.build(entry)
            if made.asked_for and detector not in watch:
                continue
            lacking = made.reads - game.clues.keys() - CORE_CLUES
        except PluginError as error:
            plugins.note(entry.origin, str(error))
            continue
        if not lacking:
            out.append(detector)
        elif not entry.name.startswith("*"):
            plugins.note(entry.origin, f"{entry} is not used: {name} has no clue {', '.join(sorted(lacking))}.")
    return out


def refuse_fixed(entry: Entry, options: Mapping[str, Json], where: str) -> None:
    """Refuse options that a preset fixes: they are what its name stands for."""
    for option in options:
        if option in entry.preset:
            raise UsageError(
                f"{where}.{option} is what makes {entry.name!r} that preset ({entry.preset[option]!r}) and cannot be "
                f"set. Use another of the {entry.kind} (`loopkit list {entry.kind}`), or leave it."
            )


def roles_of(plugins: Plugins, name: str, judges: Mapping[str, str]) -> dict[str, Role]:
    """The roles of a game that ``judges`` (role -> model) fills. Raises UsageError for a role it does not have."""
    known = plugins.game(name).judge_roles
    for role in judges:
        if role not in known:
            cure = nearest(role, known) if known else "It asks none. Leave it out."
            raise UsageError(f"judges: {name} has no role {role!r}. {cure}")
    return {role: known[role] for role in judges}


def set_up(plugins: Plugins, spec: RunSpec, judges: Mapping[str, Policy] | None = None) -> Setup:
    """Build what a spec names. Without ``judges`` those it names are closed: names can be read, nothing be scored."""
    roles = roles_of(plugins, spec.game, spec.judges)
    judges = {n: closed(n, role, spec.judges[n]) for n, role in roles.items()} if judges is None else judges
    game = build_game(plugins, spec.game, spec.game_options, judges)
    if files.is_file(spec.game) and type(game).version != spec.game_version:
        raise UsageError(
            f"{spec.game} was edited since the run began: its code (with what it imports beside it) has the hash "
            f"{type(game).version}, and the run's is {spec.game_version}. Bring that code back, or choose another "
            "--out."
        )

    def channel(name: str, options: Mapping[str, Json], where: str) -> RewardChannel:
        return channel_of(plugins, game, spec.game, name, options, where)

    others = {name: plugins.detectors(spec.game).get(name) for name in spec.detectors}
    for name, entry in others.items():
        if entry is None:
            raise UsageError(f"the run has a detector {name!r} that is not installed any more. Reinstall its plugin.")
    return Setup(
        game,
        channel(spec.channel, spec.channel_options, f"arms.{spec.arm}"),
        {name: channel(name, {}, "shadow") for name in spec.shadow},
        {**game.detectors, **{name: plugins.build(entry).fitted(game) for name, entry in others.items() if entry}},
        built(plugins, spec),
    )


def paying(setup: Setup, plugins: Plugins, spec: RunSpec) -> Setup:
    """The same game, with what another run's arm pays and does."""
    return replace(
        setup,
        interventions=built(plugins, spec),
        paid=channel_of(plugins, setup.game, spec.game, spec.channel, spec.channel_options, f"arms.{spec.arm}"),
    )


def scheme_of(model: str) -> tuple[str, str]:
    """(scheme, its argument) of a model as it is named; a file ``x.gguf`` needs no scheme before it."""
    scheme, _, argument = model.partition(":")
    if not argument and model.lower().endswith(f".{GGUF}"):
        return GGUF, model
    return scheme, argument


def start_policy(spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None]) -> Any:
    """Where the model is: a directory or hub id as it is, a scheme ("tiny") through the plugin that registered it.

    A PolicyRef; of a scheme that is evaluated only, the Policy itself.
    """
    scheme, argument = scheme_of(spec.model)
    if scheme in plugins.names("policies"):
        policy: Any = plugins.get("policies", scheme).load()(argument, spec, plugins, progress)
        return policy
    return PolicyRef(spec.model)


def _for_real(plugins: Plugins, experiment: Experiment, game: Game) -> Game:
    """The game with what it suggests for a pretrained model, where the user set nothing else."""
    suggested = {k.removeprefix("game."): v for k, v in game.real.settings.items() if k.startswith("game.")}
    wanted = {k: v for k, v in suggested.items() if k not in experiment.game_options}
    return build_game(plugins, experiment.game, {**wanted, **experiment.game_options}) if wanted else game


def require_there(path: str) -> None:
    """Raise UsageError if a model is a path that does not exist. A hub's id, with one "/", may be anywhere."""
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise UsageError(f"--model {path!r}: there is no such directory. Give a Hugging Face directory or id, or tiny.")


def resolve(experiment: Experiment, plugins: Plugins) -> list[RunSpec]:
    """Every run of an experiment, defaults filled in and every option checked. Base runs come first.

    The settings that a game suggests for the embedded policy (``Game.tiny``) or for any other model (``Game.real``)
    apply where the user set nothing and the trainer has such an option.
    """
    game = build_game(plugins, experiment.game, experiment.game_options)
    if not on_tiny(experiment.model):
        game = _for_real(plugins, experiment, game)
    roles_of(plugins, experiment.game, experiment.judges)
    entry = plugins.get("trainers", experiment.trainer)
    trainer = plugins.trainer(experiment.trainer)
    suggested: dict[str, dict[str, Json]] = {"run": {}, "trainer": {}}
    settings = {**TINY_SETTINGS, **game.tiny.settings} if on_tiny(experiment.model) else game.real.settings
    for key, value in settings.items():
        section, _, option = key.partition(".")
        if section == "run" or (section == "trainer" and option in trainer.Options.model_fields):
            suggested[section][option] = value
    refuse_fixed(entry, experiment.trainer_options, "trainer")
    refuse_fixed(plugins.get("games", experiment.game), experiment.game_options, "game")
    options = validate(
        trainer.Options, {**suggested["trainer"], **experiment.trainer_options, **entry.preset},
        f"trainer {experiment.trainer}",
    )  # fmt: skip
    run: RunSettings = validate(RunSettings, {**suggested["run"], **experiment.run}, "run")
    needed = {"run.thought_tokens": run.thought_tokens, "run.markers": run.markers, "fresh dialogues": game.fresh}
    if any(needed.values()) and experiment.arms and trainer.source == "referee" and not trainer.budgets:
        named = next(name for name, value in needed.items() if value)
        raise UsageError(
            f"trainer {experiment.trainer!r} samples by an engine of its own, which does not keep {named}. Leave that "
            "out, or choose another trainer (grpo keeps it)."
        )
    if run.condition != "instruct" and experiment.arms:
        raise UsageError(
            f"run.condition={run.condition} is for evaluation only: a policy is trained as it is asked, by its chat "
            "template. Use `loopkit study conditions`."
        )
    if run.condition == "chain-of-thought" and on_tiny(experiment.model):
        raise UsageError(
            "tiny cannot think aloud: it has 0.4 million parameters and was shown answers only, so a request to think "
            "first would measure noise. Use --model with a real instruction-tuned model."
        )
    query: RolloutQuery | None = None
    if trainer.source == "rollouts":
        query = validate(RolloutQuery, experiment.rollouts, "rollouts")
        assert query is not None
        if not query.run:
            raise UsageError(
                f"trainer {experiment.trainer!r} learns from recorded rollouts: name a run directory, "
                "--set rollouts.run=runs/…/loophole-s0."
            )
    elif experiment.rollouts:
        raise UsageError(f"trainer {experiment.trainer!r} plays against a referee: it takes no rollouts.* options.")
    arms = [read_arm(name, table) for name, table in experiment.arms.items()]
    detectors = _looking(plugins, game, experiment, arms)
    shadow = sorted({*own_channels(game), *experiment.shadow})
    for name in experiment.shadow:
        channel_of(plugins, game, experiment.game, name, {}, "shadow")
    common: dict[str, Any] = {
        "game": experiment.game,
        "game_version": type(game).version,
        "game_options": game.options.model_dump(mode="json"),
        "shadow": shadow,
        "detectors": detectors,
        "trainer": experiment.trainer,
        "trainer_options": options.model_dump(mode="json"),
        "model": experiment.model,
        "run": run,
        "rollouts": query,
        "judges": experiment.judges,
    }
    seeds = parse_seeds(experiment.seeds)
    specs = [RunSpec(**common, arm=BASE, channel="loophole", channel_options={}, seed=s) for s in seeds]
    for arm in arms:
        paid = channel_of(plugins, game, experiment.game, arm.channel, arm.options, f"arms.{arm.name}")
        if arm.channel not in own_channels(game):
            refuse_fixed(plugins.channels(experiment.game)[arm.channel], arm.options, f"arms.{arm.name}")
        extra: dict[str, Any] = {
            "channel": arm.channel,
            "channel_options": paid.model_dump(mode="json"),
            "interventions": interventions_of(
                arm,
                plugins,
                game,
                detectors,
                [*plugins.detectors(experiment.game)],
                experiment.trainer,
                common["trainer_options"],
            ),
        }
        specs += [RunSpec(**common, arm=arm.name, **extra, seed=s) for s in seeds]
    return specs


def _looking(plugins: Plugins, game: Game, experiment: Experiment, arms: Sequence[Arm]) -> list[str]:
    """The detectors of other distributions that look at every run: what an arm watches, too, so that its rate is known
    where it does nothing."""
    watch = {*experiment.watch, *watched(arms, plugins)}
    looking = detectors_of(plugins, game, experiment.game, watch)
    for name in experiment.watch:
        if name not in (*game.detectors, *looking):
            known = (*game.detectors, *plugins.detectors(experiment.game))
            raise UsageError(f"watch: {experiment.game} has no detector {name!r}. {nearest(name, known)}")
    return looking
