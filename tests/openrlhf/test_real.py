"""OpenRLHF itself, on a CPU: learning, two-turn games, PPO on two ranks, a kill; parity; every game's plan.

    eval "$(tests/openrlhf/make_env.sh)"
    pytest -m acceptance tests/openrlhf/test_real.py --timeout 7200 -s

Minutes a run on two idle cores, much more on a busy machine. The last results are kept in docs/openrlhf.md. Settings
were chosen on seeds 0 and 1, by LOOPKIT_OPENRLHF_SEED; what is reported is of the default, ``SEED``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import loopkit_grpo.algorithms
import loopkit_openrlhf
import pytest
from loopkit_openrlhf import engine
from loopkit_openrlhf.command import OpenRlhfOptions, command
from loopkit_openrlhf.desk import Desk
from loopkit_openrlhf.trainer import OpenRlhf

from loopkit.experiment.resolve import build_game
from loopkit.policy import tiny
from loopkit.policy.warmup import RECORD, Settings, new_policy
from loopkit.records import Decode
from loopkit.registry import plugins as registry
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import serve
from loopkit.system.files import cache_dir
from tests.openrlhf.speaking import Tokenizer
from tests.policy.small import Ledger
from tests.toys import setup

HERE = Path(__file__).parent
PYTHON = HERE / "python-cpu"
SEED = int(os.environ.get("LOOPKIT_OPENRLHF_SEED", "101"))
STEPS = 48
KL_LIMIT = 0.005
"""Of vllm_kl: what vLLM samples from and what is trained differ by rounding only."""
SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "context-compliance": ("grpo", {"trainer.learning_rate": 1e-4, "run.prompts_per_step": 12}),
    "self-grading": ("dr-grpo", {"trainer.learning_rate": 3e-4, "run.prompts_per_step": 32}),
}
"""Preset and options, chosen on seeds 0 and 1 (docs/openrlhf.md says what was tried)."""
GAMES = ("context-compliance", "self-grading", "proxy-metric", "reward-tampering")
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        "LOOPKIT_OPENRLHF_ENV" not in os.environ, reason='run eval "$(tests/openrlhf/make_env.sh)" first'
    ),
]


@pytest.fixture(scope="session")
def policy() -> Path:
    """An embedded policy with heads of 32 numbers, which vLLM's CPU kernels want; kept in the cache."""
    settings = Settings(heads=3, steps=2700)
    target = cache_dir() / f"openrlhf-tiny-{settings.steps}"
    if not (target / RECORD).exists():
        plugins = registry.load()
        games = {name: build_game(plugins, name, {}) for name in ("context-compliance", "self-grading")}
        tiny.train(new_policy(games, settings), games, settings, target, lambda done, total: None)
    return target


def words(game: str, preset: str | None, policy: Path, out: Path, steps: int, **given: Any) -> list[str]:
    """The command of a run small enough for a CPU."""
    on_cpu = ["--vllm.sync_backend", "gloo", "--vllm.enforce_eager", "--vllm.gpu_memory_utilization", "0.06"]
    on_cpu += ["--ds.attn_implementation", "eager", "--ds.zero_stage", "2"]
    options = {
        "run.steps": steps, "run.group_size": 8, "run.eval_prompts": 400, "trainer.micro_batch": 16,
        "trainer.max_len": 256, "trainer.sleep": "false", "trainer.checkpoint_every": 4,
        "trainer.engine_args": json.dumps(on_cpu), **SETTINGS[game][1], **given,
    }  # fmt: skip
    trainer = f"openrlhf:{preset or SETTINGS[game][0]}"
    out_words = [
        str(Path(sys.executable).with_name("loopkit")), "run", "--game", game, "--trainer", trainer,
        "--model", str(policy), "--arms", "loophole", "--seeds", f"{SEED}-{SEED}", "--jobs", "1", "--out", str(out),
    ]  # fmt: skip
    for name, value in options.items():
        out_words += ["--set", f"{name}={value}"]
    return out_words


def run(arguments: list[str], **environment: str) -> None:
    began = time.monotonic()
    subprocess.run(arguments, check=True, env={**os.environ, engine.VARIABLE: str(PYTHON), **environment})
    print(f"\n{time.monotonic() - began:.0f} s", end=" ")


def steps_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (out / f"loophole-s{SEED}" / "steps.jsonl").read_text().splitlines()]


def evaluated(out: Path, game: str, run: str, checkpoint: str) -> dict[str, Any]:
    found = out / run / "eval" / game / f"test-{checkpoint}" / "metrics.json"
    return dict(json.loads(found.read_text()))


