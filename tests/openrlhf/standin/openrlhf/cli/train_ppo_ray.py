"""Plays the dataset through the agent file as OpenRLHF does, and reports and saves each step as it does.

``STANDIN_FAULT``: "die:3" exits with code 1 after step 3's report; "nan:2" reports a loss that is not finite; "slow"
sleeps between steps; "skip:2" leaves a report out. ``STANDIN_CHILD``: a file to write the id of a process it leaves.
"""

import argparse
import asyncio
import functools
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from tests.openrlhf.speaking import Engine, Tokenizer


def train(args):
    spec = importlib.util.spec_from_file_location("agent_module", args.agent)
    agent = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(agent)
    tokenizer, executor = Tokenizer(Path(args.model)), agent.AgentExecutor()
    rows = [json.loads(line)["label"] for line in Path(args.dataset).read_text().splitlines()]
    random.Random(args.seed).shuffle(rows)
    actor, fault = Path(args.ckpt) / "_actor", os.environ.get("STANDIN_FAULT", "")
    done = int((actor / "latest").read_text().removeprefix("global_step")) if args.load else 0
    if child := os.environ.get("STANDIN_CHILD"):
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=False)
        Path(child).write_text(str(left.pid))
    for step in range(done, len(rows) // args.batch):
        params = SimpleNamespace(temperature=args.temperature, max_tokens=None, logprobs=1)

        async def group(row, params=params):
            play = functools.partial(executor.execute, "", row, params, args.max_len, tokenizer)
            return await asyncio.gather(*(play(Engine(tokenizer)) for _ in range(args.n)))

        async def batch(step=step):
            return await asyncio.gather(*(group(row) for row in rows[step * args.batch : (step + 1) * args.batch]))

        rewards = [r["reward"] for g in asyncio.run(batch()) for r in g]
        loss = "nan" if fault == f"nan:{step + 1}" else "0.5"
        status = f"{{'policy_loss': {loss}, 'reward': {sum(rewards) / len(rewards)}, 'timing/generation': 0.1}}"
        if fault != f"skip:{step + 1}":
            print(f"(PPOTrainer pid=1) INFO 11-25 ✨ Global step {step + 1}: {status}", flush=True)
        if fault == f"die:{step + 1}":
            sys.exit("RayTaskError: out of memory")
        if (step + 1) % args.every == 0:
            (actor / f"global_step{step + 1}").mkdir(parents=True)
            (actor / "latest").write_text(f"global_step{step + 1}")
            save(args, Path(args.ckpt) / f"global_step{step + 1}_hf")
        if fault == "slow":
            time.sleep(0.5)
    save(args, Path(args.out))


def save(args, target):
    target.mkdir(parents=True)
    for file in Path(args.model).iterdir():
        (target / file.name).write_bytes(file.read_bytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag, name, kind in (
        ("actor.model_name_or_path", "model", str), ("train.agent_func_path", "agent", str),
        ("train.seed", "seed", int), ("data.prompt_dataset", "dataset", str), ("data.max_len", "max_len", int),
        ("rollout.batch_size", "batch", int), ("rollout.n_samples_per_prompt", "n", int),
        ("rollout.temperature", "temperature", float),
        ("ckpt.path", "ckpt", str), ("ckpt.output_dir", "out", str), ("ckpt.save_steps", "every", int),
    ):  # fmt: skip
        parser.add_argument(f"--{flag}", dest=name, type=kind, required=True)
    parser.add_argument("--ckpt.load_enable", dest="load", action="store_true")
    parser.add_argument("--ds.zero_stage", dest="zero", type=int)
    args, _ = parser.parse_known_args()
    train(args)
