"""What an experiment on a pretrained model takes, and which of its settings make no sense, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from loopkit.contracts import Game
from loopkit.experiment.config import BASE, RunSpec, on_tiny
from loopkit.experiment.resolve import GGUF, scheme_of
from loopkit.records import Decode, Task

GIB = 1 << 30
CHARACTERS = 4
"""Of English, a token, about."""
LOOKED_AT = 64
"""Tasks whose prompts are measured."""
MOST_RATE = 5e-5
"""The learning rate above which training every weight of a pretrained model is not worth a try."""


@dataclass(frozen=True)
class Cost:
    """An upper bound of a kind: every answer as long as it may be, and a processor that does nothing else."""

    parameters: int
    rate: float
    """Multiplications and additions a second of one run, measured."""
    step_s: float
    evaluation_s: float
    hours: float
    """Of all runs, as many side by side as planned."""
    memory: int
    """Bytes of the runs that are side by side."""
    memory_of_one: int
    free: int

    def text(self) -> str:
        return (
            f"About {self.hours:.1f} hours at most: {self.step_s:.0f} s a step, {self.evaluation_s / 60:.0f} min an "
            f"evaluation, where every answer takes all its tokens ({self.parameters / 1e6:.0f} M parameters, "
            f"{self.rate / 1e9:.0f} billion products and sums a second, measured). Memory: about "
            f"{self.memory / GIB:.1f} GiB; {self.free / GIB:.1f} are free."
        )


def cost(specs: Sequence[RunSpec], jobs: int, game: Game) -> Cost | None:
    """What these runs take; None on the embedded policy, and where the model's size is not known here."""
    from loopkit.policy import fits
    from loopkit.policy.precision import in_format, measured

    first = specs[0]
    parameters = None if on_tiny(first.model) else parameters_of(first.model)
    if parameters is None:
        return None
    dtype = in_format(first)
    # torch shares the cores among the runs that are side by side; one measurement is of all of them
    rate = measured()[dtype] * 1e9 / jobs
    prompt_tokens, answered = tokens(list(islice(game.tasks("train"), LOOKED_AT)), first)
    rollouts, lora = first.run.prompts_per_step * first.run.group_size, bool(first.trainer_options.get("lora_rank"))
    token = 2.0 * parameters / rate  # a multiplication and an addition a weight
    played = (prompt_tokens / first.run.group_size + answered) * token  # a group runs its prompt once
    learned = (2 if lora else 3) * played  # forward and backward; frozen weights have no gradient of their own
    step_s = rollouts * (played + learned)
    evaluation_s = first.run.eval_prompts * (prompt_tokens + answered) * token
    trained = [s for s in specs if s.arm != BASE]
    seconds = len(trained) * first.run.steps * step_s + len(specs) * evaluation_s
    total, free = fits.memory()
    one = fits.training_bytes(
        fits.usual(parameters), lora_rank=int(first.trainer_options.get("lora_rank", 0)), dtype=dtype,
        tokens=int(first.trainer_options.get("token_budget", 1024)),
    )  # fmt: skip
    return Cost(parameters, rate, step_s, evaluation_s, seconds / jobs / 3600, one * jobs, one, min(free, total))


def tokens(tasks: Sequence[Task], spec: RunSpec) -> tuple[float, float]:
    """(tokens of a prompt, tokens of the longest answer), a rollout of one turn, on average over tasks."""
    overrides = spec.run.overrides()
    openings = [overrides.opening(task.messages) for task in tasks]
    prompt = fmean(sum(len(m.content) for m in opening) / CHARACTERS for opening in openings)
    return prompt, fmean((opening[-1].decode or Decode()).max_tokens for opening in openings)


def parameters_of(model: str) -> int | None:
    """The size of a model that lies here, or is known by its hub id; None of one that is neither."""
    from loopkit.policy import here

    scheme, argument = scheme_of(model)
    if scheme == GGUF:
        one = here.gguf(Path(argument))
        return one.parameters if one is not None else None
    if Path(model).is_dir():
        one = here.directory(Path(model), "directory")
        return one.parameters if one is not None else None
    known = [k.parameters for k in here.KNOWN if k.id == model]
    cached = [f.parameters for f in here.everywhere([]) if f.name.partition("@")[0] == model]
    return next((n for n in [*known, *cached] if n), None)


def doubts(specs: Sequence[RunSpec], game: Game, estimate: Cost | None) -> list[str]:
    """Settings that make no sense for a pretrained model, each with what to set instead."""
    first = specs[0]
    if on_tiny(first.model):
        return []
    options, out = first.trainer_options, []
    whole = "lora_rank" in options and not options["lora_rank"]
    if whole:
        out.append("Every weight is trained: 16 bytes each. trainer.lora_rank=16 trains an adapter instead.")
    if whole and float(options.get("learning_rate", 0)) > MOST_RATE:
        out.append(
            f"trainer.learning_rate={options['learning_rate']:g} destroys a pretrained model that is trained whole. "
            "Set it to 1e-6 or so."
        )
    if not game.real.settings:
        out.append(
            "This game suggests nothing for a pretrained model: lengths and steps are those for tiny. Look with "
            "`loopkit fit` first."
        )
    if first.run.group_size < 4 and options.get("baseline") == "group":
        out.append("Groups this small rarely differ in pay: set run.group_size to 8.")
    if estimate is not None and estimate.memory > estimate.free:
        room = int(estimate.free // estimate.memory_of_one)
        cure = f"set --jobs {room}" if room else "take a smaller model or trainer.token_budget, or LoRA"
        out.append(f"Side by side the runs want more memory than is free: {cure}.")
    return out
