"""The plugin without OpenRLHF: command lines, desk, agent file, guard, and whole runs against a stand-in.

OpenRLHF itself runs in tests/openrlhf/test_real.py.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import mmap
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import loopkit_openrlhf
import pytest
from loopkit_openrlhf import checkpoints, engine, guard
from loopkit_openrlhf.command import GUARDED, OpenRlhfOptions, command, layout
from loopkit_openrlhf.desk import Desk
from loopkit_openrlhf.diagnose import INSTALL, _nvcc
from loopkit_openrlhf.trainer import HOME, OpenRlhf

from loopkit.cli import main
from loopkit.contracts import PolicyRef
from loopkit.errors import LoopkitError, RefereeError, RunError, UsageError
from loopkit.experiment.resolve import build_game
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Decode
from loopkit.registry import plugins as registry
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import serve
from tests.openrlhf.speaking import Engine, Tokenizer
from tests.policy.small import Ledger
from tests.toys import setup

PAGE = (Path(__file__).parent.parent.parent / "docs" / "openrlhf.md").read_text(encoding="utf-8")
STANDIN = Path(__file__).parent.parent / "openrlhf" / "standin"
PLUGINS = registry.load()
P, G = 4, 2


def referee(game: str = "self-grading", ledger: Ledger | None = None, steps: int = 6) -> LocalReferee:
    return LocalReferee(
        setup(build_game(PLUGINS, game, {})), seed=0, split="train", n_steps=steps, prompts_per_step=P, group_size=G,
        recorder=ledger or Ledger(),
    )  # fmt: skip


def flags(words: list[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            out[name] = []
        else:
            out[name].append(word)
    return out


def line(preset: str = "grpo", source: LocalReferee | None = None, **given: Any) -> dict[str, list[str]]:
    options = OpenRlhfOptions(**{"estimator": loopkit_openrlhf.ESTIMATORS[preset], "micro_batch": 1, **given})
    return flags(
        command(
            options, start="model", seed=3, source=source or referee(), decodes=[Decode(1.0, 32)], home=Path("/home"),
            resume=False,
        )
    )  # fmt: skip


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(loopkit_openrlhf.ESTIMATORS))
def test_a_preset_is_an_estimator_that_cannot_be_set(preset: str) -> None:
    entry = PLUGINS.get("trainers", f"openrlhf:{preset}")
    assert entry.preset == {"estimator": loopkit_openrlhf.ESTIMATORS[preset]}
    found = line(preset)
    assert found["algo.advantage.estimator"] == [loopkit_openrlhf.ESTIMATORS[preset]]
    assert ("critic.model_name_or_path" in found) == (preset == "ppo")


def test_sizes_and_defaults_are_the_runs() -> None:
    found = line()
    assert found["rollout.batch_size"] == [str(P)]
    assert found["rollout.n_samples_per_prompt"] == [str(G)]
    assert found["train.batch_size"] == [str(P * G)], "one update a step"
    assert found["actor.adam.lr"] == ["1e-06"]
    assert found["algo.kl.init_coef"] == ["0.0"]
    assert found["rollout.temperature"] == ["1.0"]
    assert found["rollout.max_new_tokens"] == ["32"]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"gpus": 1}, (1, 1, 1)),
        ({"gpus": 4}, (4, 4, 4)),
        ({"gpus": 8, "tensor_parallel": 2}, (8, 8, 4)),
        ({"gpus": 8, "nodes": 2}, (8, 8, 16)),
        ({"gpus": 8, "colocate": False}, (4, 4, 4)),
        ({"gpus": 8, "colocate": False, "estimator": "gae"}, (2, 2, 4)),
        ({"gpus": 8, "colocate": False, "tensor_parallel": 2}, (4, 4, 2)),
        ({"gpus": 8, "nodes": 2, "colocate": False}, (4, 4, 8)),
    ],
)
def test_layout(given: dict[str, Any], parts: tuple[int, int, int]) -> None:
    options = OpenRlhfOptions(**given)
    found = layout(options)
    assert (found.actor, found.critic, found.engines) == parts
    used = options.nodes * found.actor * (2 if options.estimator == "gae" else 1)
    total = options.nodes * options.gpus
    assert found.engines * options.tensor_parallel + (0 if options.colocate else used) == total


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"gpus": 4, "tensor_parallel": 3}, "whole vLLM engines"),
        ({"gpus": 1, "colocate": False}, "too few to part"),
        ({"gpus": 8, "colocate": False, "tensor_parallel": 3}, "a divisor of 4"),
        ({"nodes": 2}, "2 nodes need trainer.host"),
        ({"nodes": 2, "ray_address": "h:1", "host": "0.0.0.0"}, "2 nodes need trainer.host"),
        ({"micro_batch": 3}, r"prompts_per_step to a multiple of 3, or trainer\.micro_batch=2\."),
        ({"gpus": 3}, r"prompts_per_step to a multiple of 3\."),
        ({"max_len": 32}, "run.max_tokens lower"),
        ({"engine_args": ["--ds.zero_stage 3"]}, r'two words: \["--ds\.zero_stage", "3"\]'),
        ({"engine_args": ["3"]}, "not a flag"),
        ({"engine_args": ["--data.max_len=3"]}, "the run's own"),
        ({"engine_args": ["--rollout.top_p", "0.5"]}, "the run's own"),
        ({"engine_args": ["--critic.model_name_or_path", "x"]}, "the run's own"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        line(**given)


@pytest.mark.parametrize("beginning", GUARDED)
def test_what_belongs_to_the_run_cannot_be_passed_through(beginning: str) -> None:
    with pytest.raises(UsageError, match="the run's own"):
        line(engine_args=[f"--{beginning}x"])


def test_what_is_passed_through_replaces_the_default() -> None:
    assert line()["ds.zero_stage"] == ["2"]
    assert line(engine_args=["--ds.zero_stage", "3", "--ds.adam_offload"])["ds.zero_stage"] == ["3"]
    assert line(engine_args=["--ds.adam_offload"])["ds.adam_offload"] == []


def test_several_temperatures_are_refused() -> None:
    with pytest.raises(UsageError, match="one temperature above 0"):
        command(
            OpenRlhfOptions(micro_batch=1), start="m", seed=0, source=referee(),
            decodes=[Decode(1.0, 8), Decode(0.5, 8)], home=Path("/home"), resume=False,
        )  # fmt: skip


# --- the desk -----------------------------------------------------------------------------------------------------


def test_steps_are_played_whole_and_in_order_however_rows_are_shuffled() -> None:
    source = referee()
    desk, rows = Desk(source, 2), [f"row {i}" for i in range(4 * P)]
    random.Random(1).shuffle(rows)
    for k in range(4):
        given = [desk.claim({"row": r, "call": f"{r} {g}"}) for g in range(G) for r in rows[k * P : (k + 1) * P]]
        assert {(c["slot"], c["name"]) for c in given} == {
            (s.key, str(g)) for s in source.slots(2 + k) for g in range(G)
        }
        by_row = [{c["slot"] for c in given[i::P]} for i in range(P)]
        assert all(len(slots) == 1 for slots in by_row), "the rollouts of a row are a group"
    with pytest.raises(RefereeError, match="a row too many"):
        desk.claim({"row": "another", "call": "x"})


def test_a_claim_asked_twice_is_one_and_one_too_many_is_refused() -> None:
    desk = Desk(referee(), 0)
    assert desk.claim({"row": "r", "call": "a"}) == desk.claim({"row": "r", "call": "a"})
    desk.claim({"row": "r", "call": "b"})
    with pytest.raises(RefereeError, match="more than 2 rollouts"):
        desk.claim({"row": "r", "call": "c"})


# --- the agent file -----------------------------------------------------------------------------------------------


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The agent file as a run has it, with the stand-in's interface to import."""
    monkeypatch.syspath_prepend(str(STANDIN))
    (tmp_path / "agent.py").write_text(OpenRlhf.agent())
    spec = importlib.util.spec_from_file_location("agent_module", tmp_path / "agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in [n for n in sys.modules if n.partition(".")[0] == "openrlhf"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(module, "TRIES", 2)
    return module


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(BUNDLED)


def params(**given: Any) -> Any:
    return SimpleNamespace(**{"temperature": 1.0, "max_tokens": None, "logprobs": 1, **given})


def played(agent: ModuleType, tmp_path: Path, tokenizer: Any, source: Any, rows: int = P, **given: Any) -> list[Any]:
    """One step, all its rollouts at once, as an engine plays them."""
    desk = Desk(source, 0)
    with serve(source, verbs={"claim": desk.claim}) as server:
        (tmp_path / "session.json").write_text(json.dumps({"url": server.url, "token": server.token}))
        executor, shared = agent.AgentExecutor(), params(**given)

        async def group(row: str) -> list[Any]:
            one = [executor.execute("", row, shared, 512, tokenizer, Engine(tokenizer)) for _ in range(G)]
            return list(await asyncio.gather(*one))

        async def step() -> list[list[Any]]:
            return list(await asyncio.gather(*(group(f"row {i}") for i in range(rows))))

        out = [r for g in asyncio.run(step()) for r in g]
        assert shared == params(**given), "the group's sampling parameters are nobody's to change"
        assert not server.errors
    source.close(0, {})
    return out


@pytest.mark.parametrize("game", ["context-compliance", "self-grading"])
def test_served_and_local_pay_flag_and_record_alike(
    agent: ModuleType, tmp_path: Path, tokenizer: Any, game: str
) -> None:
    served, local = Ledger(), Ledger()
    answers = played(agent, tmp_path, tokenizer, referee(game, served))
    other = referee(game, local)
    scored = served.steps[0][1]
    for s in scored:
        for n, (turn, _) in enumerate(s.rollout.steps):
            other.reply([s.rollout.id], [n], [turn])
    other.settle([s.rollout.id for s in scored])
    other.close(0, {})
    assert [(s.order, s.rewards, s.flags, s.assessment) for s in local.steps[0][1]] == [
        (s.order, s.rewards, s.flags, s.assessment) for s in scored
    ]
    assert sorted(a["reward"] for a in answers) == sorted(s.rewards["paid"] for s in scored)
    assert not served.steps[0][0].missing
    assert not served.steps[0][0].surplus


def test_a_rollout_is_one_sequence_of_which_the_answers_are_marked(
    agent: ModuleType, tmp_path: Path, tokenizer: Any
) -> None:
    ledger = Ledger()
    answers = played(agent, tmp_path, tokenizer, referee(ledger=ledger))
    end = tokenizer.decode([tokenizer.eos_token_id])
    for a in answers:
        ids, spans = a["observation_tokens"], a["action_ranges"]
        said = tuple(tokenizer.decode(ids[i:j], skip_special_tokens=True) for i, j in spans)
        assert len(said) == 2
        rollouts = [s.rollout for s in ledger.steps[0][1] if s.rollout.words == said]  # two may have said the same
        assert rollouts, "what is marked is what the referee was told"
        chats = [[{"role": m.role, "content": m.content} for m in r.messages()] for r in rollouts]
        rendered = [tokenizer.apply_chat_template(chat, tokenize=False).removesuffix(end) for chat in chats]
        assert tokenizer.decode(ids).removesuffix(end) in rendered
        marked = [any(i <= k < j for i, j in spans) for k in range(len(ids))]
        assert [x == -1.0 for x in a["rollout_log_probs"]] == marked


def test_no_log_probabilities_where_none_are_asked_for(agent: ModuleType, tmp_path: Path, tokenizer: Any) -> None:
    assert played(agent, tmp_path, tokenizer, referee(), logprobs=None)[0]["rollout_log_probs"] is None


def test_a_refusal_a_dead_referee_and_another_temperature_are_raised(
    agent: ModuleType, tmp_path: Path, tokenizer: Any
) -> None:
    with pytest.raises(RuntimeError, match=r"learns at 0\.7"):
        played(agent, tmp_path, tokenizer, referee(), temperature=0.7)
    with pytest.raises(RuntimeError, match="a row too many"):
        played(agent, tmp_path, tokenizer, referee(steps=1), rows=P + 1)
    (tmp_path / "session.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t"}))
    executor = agent.AgentExecutor()
    with pytest.raises(RuntimeError, match="did not answer claim in 2 tries"):
        asyncio.run(executor.execute("", "row", params(), 512, tokenizer, Engine(tokenizer)))


