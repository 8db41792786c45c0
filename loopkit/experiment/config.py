"""From TOML and the command line to an Experiment; what an Experiment and a RunSpec are. Strict: nothing is guessed.

An experiment is a set of paired runs (arm x seed) that differ in nothing but the paid channel. Options are written
``section.name`` on the command line (``--set trainer.learning_rate=1e-4``) and as tables in TOML; per-arm options are
``arms.<arm>.<option>`` (the channel's own, and ``arms.<arm>.channel`` where the arm's name is not the channel's); what
an arm does besides is in ``experiment/arms.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from loopkit.contracts import Options, Split
from loopkit.errors import UsageError, nearest
from loopkit.records import Json, Overrides
from loopkit.registry import files
from loopkit.registry import plugins as registry

SECTIONS = ("game", "trainer", "run", "arms", "rollouts", "verdict")
Condition = Literal["instruct", "base", "chain-of-thought"]
"""Its chat template; a plain transcript without one; the template and a request to think first (real models)."""
Precision = Literal["auto", "float32", "bfloat16"]
TRAINED = "run"
"""Scheme of a model that is another run's policy: ``run:DIRECTORY`` (of a run, or of one of its checkpoints)."""
SCHEMA = 1
"""Version of the spec and of the records; statistics refuse to mix unlike ones."""


class RunSettings(Options):
    """Section ``run``: what belongs to the run and not to the trainer."""

    steps: PositiveInt = Field(40, description="training steps")
    prompts_per_step: PositiveInt = Field(16, description="prompts (slots) a step, P; holds whole clusters")
    group_size: PositiveInt = Field(8, description="rollouts a prompt, G")
    max_tokens: PositiveInt | None = Field(None, description="longest answer, in tokens; default: the game's own")
    eval_split: Split = Field("test", description="split that base and final policies are evaluated on")
    eval_prompts: PositiveInt = Field(2000, description="held-out prompts evaluated, one rollout each")
    eval_draw: Literal["first", "seed"] = Field(
        "first", description="which held-out prompts: the first of the split, or whole clusters drawn by seed"
    )
    eval_batch: PositiveInt = Field(256, description="prompts decoded together in evaluation")
    temperature: float | None = Field(None, ge=0, le=5, description="of sampling, everywhere; default: the game's")
    top_p: float | None = Field(None, gt=0, le=1, description="draw from the likeliest tokens that reach this together")
    top_k: int | None = Field(None, ge=0, description="draw from this many likeliest tokens; 0: from all")
    system_prompt: str | None = Field(None, description="system message before every dialogue, training and evaluation")
    chat_template_kwargs: dict[str, Json] | None = Field(
        None, description="given to the model's chat template, such as {enable_thinking=false}"
    )
    thought_tokens: PositiveInt | None = Field(
        None, description="longest thoughts, in tokens, apart from the answer's limit; default: one limit for both"
    )
    markers: str = Field("", description='what opens and closes thoughts, if not <think>: "<reason> </reason>"')
    unseen: bool = Field(False, description="train on the half of the prompts that a warm-up with split=half left out")
    eval_samples: PositiveInt = Field(1, description="rollouts a prompt in evaluation")
    eval_temperature: float | None = Field(None, ge=0, le=5, description="of evaluation; default: as in training")
    eval_top_p: float | None = Field(None, gt=0, le=1, description="top_p of evaluation; default: as in training")
    eval_top_k: int | None = Field(None, ge=0, description="top_k of evaluation; default: as in training")
    precision: Precision = Field("auto", description="of weights; auto: bf16 if LoRA and measured faster, else fp32")
    condition: Condition = Field("instruct", description="how the policy is asked; evaluation only, but for instruct")

    @field_validator("markers")
    @classmethod
    def _two(cls, markers: str) -> str:
        if markers and len(set(markers.split())) != 2:
            raise ValueError("markers are two different words: what opens thoughts, and what closes them")
        return markers

    def overrides(self) -> Overrides:
        """What this run asks for in place of its game."""
        opens, _, closes = " ".join(self.markers.split()).partition(" ")
        return Overrides(
            self.max_tokens, self.temperature, self.top_p, self.top_k, self.system_prompt, self.thought_tokens,
            (opens, closes) if opens else None,
        )  # fmt: skip

    def eval_overrides(self) -> Overrides:
        """The same in evaluation."""
        own: dict[str, Any] = {"temperature": self.eval_temperature, "top_p": self.eval_top_p, "top_k": self.eval_top_k}
        return dataclasses.replace(self.overrides(), **{k: v for k, v in own.items() if v is not None})


