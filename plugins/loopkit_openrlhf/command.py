"""The command line: what the run fixes, what the options choose, and what the user passes through."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from loopkit.contracts import Options, Referee
from loopkit.errors import UsageError
from loopkit.records import Decode

MODULE = "openrlhf.cli.train_ppo_ray"
Estimator = Literal["group_norm", "gae", "rloo", "reinforce", "reinforce_baseline", "dr_grpo"]
GUARDED = ("data.", "ckpt.", "eval.", "reward.", "algo.dynamic_filtering", "train.async", "train.partial_rollout")
"""Beginnings of the flags that no one may pass through: they would change what is played, paid, counted or kept."""
NOT_REACHED = ("127.0.0.1", "localhost", "0.0.0.0", "::", "::1")
"""Addresses that mean another machine to another node: no engine there could reach the referee by them."""
SEEDS = 2**31
"""OpenRLHF's seeds are below this (numpy's are below 2^32, and engines add their number)."""


class OpenRlhfOptions(Options):
    """Options of openrlhf:grpo and its relatives. Defaults follow the paper where it names them, for real models."""

    estimator: Estimator = Field("group_norm", description="OpenRLHF's advantage estimator; the preset fixes it")
    python: str = Field(
        "", description="interpreter that has OpenRLHF; default: $LOOPKIT_OPENRLHF_PYTHON, else loopkit's own"
    )
    allow_untested: bool = Field(False, description="run with a version of OpenRLHF outside the tested range")
    gpus: int = Field(1, ge=1, description="GPUs a node")
    nodes: int = Field(1, ge=1, description="nodes of the Ray cluster")
    colocate: bool = Field(True, description="training and vLLM share every GPU in turn; else each has half of them")
    sleep: bool = Field(True, description="whoever does not need a shared GPU frees its memory meanwhile")
    tensor_parallel: int = Field(1, ge=1, description="GPUs a vLLM engine")
    ray_address: str = Field("local", description="Ray cluster to join (host:port, or auto); local: start one")
    host: str = Field("127.0.0.1", description="address the referee listens on; many nodes need this node's own")
    learning_rate: float = Field(1e-6, gt=0, description="AdamW's of the policy, constant")
    critic_learning_rate: float = Field(9e-6, gt=0, description="AdamW's of the critic, constant (openrlhf:ppo)")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the start policy in the loss (k3, a token)")
    correction: Literal["token", "seq", "off"] = Field(
        "token", description="importance weights for what vLLM and the trainer say differently; off: vllm_kl unknown"
    )
    max_len: int = Field(2048, ge=2, description="longest rollout, in tokens: prompt, answers and replies")
    micro_batch: int = Field(4, ge=1, description="rollouts a GPU sees at once; memory, not results")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints to resume from")
    engine_args: list[str] = Field([], description="further words of OpenRLHF's command line, passed on as they are")


@dataclass(frozen=True)
class Layout:
    """How many GPUs a node each part has, and how many vLLM engines there are in all."""

    actor: int
    critic: int
    engines: int


def layout(options: OpenRlhfOptions) -> Layout:
    """Colocated, everything is on every GPU; else vLLM has half of each node, and the learners share the other."""
    total, learners = options.nodes * options.gpus, 2 if options.estimator == "gae" else 1
    if options.colocate:
        if total % options.tensor_parallel:
            raise UsageError(
                f"{total} GPUs cannot hold whole vLLM engines of {options.tensor_parallel}: set "
                "trainer.tensor_parallel to a divisor of trainer.gpus x trainer.nodes."
            )
        return Layout(options.gpus, options.gpus, total // options.tensor_parallel)
    each = max(1, options.gpus // (2 * learners))
    left = total - options.nodes * learners * each
    if left < options.tensor_parallel:
        raise UsageError(
            f"trainer.gpus x trainer.nodes = {total} is too few to part: {learners} for the learning and "
            f"{options.tensor_parallel} for a vLLM engine are the least. Set trainer.colocate=true, or more GPUs."
        )
    if left % options.tensor_parallel:
        raise UsageError(
            f"the {left} GPUs that the learning leaves cannot hold whole vLLM engines of {options.tensor_parallel}: "
            f"set trainer.tensor_parallel to a divisor of {left}, or trainer.colocate=true."
        )
    return Layout(each, each, left // options.tensor_parallel)


def command(
    options: OpenRlhfOptions,
    *,
    start: str,
    seed: int,
    source: Referee,
    decodes: Iterable[Decode],
    home: Path,
    resume: bool,
) -> list[str]:
    """The arguments after ``python -m openrlhf.cli.train_ppo_ray``.

    ``decodes``: how the answers to the opening messages are decoded. Raises UsageError where OpenRLHF cannot do what
    the run asks for.
    """  # fmt: skip
    parts, decodes = layout(options), list(decodes)
    P, G = source.prompts_per_step, source.group_size
    workers = options.nodes * parts.actor
    if options.nodes > 1 and (options.host in NOT_REACHED or options.ray_address == "local"):
        raise UsageError(
            f"{options.nodes} nodes need trainer.host, this node's address that the others reach, and "
            "trainer.ray_address, the Ray cluster they are in (see docs/openrlhf.md)."
        )
    at_once = workers * options.micro_batch
    if P * G % at_once:
        fitting = [n for n in range(1, options.micro_batch) if P * G % (workers * n) == 0]
        raise UsageError(
            f"{P} prompts x {G} rollouts are not whole micro-batches of {options.micro_batch} on {workers} learning "
            f"GPU(s): set run.prompts_per_step to a multiple of {at_once // math.gcd(at_once, G)}"
            + (f", or trainer.micro_batch={fitting[-1]}." if fitting else ".")
        )
    if G < 2 and options.estimator not in ("gae", "reinforce"):
        raise UsageError("this estimator compares the rollouts of a prompt: set run.group_size to 2 or more.")
    temperatures = sorted({d.temperature for d in decodes})
    if len(temperatures) > 1 or temperatures[0] <= 0:
        raise UsageError(
            f"OpenRLHF learns at one temperature above 0, and this game asks for {temperatures}. Use another trainer."
        )
    if any(d.truncated for d in decodes):
        raise UsageError("OpenRLHF is given no top-p or top-k: leave run.top_p and run.top_k out, or use grpo.")
    longest = max(d.max_tokens for d in decodes)
    if longest >= options.max_len:
        raise UsageError(
            f"an answer of up to {longest} tokens and its prompt do not fit into trainer.max_len={options.max_len}: "
            "raise it, or set run.max_tokens lower."
        )
    fixed: dict[str, Sequence[object] | None] = {
        "actor.model_name_or_path": [start],
        "train.agent_func_path": [home / "agent.py"],
        "train.seed": [seed % SEEDS],
        "train.num_episodes": [1],
        "train.batch_size": [P * G],
        "rollout.batch_size": [P],
        "rollout.n_samples_per_prompt": [G],
        "rollout.vllm_generate_batch_size": [P],
        "rollout.temperature": temperatures,
        "rollout.top_p": [1.0],
        "rollout.max_new_tokens": [longest],
        "data.prompt_dataset": [home / "prompts.jsonl"],
        "data.input_key": ["input"],
        "data.label_key": ["label"],
        "data.max_len": [options.max_len],
        "reward.clip_range": ["-1000000000.0", "1000000000.0"],  # what the referee pays is what is learned from
        "algo.advantage.estimator": [options.estimator],
        "ckpt.path": [home / "ckpt"],
        "ckpt.output_dir": [home / "final"],
        "ckpt.save_steps": [options.checkpoint_every],
        "ckpt.max_num": [2],
        "ckpt.save_hf": [],
        **({"ckpt.load_enable": []} if resume else {}),
        "critic.model_name_or_path": [start] if options.estimator == "gae" else None,
    }  # None: not given, and not to be passed through either
    chosen = _chosen(options, parts)
    set_by_user = _given(options.engine_args, fixed)
    words: list[str] = []
    for name, values in {**fixed, **{k: v for k, v in chosen.items() if k not in set_by_user}}.items():
        if values is not None:
            words += [f"--{name}", *map(str, values)]
    return words + options.engine_args


def _chosen(options: OpenRlhfOptions, parts: Layout) -> dict[str, Sequence[object]]:
    """What the options choose: ``engine_args`` may say otherwise."""
    out: dict[str, Sequence[object]] = {
        "actor.num_nodes": [options.nodes],
        "actor.num_gpus_per_node": [parts.actor],
        "actor.adam.lr": [options.learning_rate],
        "actor.lr_scheduler": ["constant"],
        "ref.num_nodes": [options.nodes],
        "ref.num_gpus_per_node": [parts.actor],
        "vllm.num_engines": [parts.engines],
        "vllm.tensor_parallel_size": [options.tensor_parallel],
        "vllm.gpu_memory_utilization": [0.6 if options.colocate else 0.9],
        "rollout.micro_batch_size": [options.micro_batch],
        "train.micro_batch_size": [options.micro_batch],
        "train.max_epochs": [1],
        "algo.kl.init_coef": [options.beta],
        "algo.advantage.is_correction_level": [options.correction],
        "ds.zero_stage": [2 if options.nodes * parts.actor == 1 else 3],
        "actor.gradient_checkpointing_enable": [],
    }
    if options.estimator == "gae":
        out |= {
            "critic.num_nodes": [options.nodes],
            "critic.num_gpus_per_node": [parts.critic],
            "critic.adam.lr": [options.critic_learning_rate],
            "critic.lr_scheduler": ["constant"],
        }
    if options.beta:
        out |= {"algo.kl.use_loss": [], "algo.kl.estimator": ["k3"]}
        if not options.colocate:
            out["train.colocate_actor_ref"] = []
    if options.colocate:
        out["train.colocate_all"] = []
        if options.sleep:
            out |= {"vllm.enable_sleep": [], "ds.enable_sleep": []}
    return out


def _given(words: Sequence[str], fixed: Mapping[str, object]) -> set[str]:
    """The names of the flags in ``engine_args``. Raises UsageError for one that belongs to the run."""
    if words and not words[0].startswith("--"):
        raise UsageError(f"trainer.engine_args begins with {words[0]!r}, which is not a flag: it is a list of words, "
                         'as in trainer.engine_args=["--ds.zero_stage", "3"].')  # fmt: skip
    names = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    if spaced := sorted(name for name in names if " " in name):
        flag, value = spaced[0].split(" ", 1)
        raise UsageError(f'trainer.engine_args: a flag and its value are two words: ["--{flag}", "{value}"].')
    for name in sorted(names):
        if name in fixed or name.startswith(GUARDED):
            raise UsageError(
                f"trainer.engine_args: --{name} decides what is played, paid, counted or kept, which is the run's own. "
                "Leave it out; sizes are in section run, and the rest of what can be chosen in section trainer."
            )
    return names