def test_a_prompt_that_does_not_fit_is_raised_not_cut(agent: ModuleType) -> None:
    message = {"content": "x", "decode": {"temperature": 1.0, "max_tokens": 8}}
    found = agent.allowed("r", message, params(min_tokens=1), 10, 18)
    assert (found.max_tokens, found.min_tokens) == (8, 0)
    with pytest.raises(RuntimeError, match="exceed max_len 17"):
        agent.allowed("r", message, params(), 10, 17)


def test_a_template_that_rewrites_history_is_refused(agent: ModuleType) -> None:
    class Forgets:
        def apply_chat_template(self, chat: Any, **_: Any) -> str:
            return " ".join(m["content"] for m in chat[-2:])

    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(RuntimeError, match="rewrites earlier messages"):
        agent.glue(Forgets(), messages, {"role": "user", "content": "c"}, None)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left running is ended after half a second, not after ten."""
    monkeypatch.setenv("LOOPKIT_OPENRLHF_GRACE", "0.5")


# --- the guard ----------------------------------------------------------------------------------------------------

LEAVES = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep({})"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def guarded(lock: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, guard.__file__, str(lock), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("end", ["by itself", "its starter goes", "interrupted"])
def test_nothing_that_was_started_is_left_and_nothing_else_is_touched(end: str, tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    process = guarded(tmp_path / "lock", sys.executable, "-c", LEAVES.format(0.2 if end == "by itself" else 600))
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        child = int(process.stdout.readline())
        assert alive(child)
        if end == "interrupted":
            os.kill(process.pid, signal.SIGINT)  # meant for the whole group: the guard stays to do its work
            assert alive(process.pid)
        if end != "by itself":
            process.stdin.close()
        code = process.wait(30)
    assert code == (0 if end == "by itself" else 143)
    assert not alive(child)
    assert other.poll() is None
    other.kill()
    other.wait()


LITTERS = """
import mmap, os, sys, time
own, shared, model, compiling = sys.argv[1:]
def mapped(path):
    return mmap.mmap(os.open(path, os.O_RDWR), 4096)
