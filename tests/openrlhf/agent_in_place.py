"""Run in OpenRLHF's interpreter: its own loader, sampling parameters and experience maker around the agent file.

``python agent_in_place.py FOLDER MODEL ROWS GROUP``: FOLDER has ``agent.py`` and ``session.json``; plays a step of ROWS
rows in groups of GROUP with a scripted engine, and prints what OpenRLHF's trainer would learn from.
"""

import asyncio
import json
import pathlib
import sys
from types import SimpleNamespace

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.trainer.ray.vllm_engine import _load_agent_executor
from transformers import AutoTokenizer
from vllm import SamplingParams

from tests.openrlhf.speaking import Engine


def main(folder, model, rows, group):
    executor, tokenizer = _load_agent_executor(f"{folder}/agent.py"), AutoTokenizer.from_pretrained(model)
    shared = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=32, min_tokens=1, logprobs=1)
    before = repr(shared)

    async def play():
        jobs = [
            executor.execute(
                prompt="", label=f"row {row}", sampling_params=shared, max_length=512, hf_tokenizer=tokenizer,
                llm_engine=Engine(tokenizer),
            )
            for row in range(rows)
            for _ in range(group)
        ]  # fmt: skip
        return await asyncio.gather(*jobs)

    out = []
    for answer in asyncio.run(play()):
        made = SamplesGenerator._process_response_into_experience(SimpleNamespace(), answer, max_len=512)
        ids, mask = made.sequences[0, 1:], made.action_mask[0].bool()
        given = made.rollout_log_probs[0]
        out.append(
            {
                "reward": made.rewards.item(),
                "text": tokenizer.decode(made.sequences[0]),
                "said": tokenizer.decode(ids[mask], skip_special_tokens=True),
                "aligned": bool(((given == -1.0) == mask).all()),
            }
        )
    print(json.dumps({"unchanged": repr(shared) == before, "made": out}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