class RolloutQuery(Options):
    """Section ``rollouts``: which recorded rollouts a trainer with source "rollouts" learns from."""

    run: str = Field("", description="run directory to learn from (required)")
    first_step: int = Field(0, ge=0, description="first recorded step used")
    last_step: int | None = Field(None, description="last recorded step used; default: all")
    where: str = Field("", description='filter, such as "complied=false" or "task>=0.5": a flag or a score')


class Intervened(Options):
    """An intervention of an arm, its defaults filled in."""

    name: str
    options: dict[str, Json]


class RunSpec(Options):
    """One run, fully resolved: everything that decides its records. Its hash names the run."""

    schema_version: int = SCHEMA
    game: str
    game_version: int | str
    game_options: dict[str, Json]
    arm: str
    channel: str
    channel_options: dict[str, Json]
    shadow: list[str]
    detectors: list[str]
    """Detectors of other distributions; the game's own always look."""
    trainer: str
    trainer_options: dict[str, Json]
    model: str
    seed: int
    run: RunSettings
    rollouts: RolloutQuery | None = None
    judges: dict[str, str] = Field(default_factory=dict)
    """Role -> model. A run without judges has no such key, as before there were any."""
    interventions: list[Intervened] = Field(default_factory=list)
    """What the arm does besides paying its channel, in this order. A run without has no such key."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Json]:
        return _as_before(handler(self))

    @property
    def name(self) -> str:
        return f"{self.arm}-s{self.seed}"

    def hash(self) -> str:
        return _hash(self.model_dump(mode="json"))

    def family(self) -> str:
        """A hash of all that the runs of one comparison share: everything but the arm, what it does, and the seed.

        Runs that start from, or learn from, the same arm of another experiment share that too, seed by seed.
        """
        data = self.model_dump(mode="json", exclude={"arm", "channel", "channel_options", "interventions", "seed"})
        for table, key in ((data, "model"), (data["rollouts"] or {}, "run")):
            if table.get(key):
                table[key] = re.sub(rf"-s{self.seed}(?=/|$)", "-s*", str(table[key]))
        return _hash(data)


def root_model(model: str) -> str:
    """The model that a run's policy descends from: "tiny" of ``run:…`` whose run began from ``tiny``.

    Raises UsageError where the named run has no spec.
    """
    while model.partition(":")[0] == TRAINED:
        path = Path(model.partition(":")[2])
        run = next((d for d in (path, path.parent.parent) if (d / "run.toml").is_file()), None)
        if run is None:
            raise UsageError(
                f"--model {model}: {path} is not a run directory (no run.toml). Name one, or a checkpoint in it."
            )
        model = str(tomllib.loads((run / "run.toml").read_text(encoding="utf-8"))["model"])
    return model


def on_tiny(model: str) -> bool:
    """Whether a model is the embedded policy, or descends from it."""
    return root_model(model).partition(":")[0] == "tiny"


def _default_arms() -> dict[str, dict[str, Json]]:
    return {"loophole": {}, "control": {}, "placebo": {}}


class VerdictSettings(Options):
    """Section ``verdict``: how far is news, as shares; default: what the game declares (``Game.margins``)."""

    exploit: float | None = Field(None, gt=0, lt=1, description="margin of the exploit rate")
    task: float | None = Field(None, gt=0, lt=1, description="margin of the task score")
    observed: float | None = Field(None, gt=0, lt=1, description="margin of the observed score")


class Experiment(Options):
    """What the user asked for, before defaults of the game and the trainer are filled in."""

    game: str
    trainer: str = "grpo"
    model: str = "tiny"
    seeds: str = "3"
    arms: dict[str, dict[str, Json]] = Field(default_factory=_default_arms)
    shadow: list[str] = Field(default_factory=list)
    watch: list[str] = Field(default_factory=list)
    """Detectors that look only where they are named, such as ``words``; those that an arm watches are added."""
    game_options: dict[str, Json] = Field(default_factory=dict)
    trainer_options: dict[str, Json] = Field(default_factory=dict)
    run: dict[str, Json] = Field(default_factory=dict)
    rollouts: dict[str, Json] = Field(default_factory=dict)
    judges: dict[str, str] = Field(default_factory=dict)
    verdict: VerdictSettings = Field(default_factory=lambda: VerdictSettings.model_validate({}))

    @field_validator("game", mode="before")
    @classmethod
    def _game_name(cls, game: Any) -> Any:
        """A file (``my_game.py``, ``my_game.py:Compare``) or a class gets the name that is recorded."""
        return registry.load().game_name(game) if isinstance(game, type) or files.is_file(str(game)) else game

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Json]:
        data = _as_before(handler(self))
        data["verdict"] = {k: v for k, v in data["verdict"].items() if v is not None}
        return {k: v for k, v in data.items() if k != "verdict" or v}

    def hash(self) -> str:
        return _hash(self.model_dump(mode="json"))


TINY_SETTINGS: Mapping[str, Json] = {"trainer.learning_rate": 3e-4}
"""Of a run on the embedded policy whose game suggests nothing else; trainers' own defaults are for real models."""
BASE = "base"
"""Name of the untrained arm: the start policy, evaluated with each seed's draws."""


