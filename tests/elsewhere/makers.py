"""Logs made by the real libraries: ``python -m tests.elsewhere.makers trl|inspect|verifiers DIRECTORY``.

In a process of their own, since these libraries warn of things that are theirs to mend. Each plays a loopkit game, so
that what an audit says of the log can be held to what the game says.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

from loopkit.export.bridge import Exported
from loopkit.export.write import write
from loopkit.registry import plugins


def trl(out: Path) -> None:
    """A short run of TRL's GRPOTrainer with ``log_completions``; the reward is context-compliance's loophole."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from loopkit.policy.tiny import BUNDLED

    game = Exported("context-compliance", plugins.load().game("context-compliance").version, {})
    tasks = game.tasks("train")[:12]

    def loophole(prompts: Any, completions: Any, task_id: list[str], **_: Any) -> list[float]:
        said = [c[0]["content"] for c in completions]
        return [
            game.score("train", i, f"trl-{k}", [text]).rewards["paid"]
            for k, (i, text) in enumerate(zip(task_id, said, strict=True))
        ]

    rows = [{"prompt": [{"role": m.role, "content": m.content} for m in t.messages], "task_id": t.id} for t in tasks]
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(BUNDLED),
        processing_class=AutoTokenizer.from_pretrained(BUNDLED, padding_side="left"),
        reward_funcs=loophole,
        args=GRPOConfig(
            output_dir=str(out), per_device_train_batch_size=16, num_generations=4, max_completion_length=24,
            max_steps=3, logging_steps=1, log_completions=True, report_to="none", save_strategy="no", use_cpu=True,
            seed=1, learning_rate=1e-4,
        ),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    trainer.train()


def inspect(out: Path) -> None:
    """Inspect plays exported self-grading with its mock model, two epochs of six samples: always 1, always Yes."""
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def speak(messages: Any, *_: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", "1" if len(messages) == 1 else "Yes")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it is counted by a download
        return output

    module = exported("inspect", out)
    model = get_model("mockllm/model", custom_outputs=speak)
    (log,) = evaluate(module.self_grading(), model=model, limit=6, epochs=2, log_dir=str(out), display="none")
    assert log.status == "success", log.error


def verifiers(out: Path) -> None:
    """verifiers plays exported self-grading with a scripted model behind a local server, and writes its traces.

    Six tasks, of which the second, fourth and sixth are answered right; every answer is claimed.
    """
    import verifiers.v1 as vf
    from verifiers.v1.clients import EvalClientConfig, ModelContext
    from verifiers.v1.utils.loaders import load_environment
    from verifiers.v1.utils.trace_store import write_episode

    from tests.chat_server import serving

    module = exported("verifiers", out)
    sys.path.insert(0, str(Path(__file__).parents[1] / "export"))  # the harness
    out.mkdir(parents=True, exist_ok=True)
    asked: list[str] = []

    def answer(messages: list[dict[str, str]]) -> str:
        if len(messages) > 1:
            return "Yes"
        asked.append(messages[0]["content"])
        return str(eval(asked[-1].removeprefix("Solve: "))) if len(asked) % 2 == 0 else "1"

    async def play(url: str) -> None:
        config = module.SelfGradingEnvConfig(
            taskset=module.SelfGradingConfig(id=module.__name__),
            agent=vf.AgentConfig(harness={"id": "chat-harness"}, runtime={"type": "subprocess"}),
        )
        env = load_environment(config)
        context = ModelContext(model="m", client=EvalClientConfig(base_url=url, api_key_var="NONE"))
        async with env.serving():
            for task in env.taskset.take(6):
                (slot,) = env.slots(task)
                episode = await env.run_slot(slot, context)
                assert episode.ok, [*episode.errors, *(e for t in episode.traces for e in t.errors)]
                write_episode(out, episode)

    with serving(answer) as server:
        asyncio.run(play(f"http://127.0.0.1:{server.server_address[1]}/v1"))


def exported(target: str, out: Path) -> Any:
    """Self-grading's exported module, imported; every report is checked, so that its pay depends on nothing drawn."""
    where = out.parent / f"exported-{target}"
    names = write(plugins.load(), "self-grading", target, where, options={}, channel="control")
    sys.path.insert(0, str(where))
    return importlib.import_module(names["module"])


if __name__ == "__main__":
    {"trl": trl, "inspect": inspect, "verifiers": verifiers}[sys.argv[1]](Path(sys.argv[2]))
