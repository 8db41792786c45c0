"""Plays an OpenEnv export by OpenEnv's own server, client and checks: ``python openenv_server.py FOLDER``.

Run by an interpreter that has ``openenv``, with the export and loopkit importable. Prints JSON.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def serve(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "server.app:app", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return server, f"http://127.0.0.1:{port}"


def wait(server, url):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            return urllib.request.urlopen(f"{url}/health", timeout=2).read()
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.2)
    raise TimeoutError(url)


def played(url, seed, said):
    """(rewards, done, last observation, state) of an episode by OpenEnv's own client."""
    from openenv import GenericEnvClient

    with GenericEnvClient(base_url=url).sync() as env:
        result = env.reset(seed=seed, split="dev")
        right = str(eval(result.observation["messages"][0]["content"].removeprefix("Solve: ")))
        rewards = []
        for text in said:
            result = env.step({"message": text.replace("right", right)})
            rewards.append(result.reward)
        return rewards, result.done, result.observation, env.state()


def validated(url, folder):
    """OpenEnv's own runtime checks of the running server, by the plan that was exported: check -> status."""
    from openenv.validation.graders import Subject
    from openenv.validation.graders.runtime import ObservationSchemaGrader, RewardWellFormedGrader, StateContractGrader
    from openenv.validation.parsers.openenv_yaml import OpenEnvYamlParser
    from openenv.validation.runtime.collector import collect_runtime_evidence
    from openenv.validation.runtime.contracts import load_runtime_plan

    manifest = OpenEnvYamlParser().parse(folder)
    plan = load_runtime_plan(folder, manifest.execution)
    evidence = collect_runtime_evidence(url, plan, episode_timeout_s=manifest.resources.episode_timeout_s)
    assert not evidence.failure_reason, evidence.failure_reason
    subject = Subject(folder, manifest, None, None, folder / "outputs", runtime_evidence=evidence)
    graders = (RewardWellFormedGrader(), ObservationSchemaGrader(), StateContractGrader())
    return {g.check_id: [g.run(subject).status.value, g.run(subject).evidence] for g in graders}


def main():
    folder = Path(sys.argv[1])
    from openenv.validation import Level, run_validation

    static = run_validation(folder, max_level=Level.STATIC)
    server, url = serve(folder)
    try:
        wait(server, url)
        out = {
            "static": static.verdict.value,
            "episodes": [played(url, k, said) for k, said in enumerate(
                (["1", "No"], ["1", "Yes"], ["right", "Yes"], ["right", "No"])
            )],
            "runtime": validated(url, folder),
            "tasks": json.loads(urllib.request.urlopen(f"{url}/{folder.name}/splits", timeout=10).read())
            if len(sys.argv) > 2 else None,
        }  # fmt: skip
    finally:
        server.terminate()
        server.wait(20)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