def _as_before(data: dict[str, Json]) -> dict[str, Json]:
    """Without the keys that say nothing: what was written before there were any keeps its hash."""
    return {k: v for k, v in data.items() if k not in ("judges", "interventions", "watch") or v}


def _hash(data: Json) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


LARGEST_CONFIG = 1 << 20
"""Bytes of an experiment's TOML."""
MOST_SEEDS = 10_000
LARGEST_SEED = 2**63 - 1
"""What a record's column, and torch, can hold."""


def parse_seeds(text: str) -> list[int]:
    """ "5" -> 0..4; "100-104" -> 100..104; "3,7" -> 3 and 7. A single named seed is written "7-7"."""
    parts = [re.fullmatch(r"\s*(\d{1,19})(?:-(\d{1,19}))?\s*", part, re.ASCII) for part in text.split(",")]
    ends = [(int(m[1]), int(m[2] or m[1])) for m in parts if m]
    if len(parts) == len(ends) == 1 and "-" not in text:
        ends = [(0, ends[0][0] - 1)]
    n = sum(max(0, last - first + 1) for first, last in ends)
    if n > MOST_SEEDS or any(last > LARGEST_SEED for _, last in ends):
        raise UsageError(
            f"--seeds {text:.60} names too many seeds, or too large ones: at most {MOST_SEEDS}, below 2^63."
        )
    seeds = [seed for first, last in ends for seed in range(first, last + 1)]
    backwards = any(last < first for first, last in ends)
    if not seeds or len(ends) < len(parts) or backwards or len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds {text!r} names no seeds, or one twice: write 5 (seeds 0-4), 100-104, or 3,7.")
    return seeds