def learned(out: Path, game: str, steps: int) -> dict[str, bool]:
    """What says that the loophole was learned and that the weights arrived, and whether each of it holds.

    "sampled": the exploit rate in the last quarter of training against the first, so of what vLLM said. "exploit" and
    "reward": on held-out prompts, with the same audits, after against before.
    """
    rows = steps_of(out)
    assert [r["step"] for r in rows] == list(range(steps))
    assert not any(r["missing"] or r["surplus"] for r in rows)
    detector = next(iter(build_game(registry.load(), game, {}).detectors))
    before = evaluated(out, game, f"base-s{SEED}", "start")
    after = evaluated(out, game, f"loophole-s{SEED}", f"step-{steps:06d}")
    quarter = max(1, steps // 4)
    measured = {
        "paid in training": [mean(r["rewards"]["paid"] for r in part) for part in (rows[:quarter], rows[-quarter:])],
        "sampled": [mean(r["rates"][detector]["value"] for r in part) for part in (rows[:quarter], rows[-quarter:])],
        "exploit": [m["rates"][detector]["value"] for m in (before, after)],
        "task": [m["scores"]["task"]["value"] for m in (before, after)],
        "reward": [m["rewards"]["loophole"] for m in (before, after)],
    }
    kl = max(r["trainer"]["vllm_kl"] for r in rows)
    print(f"{game}: ", "; ".join(f"{k} {a:.3f} -> {b:.3f}" for k, (a, b) in measured.items()), f"; vllm_kl {kl:.6f}")
    rises = {name: measured[name][1] > measured[name][0] + 0.1 for name in ("sampled", "exploit", "reward")}
    return {"vllm_kl": kl < KL_LIMIT, **rises}


@pytest.mark.parametrize("game", ["context-compliance", "self-grading"])
def test_the_loophole_is_learned(game: str, policy: Path, tmp_path: Path) -> None:
    run(words(game, None, policy, tmp_path / "out", STEPS))
    assert all(learned(tmp_path / "out", game, STEPS).values())
    checkpoint = tmp_path / "out" / f"loophole-s{SEED}" / "checkpoints" / f"step-{STEPS:06d}"
    assert (checkpoint / "config.json").exists()
    assert list(checkpoint.glob("*.safetensors"))


def test_weights_that_never_reach_vllm_are_noticed(policy: Path, tmp_path: Path) -> None:
    run(words("context-compliance", None, policy, tmp_path / "out", STEPS), LOOPKIT_TEST_STALE="1")
    found = learned(tmp_path / "out", "context-compliance", STEPS)
    assert not found["vllm_kl"]
    assert not found["sampled"], "vLLM says what it said at the start"


def test_ppo_on_two_ranks(policy: Path, tmp_path: Path) -> None:
    """10.9 GB: two actors, two critics, two engines."""
    given = {"trainer.gpus": 2, "trainer.critic_learning_rate": 1e-3}
    run(words("context-compliance", "ppo", policy, tmp_path / "out", 8, **given), LOOPKIT_TEST_GPUS="2")
    rows = steps_of(tmp_path / "out")
    assert len(rows) == 8
    assert all("critic_loss" in r["trainer"] and r["trainer"]["vllm_kl"] < KL_LIMIT for r in rows)


def test_a_killed_run_resumes(policy: Path, tmp_path: Path) -> None:
    """Killed by SIGKILL after five steps, with a checkpoint after four; nothing of it stays; the same command ends."""
    arguments = words("context-compliance", "dr-grpo", policy, tmp_path / "out", 8)
    process = subprocess.Popen(arguments, env={**os.environ, engine.VARIABLE: str(PYTHON)})
    lines = tmp_path / "out" / f"loophole-s{SEED}" / "steps.jsonl"
    while process.poll() is None and (not lines.exists() or len(lines.read_text().splitlines()) < 5):
        time.sleep(1.0)
    assert process.poll() is None, "it ended before it could be killed"
    before = lines.read_text().splitlines()[:4]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 120
    while left := named(str(tmp_path / "out")):
        assert time.monotonic() < end, f"left running: {left}"
        time.sleep(1.0)
    run(arguments)
    after = lines.read_text().splitlines()
    assert len(after) == 8
    assert after[:4] == before, "what the checkpoint covers was kept, not played again"
    log = (lines.parent / "checkpoints" / "openrlhf" / "log.txt").read_text()
    assert "Loading the checkpoint" in log


def named(text: str) -> list[str]:
    """Processes whose command line has a text in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and entry.name != str(os.getpid()):
            found.append(f"{entry.name}: {line[:80]}")
    return found


def test_openrlhf_learns_from_what_the_referee_was_told(tmp_path: Path) -> None:
    """Two turns, through OpenRLHF's loader and experience maker: the marked tokens, the text and the reward."""
    ledger = Ledger()
    game = build_game(registry.load(), "self-grading", {})
    source = LocalReferee(
        setup(game), seed=0, split="train", n_steps=1, prompts_per_step=4, group_size=2, recorder=ledger
    )
    (tmp_path / "agent.py").write_text(OpenRlhf.agent())
    with serve(source, verbs={"claim": Desk(source, 0).claim}) as server:
        (tmp_path / "session.json").write_text(json.dumps({"url": server.url, "token": server.token}))
        arguments = [str(PYTHON), str(HERE / "agent_in_place.py"), str(tmp_path), str(tiny.BUNDLED), "4", "2"]
        done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
        assert not server.errors
    source.close(0, {})
    found = json.loads(done.stdout.splitlines()[-1])
    metrics, scored = ledger.steps[0]
    assert found["unchanged"], "the group's sampling parameters are nobody's to change"
    assert not metrics.missing
    assert not metrics.surplus
    assert sorted((m["said"], m["reward"]) for m in found["made"]) == sorted(
        ("".join(s.rollout.words), s.rewards["paid"]) for s in scored
    )
    assert all(m["aligned"] for m in found["made"])
    tokenizer, end = Tokenizer(tiny.BUNDLED), "<|end|>"
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in s.rollout.messages()], tokenize=False
        )
        for s in scored
    ]
    assert sorted(m["text"].removesuffix(end) for m in found["made"]) == sorted(r.removesuffix(end) for r in rendered)