with open(own, "wb") as file:
    file.write(bytes(4096))
while not os.path.exists(shared):
    time.sleep(0.02)
maps = [mapped(own), mapped(shared), mapped(model)]
os.makedirs(compiling)
lock = os.open(os.path.join(compiling, "lock"), os.O_CREAT | os.O_EXCL)
print("ready", flush=True)
time.sleep(600)
"""


def test_shared_memory_and_locks_of_compilations_go_with_what_was_killed(tmp_path: Path) -> None:
    own, shared, model = (
        Path("/dev/shm") / f"loopkit-test-{name}-{os.getpid()}" for name in ("own", "shared", "model")
    )
    compiling, elsewhere = (
        tmp_path / "torch_extensions" / "fused_adam",
        tmp_path / "torch_extensions" / "other" / "lock",
    )
    elsewhere.parent.mkdir(parents=True)
    elsewhere.touch()
    model.write_bytes(bytes(4096))
    time.sleep(0.1)
    try:
        words = (sys.executable, "-c", LITTERS, *map(str, (own, shared, model, compiling)))
        process = guarded(tmp_path / "lock", *words)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            while not own.exists():
                time.sleep(0.02)
            shared.write_bytes(bytes(4096))
            with shared.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
                assert process.stdout.readline() == "ready\n"
                process.stdin.close()
                process.wait(60)
        assert not own.exists()
        assert not (compiling / "lock").exists()
        assert shared.exists(), "this process uses it"
        assert model.exists(), "it was there before"
        assert elsewhere.exists(), "nobody that was killed held it"
    finally:
        for path in (own, shared, model):
            path.unlink(missing_ok=True)


def test_a_run_waits_for_the_end_of_the_one_before(tmp_path: Path) -> None:
    process = guarded(tmp_path / engine.RUNNING, sys.executable, "-c", LEAVES.format(1))
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        child = int(process.stdout.readline())
        engine.await_end(tmp_path)
        assert not alive(child)
        assert process.wait(30) == 0


# --- runs against the stand-in ------------------------------------------------------------------------------------


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """An interpreter that has the stand-in, in the version it is told."""

    def make(version: str) -> str:
        root = Path(__file__).parent.parent.parent
        dist = tmp_path / "dist" / f"openrlhf-{version}.dist-info"
        dist.mkdir(parents=True)
        (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: openrlhf\nVersion: {version}\n")
        python = tmp_path / f"python-{version}"
        path = os.pathsep.join(map(str, (STANDIN, root, dist.parent)))
        python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -W ignore "$@"\n')
        python.chmod(0o755)
        return str(python)

    for name in ("STANDIN_FAULT", "STANDIN_CHILD", engine.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return make


def trainer(python: str, **given: Any) -> OpenRlhf:
    options = OpenRlhfOptions(python=python, micro_batch=1, checkpoint_every=2, max_len=512, **given)
    return OpenRlhf(options, PolicyRef(str(BUNDLED)), 0)


def test_a_run_leaves_steps_rollouts_and_checkpoints(standin: Callable[[str], str], tmp_path: Path) -> None:
    ledger, workdir = Ledger(), tmp_path / "work"
    ref = trainer(standin("0.11.2")).train(referee(ledger=ledger, steps=5), workdir)
    assert ref.path == str(workdir / "step-000005")
    assert (workdir / "step-000005" / "model.safetensors").exists()
    assert sorted(p.name for p in workdir.glob("step-*")) == ["step-000002", "step-000004", "step-000005"]
    assert sorted(ledger.steps) == list(range(5))
    for metrics, scored in ledger.steps.values():
        assert len(scored) == P * G
        assert not metrics.missing
        assert not metrics.surplus
        assert metrics.trainer["policy_loss"] == 0.5
        assert metrics.trainer["reward"] == pytest.approx(metrics.rewards["paid"]), "what OpenRLHF was paid"
    home = workdir / HOME
    assert not (home / "session.json").exists(), "the token goes with the server"
    assert not (home / "ckpt").exists()
    rows = [json.loads(row) for row in (home / "prompts.jsonl").read_text().splitlines()]
    assert [r["label"] for r in rows] == [s.key for k in range(5) for s in referee(steps=5).slots(k)]
    again = trainer("nowhere").train(referee(ledger=ledger, steps=5), workdir)
    assert again == ref, "trained to the end: nothing is run"


def test_a_run_that_died_resumes_from_the_checkpoint_the_records_cover(
    standin: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, workdir, python = Ledger(), tmp_path / "work", standin("0.11.2")
    monkeypatch.setenv("STANDIN_FAULT", "die:5")
    with pytest.raises(RunError, match=r"ended with code 1.*out of memory.*resumes"):
        trainer(python).train(referee(ledger=ledger), workdir)
    assert checkpoints.recorded(workdir / HOME) == 5
    before = ledger.steps[3][1]
    monkeypatch.delenv("STANDIN_FAULT")
    trainer(python).train(referee(ledger=ledger), workdir)
    assert sorted(ledger.steps) == list(range(6))
    assert [s.order for s in ledger.steps[3][1]] == [s.order for s in before], "kept, not played again"
    assert all(len(scored) == P * G for _, scored in ledger.steps.values())


def test_a_checkpoint_newer_than_the_records_is_not_resumed_from(tmp_path: Path) -> None:
    for part in ("_actor", "_critic"):
        for step in (2, 4, 6):
            (tmp_path / "ckpt" / part / f"global_step{step}").mkdir(parents=True)
        (tmp_path / "ckpt" / part / "latest").write_text("global_step6" if part == "_actor" else "global_step4")
    checkpoints.note_recorded(tmp_path, 5)
    assert checkpoints.resume_from(tmp_path, ["_actor", "_critic"]) == 4
    assert (tmp_path / "ckpt/_actor/latest").read_text() == "global_step4"
    assert not (tmp_path / "ckpt/_actor/global_step6").exists()
    checkpoints.note_recorded(tmp_path, 1)
    assert checkpoints.resume_from(tmp_path, ["_actor"]) == 0
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.parametrize(
    ("fault", "why"), [("nan:2", "policy_loss as not finite"), ("skip:2", "step 3 after step 1"), ("skip:6", "5 of 6")]
)
def test_a_report_that_is_wrong_or_missing_stops_the_run_and_what_it_started(
    standin: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    monkeypatch.setenv("STANDIN_FAULT", fault)
    monkeypatch.setenv("STANDIN_CHILD", str(tmp_path / "child"))
    with pytest.raises(RunError, match=why):
        trainer(standin("0.11.2")).train(referee(), tmp_path / "work")
    assert not alive(int((tmp_path / "child").read_text()))


def test_a_game_that_fails_stops_the_run_with_its_own_error(standin: Callable[[str], str], tmp_path: Path) -> None:
    class Fails(type(build_game(PLUGINS, "self-grading", {}))):  # type: ignore[misc]
        def assess(self, rollouts: Any) -> Any:
            raise ValueError("the judge is gone")

    source = referee()
    source.setup = setup(Fails(source.setup.game.options))
    with pytest.raises((LoopkitError, ValueError), match="the judge is gone"):
        trainer(standin("0.11.2")).train(source, tmp_path / "work")


def test_versions_outside_the_tested_range_are_refused_unless_allowed(
    standin: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = standin("0.12.0")
    with pytest.raises(UsageError, match=r"OpenRLHF 0\.12\.0.*<0\.11\.3,>=0\.11\.2.*allow_untested"):
        trainer(python).train(referee(), tmp_path / "work")
    engine.check_version(engine.versions(python), python, allow_untested=True)
    assert "untested OpenRLHF" in capsys.readouterr().err
    with pytest.raises(UsageError, match="has no OpenRLHF"):
        engine.check_version(engine.versions(sys.executable), sys.executable, allow_untested=True)
    with pytest.raises(UsageError, match="no interpreter 'nowhere'"):
        engine.interpreter(OpenRlhfOptions(python="nowhere"))


def test_unknown_words_are_refused_by_openrlhfs_own_parser(standin: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no option --ds\.zero_stag"):
        trainer(standin("0.11.2"), engine_args=["--ds.zero_stag", "3"]).train(referee(), tmp_path / "work")


# --- the command line of loopkit ----------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        return int(end.value.code or 0), capsys.readouterr().out

    return run


def test_dry_run_prints_dataset_agent_file_and_command(call: Any, tmp_path: Path) -> None:
    words = ["run", "--game", "self-grading", "--trainer", "openrlhf:ppo", "--dry-run", "--out", str(tmp_path / "out")]
    code, out = call(*words, "--set", "run.steps=2", "--set", "run.prompts_per_step=16")
    assert code == 0
    assert "1 at a time" in out, "each run wants every GPU"
    assert "prompts.jsonl: 32 rows" in out
    assert "class AgentExecutor(AgentExecutorBase):" in out
    assert "-m openrlhf.cli.train_ppo_ray \\\n  --actor.model_name_or_path tiny \\\n" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("trainer.python=nowhere", "no interpreter 'nowhere'"),
        ("trainer.python={old}", "0.9.0, and this plugin was tested with"),
        ('trainer.engine_args=["--nosuch", "1"]', "OpenRLHF has no option --nosuch"),
        ("trainer.micro_batch=7", "micro_batch"),
    ],
)
def test_what_would_stop_training_is_said_before_anything_is_evaluated(
    capsys: pytest.CaptureFixture[str], standin: Callable[[str], str], tmp_path: Path, option: str, why: str
) -> None:
    words = ["run", "--game", "self-grading", "--trainer", "openrlhf:grpo", "--out", str(tmp_path / "out"), "--set"]
    here = ["--set", f"trainer.python={standin('0.11.2')}"] if "python" not in option else []
    old = standin("0.9.0") if "{old}" in option else ""
    with pytest.raises(SystemExit) as end:
        main([*words, option.replace("{old}", old), *here, "--set", "run.steps=2", "--set", "run.eval_prompts=8"])
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 2
    assert why in said
    assert not list((tmp_path / "out").glob("*/eval"))


def test_doctor_says_what_is_missing_and_how_to_install_it(call: Any, standin: Callable[[str], str]) -> None:
    code, out = call("doctor", "--trainer", "openrlhf", "--set", f"trainer.python={sys.executable}")
    assert code == 1
    assert "has no OpenRLHF" in out
    assert all(out.count(line) == 1 for line in INSTALL.splitlines() if line.startswith("  "))
    code, out = call("doctor", "--json", "--trainer", "openrlhf:grpo", "--set", f"trainer.python={standin('0.11.2')}")
    found = json.loads(out)
    assert found["found"]["package openrlhf"] == "0.11.2"
    assert not [p for p in found["problems"] if p["what"] == "tested with"]
    assert call("doctor", "--trainer", "grpo")[0] == 0


def test_the_page_installs_as_the_doctor_says() -> None:
    lines = [row.strip() for row in INSTALL.splitlines() if row.startswith("  ")]
    assert len(lines) == 5
    assert "```sh\n" + "\n".join(lines) + "\n```" in PAGE
    pinned = {m[1]: m[2] for line in lines for m in re.finditer(r"([\w-]+)(?:\[\w+\])?==([\d.]+)", line)}
    held = Path(loopkit_openrlhf.__file__).with_name("constraints.txt").read_text()
    assert set(pinned) == {"vllm", "flash-attn", "openrlhf"}
    assert all(f"\n{name}=={number}\n" in held for name, number in pinned.items())


def test_shell_scripts_of_the_page_are_bash() -> None:
    found = PAGE.split("```sh\n")[1:]
    assert any("#SBATCH" in text for text in found)
    for text in found:
        subprocess.run(["bash", "-n"], input=text.partition("```")[0], text=True, check=True)


@pytest.mark.parametrize(
    ("release", "what", "why"),
    [("13.1", "release 13.1", ""), ("12.8", "release 12.8", "CUDA 13.0"), ("", "none", "CUDA_HOME")],
)
def test_a_cuda_compiler_must_be_of_the_major_version_of_torchs(
    tmp_path: Path, release: str, what: str, why: str
) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    if release:
        nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
        nvcc.chmod(0o755)
    found, problem = _nvcc({"built for": "13.0", "toolkit": str(tmp_path)})
    assert what in found
    assert why in problem
    assert bool(problem) == bool(why)