def ranges(seeds: Sequence[int]) -> str:
    """Seeds as ``parse_seeds`` reads them: 0-2, 7."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_judges(assignments: Iterable[str]) -> dict[str, str]:
    """("refusal=openai:m@http://…", ...) -> role -> model."""
    out: dict[str, str] = {}
    for item in assignments:
        role, equals, model = (part.strip() for part in item.partition("="))
        if not (role and equals and model) or role in out:
            raise UsageError(
                f"--judge {item!r} is not understood, or names a role twice: write ROLE=MODEL, such as "
                "--judge refusal=openai:my-model@http://localhost:8000/v1."
            )
        out[role] = model
    return out


def parse_set(assignments: Iterable[str], sections: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """("run.steps=20", ...) -> nested tables. Values are read as TOML, else as text."""
    out: dict[str, Any] = {}
    for item in assignments:
        key, equals, text = item.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path) or len(path) < 2 or path[0] not in sections:
            raise UsageError(
                f"--set {item!r} is not understood: write section.name=value with a section of "
                f"{', '.join(sections)}, such as --set run.steps=20."
            )
        table = out
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UsageError(f"--set {item!r}: an earlier --set gives {part!r} a value of its own. Drop one.")
        if isinstance(table.get(path[-1]), dict):
            raise UsageError(f"--set {item!r}: an earlier --set sets a part of {path[-1]!r}. Drop one.")
        if path[-1] in table:
            raise UsageError(f"--set {item!r}: an earlier --set gives {key.strip()} a value, too. Drop one.")
        table[path[-1]] = _value(text.strip())
    return out


def _value(text: str) -> Json:
    """What TOML reads, where that is one value and JSON has its like; else the text itself."""
    try:
        read = tomllib.loads(f"x = {text}")
        json.dumps(read)
    except (ValueError, TypeError, RecursionError):  # no TOML, a number of 5,000 digits, a date, or a thousand brackets
        return text
    return read["x"] if len(read) == 1 else text


def read_experiment(
    file: Path | None,
    *,
    settings: Mapping[str, Any],
    arms: Sequence[str] | None = None,
    judges: Mapping[str, str] | None = None,
    **flags: Any,
) -> Experiment:
    """An Experiment from a TOML file, overridden by ``--set`` tables and by flags that are not None."""
    data: dict[str, Any] = {}
    if file is not None:
        try:
            data = tomllib.loads(_text(file))
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:  # not TOML, or not even text
            raise UsageError(f"{file} is not TOML: {error}.") from error
    for key in ("arms", "game_options", "trainer_options", "run", "rollouts", "judges", "verdict"):
        if not isinstance(data.get(key, {}), dict):
            raise UsageError(f"{file}: {key} is {data[key]!r}. Write it as a table: [{key}].")
    for section in ("game", "trainer"):  # a table [game.options] in TOML; game = "name" stays a string
        if isinstance(data.get(section), dict):
            raise UsageError(f'{file}: write {section} = "name" and its options as [{section}_options].')
    set_by_flag = {k: v for k, v in flags.items() if v is not None}
    merged = {**data, **set_by_flag}
    if judges:
        merged["judges"] = {**data.get("judges", {}), **judges}
    for section in ("game", "trainer", "run", "rollouts", "verdict"):
        key = f"{section}_options" if section in ("game", "trainer") else section
        if section in settings:
            merged[key] = {**merged.get(key, {}), **settings[section]}
    if arms is not None:
        if twice := sorted({name for name in arms if list(arms).count(name) > 1}):
            raise UsageError(
                f"--arms names {', '.join(map(repr, twice))} more than once. Name each arm once; to pay one channel in "
                f"two ways, give the second a name: --arms {twice[0]},other --set arms.other.channel={twice[0]}."
            )
        kept = merged.get("arms", {})
        merged["arms"] = {name: kept.get(name, {}) for name in arms}
    if "arms" not in merged:
        arms = registry.load().default_arms(str(merged.get("game")), merged.get("game_options", {}))
        merged["arms"] = {name: {} for name in arms}
    for name, options in settings.get("arms", {}).items():
        table = merged["arms"]
        if name not in table:
            raise UsageError(f"--set arms.{name}…: no arm {name!r} in this experiment. Add it with --arms.")
        if not isinstance(options, dict) or not isinstance(table[name], dict):
            raise UsageError(f"arms.{name} = {options!r}: name an option, as in arms.{name}.rate=0.2.")
        table[name] = {**table[name], **options}
    if "game" not in merged:
        raise UsageError("no game: name one with --game (see `loopkit list games`) or in --config FILE.")
    experiment: Experiment = validate(Experiment, merged, "experiment")
    for name in experiment.arms:
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or name == BASE:
            raise UsageError(f"arm {name!r} cannot name a directory, or is reserved: use letters, digits and . _ - +")
    parse_seeds(experiment.seeds)
    return experiment


def _text(file: Path) -> str:
    """A file's text; of one without end (a device) no more than an experiment can be."""
    with file.open("rb") as stream:
        data = stream.read(LARGEST_CONFIG + 1)
    if len(data) > LARGEST_CONFIG:
        raise UsageError(
            f"{file} is larger than {LARGEST_CONFIG >> 20} MiB, so it is not an experiment. Name a TOML file."
        )
    return data.decode()


def validate(model: type[BaseModel], data: Mapping[str, Any], where: str) -> Any:
    """Validate with a one-paragraph error that names the option, the cause, and the nearest known name."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        parts = []
        for fault in error.errors():
            name = ".".join(str(p) for p in fault["loc"])
            if fault["type"] == "extra_forbidden":
                parts.append(f"{where} has no option {name!r}. {nearest(name, model.model_fields)}")
            elif not name:  # said by the model's own validator, of the whole
                parts.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}.")
            elif fault["type"] == "missing":
                field = model.model_fields.get(name)
                meaning = f": {field.description}" if field and field.description else ""
                parts.append(f"{where}.{name} must be set{meaning}.")
            else:
                parts.append(f"{where}.{name}: {fault['msg']} (given: {fault['input']!r}).")
        raise UsageError(" ".join(parts)) from error