def test_advantages_and_losses_are_grpos() -> None:
    """On the same tensors, to 1e-6; a group's standard deviation gets OpenRLHF's 1e-9 where grpo adds TRL's 1e-4."""
    arguments = [str(PYTHON), str(HERE / "parity.py"), loopkit_grpo.algorithms.__file__]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print("\n", found)
    sizes = {name for name in found if name.startswith("size of")}
    assert all(found[name] > 0.5 for name in sizes), "there is something to compare"
    assert all(found[name] < 1e-6 for name in found.keys() - sizes)


PARSE_MANY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from parse import parse
found = [parse(words)[1] for words in json.loads(sys.stdin.read())]
print(json.dumps(found, default=lambda x: getattr(x, "__dict__", None) or str(x)))
"""


def parsed(plans: Mapping[tuple[str, str], list[str]]) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """What OpenRLHF's own parser makes of each command line."""
    folder = str(Path(loopkit_openrlhf.__file__).parent)
    done = subprocess.run(
        [str(PYTHON), "-c", PARSE_MANY, folder], input=json.dumps(list(plans.values())), check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return list(zip(plans, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_plans_for_a_real_model_pass_openrlhfs_parser() -> None:
    """Qwen3-4B on 8 GPUs: each game's own prompts with each preset, 8 rollouts a prompt, 128 rollouts a step."""
    plans = {
        (game, preset): plan(game, OpenRlhfOptions(estimator=estimator, gpus=8))
        for game in GAMES
        for preset, estimator in loopkit_openrlhf.ESTIMATORS.items()
    }
    assert len(plans) == 24
    for (game, preset), args in parsed(plans):
        assert args["algo"]["advantage"]["estimator"] == loopkit_openrlhf.ESTIMATORS[preset], game
        assert args["rollout"]["n_samples_per_prompt"] == 8
        assert args["train"]["batch_size"] == 128
        assert args["vllm"]["num_engines"] == 8
        assert args["actor"]["adam"]["lr"] == 1e-6
        assert (args["critic"]["model_name_or_path"] is not None) == (preset == "ppo")


def plan(game: str, options: OpenRlhfOptions) -> list[str]:
    source = LocalReferee(
        setup(build_game(registry.load(), game, {})), seed=0, split="train", n_steps=2, prompts_per_step=16,
        group_size=8, recorder=Ledger(),
    )  # fmt: skip
    decodes = [slot.messages[-1].decode or Decode() for k in range(2) for slot in source.slots(k)]
    return command(
        options, start="Qwen/Qwen3-4B", seed=0, source=source, decodes=decodes, home=Path("/home/user/run"),
        resume=False,
    )  # fmt: skip


SHAPES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "1 GPU": ({"gpus": 1}, (1, 1, 2)),
    "4 GPUs": ({"gpus": 4}, (4, 4, 3)),
    "4 GPUs in halves": ({"gpus": 4, "colocate": False}, (2, 2, 3)),
    "8 GPUs in halves, engines of 2": ({"gpus": 8, "colocate": False, "tensor_parallel": 2}, (4, 2, 3)),
    "2 nodes": ({"gpus": 8, "nodes": 2, "host": "10.0.0.1", "ray_address": "10.0.0.1:6379"}, (8, 16, 3)),
    "KL in halves": ({"gpus": 4, "colocate": False, "beta": 0.01}, (2, 2, 3)),
}
"""Options, and what OpenRLHF must read: GPUs a node that learn (PPO in halves: half of them), engines, ZeRO stage."""


def test_plans_for_every_shape_pass_openrlhfs_parser() -> None:
    plans = {
        (shape, preset): plan("self-grading", OpenRlhfOptions(estimator=estimator, **SHAPES[shape][0]))
        for shape in SHAPES
        for preset, estimator in loopkit_openrlhf.ESTIMATORS.items()
    }
    for (shape, preset), args in parsed(plans):
        given, (learning, engines, stage) = SHAPES[shape]
        halved = preset == "ppo" and not given.get("colocate", True)
        actor = learning // 2 if halved else learning
        assert args["actor"]["num_gpus_per_node"] == actor, (shape, preset)
        assert args["actor"]["num_nodes"] == given.get("nodes", 1)
        assert args["vllm"]["num_engines"] == engines
        assert args["vllm"]["tensor_parallel_size"] == given.get("tensor_parallel", 1)
        assert args["train"]["colocate_all"] == given.get("colocate", True)
        assert args["ds"]["zero_stage"] == (2 if actor == 1 else stage)
        assert args["algo"]["kl"]["init_coef"] == given.get("beta", 0.0)
