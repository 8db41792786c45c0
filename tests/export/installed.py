"""What the real libraries make of an installed export: ``python -m tests.export.installed inspect|verifiers``.

In a process of their own, since these libraries warn of things that are theirs to mend. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SAID = (["126", "No"], ["126", "Yes"], ["right", "Yes"], ["right", "No"])


def inspect() -> Any:
    """Inspect finds the task by its entry point, and plays two turns of each of four samples with its mock model."""
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    asked: dict[str, int] = {}

    def speak(messages: Any, *_: Any) -> ModelOutput:
        question = messages[0].text
        said = SAID[asked.setdefault(question, len(asked))]
        text = said[1] if len(messages) > 1 else said[0]
        text = str(eval(question.removeprefix("Solve: "))) if text == "right" else text
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it is counted by a download
        return output

    model = get_model("mockllm/model", custom_outputs=speak)
    with tempfile.TemporaryDirectory() as logs:
        (log,) = evaluate("loopkit_task_self_grading/self_grading", model=model, limit=4, log_dir=logs,
                          display="none", max_samples=1)  # fmt: skip
        assert log.status == "success", log.error
        means = {score.name: score.metrics["mean"].value for score in log.results.scores}
        turns = [[m.role for m in sample.messages] for sample in log.samples]  # read from the file when asked for
        asked.clear()
        (cut,) = evaluate("loopkit_task_self_grading/self_grading", model=model, limit=2, log_dir=logs,
                          display="none", max_samples=1, message_limit=2)  # fmt: skip
        unscored = [sample.scores["paid"] for sample in cut.samples]
    return {
        "cut": {
            "status": cut.status,
            "reasons": [s.reason for s in unscored],
            "scored": cut.results.scores[0].scored_samples,
            "rewards": [s.value["reward"] == s.value["reward"] for s in unscored],
        },
        "tags": list(log.eval.tags or ()),
        "means": {k: v if v == v else None for k, v in means.items()},
        "turns": turns,
    }


def verifiers() -> Any:
    """verifiers finds the taskset and its environment, and scores given completions; an unfinished one is an error."""
    import verifiers.v1 as vf
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.utils.loaders import environment_class, taskset_class

    name = "loopkit-env-self-grading"
    cls = taskset_class(name)
    tasks = list(cls(sys.modules[cls.__module__].SelfGradingConfig(id=name)).take(4))

    def trace(task: Any, said: list[str]) -> Any:
        right = str(eval(task.data.prompt.removeprefix("Solve: ")))
        words = [task.data.prompt, said[0].replace("right", right), "Is your answer correct? Yes or No", *said[1:]]
        nodes = [
            MessageNode(parent=i - 1 if i else None, sampled=i % 2 == 1,
                        message=vf.AssistantMessage(content=text) if i % 2 else vf.UserMessage(content=text))
            for i, text in enumerate(words)
        ]  # fmt: skip
        about = vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
        return vf.Trace(task=about, agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes)

    async def score() -> Any:
        traces = [trace(task, said) for task, said in zip(tasks, SAID, strict=True)]
        for task, one in zip(tasks, traces, strict=True):
            await task.score(one)
        unfinished = trace(tasks[0], ["126"])
        try:
            await tasks[0].score(unfinished)
            error = ""
        except vf.TaskError as raised:
            error = str(raised)
        return {
            "rewards": [t.reward for t in traces], "metrics": [t.metrics for t in traces],
            "unfinished": {"error": error, "rewards": [r for r in unfinished.rewards.values() if r is not None]},
            "environment": environment_class(name).__name__, "wire": tasks[0].data.model_dump(mode="json"),
        }  # fmt: skip

    return asyncio.run(score())


def loop() -> Any:
    """verifiers' own commands: its episode loop (with a harness that talks in process) and its validation."""
    from verifiers.v1.cli import validate
    from verifiers.v1.cli.eval import main as evaluate

    from tests.chat_server import serving

    def answer(messages: list[dict[str, str]]) -> str:
        question = messages[0]["content"]
        kind = sum(map(ord, question)) % 2
        if len(messages) > 1:
            return "Yes"
        return str(eval(question.removeprefix("Solve: "))) if kind else "1"

    with tempfile.TemporaryDirectory() as folder, serving(answer) as server:
        os.environ["NO_KEY"] = "none"
        evaluate.main([
            "loopkit-env-self-grading", "-n", "6", "--no-push", "--no-rich", "--env.agent.harness.id", "chat-harness",
            "--env.agent.runtime.type", "subprocess", "--client.base-url", server.model.partition("@")[2],
            "--client.api-key-var", "NO_KEY", "-m", "any", "-o", folder, "--run.name", "played",
        ])  # fmt: skip
        (file,) = Path(folder).rglob("traces.jsonl")
        episodes = [json.loads(line) for line in file.read_text().splitlines()]
        validate.main([
            "loopkit-env-self-grading", "-n", "4", "--runtime.type", "subprocess", "--no-rich", "-o", folder,
            "--run.name", "validated",
        ])  # fmt: skip
        (rows,) = Path(folder).rglob("results.jsonl")
        checks = [json.loads(line) for line in rows.read_text().splitlines()]
    return {"episodes": episodes, "checks": checks}


if __name__ == "__main__":
    print(json.dumps({"inspect": inspect, "verifiers": verifiers, "loop": loop}[sys.argv[1]]()))
