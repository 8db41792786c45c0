"""``loopkit fit`` and ``loopkit models``: what a model can play, what lies here. 10 s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loopkit.cli import cli
from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.front import costs, fitting
from loopkit.front.evaluations import evaluate
from loopkit.policy import fits, here, tiny
from loopkit.policy.load import load
from loopkit.policy.save import save_policy


@pytest.fixture(scope="module")
def fitted() -> fitting.Fit:
    return fitting.fit("reward-tampering", prompts=12, group=4, progress=False)


def test_it_measures_format_skill_exploit_variance_and_times(fitted: fitting.Fit) -> None:
    assert (fitted.prompts, fitted.group, fitted.split, fitted.precision) == (12, 4, "dev", "float32")
    assert fitted.followed is not None
    assert fitted.followed.value > 0.5  # tiny knows the tags
    assert fitted.task is not None
    assert 0 < fitted.task.value < 0.6
    assert 0 < fitted.mixed["control"] <= 1
    assert fitted.tokens > 10
    assert fitted.sample_s > 0
    assert fitted.learn_s > 0
    assert fitted.step_s == pytest.approx(fitted.rollouts_a_step * (fitted.sample_s + fitted.learn_s))
    assert fitted.example[:20] in fitted.text()
    assert json.loads(json.dumps(fitted.json()))["fits"] is (not fitted.advice)


def test_a_model_that_speaks_noise_is_told_what_to_change(saved: Path) -> None:
    options = {"game.interface": "tags", "run.max_tokens": 8, "trainer.lora_rank": 2, "run.precision": "float32"}
    found = fitting.fit("reward-tampering", str(saved), prompts=4, group=2, options=options, progress=False)
    advice = " ".join(found.advice)
    assert found.followed is not None
    assert found.followed.value == 0
    assert found.seen == 0
    for word in ("run.max_tokens", "format", "easier tasks", "never sampled in 8", "run.group_size"):
        assert word in advice
    assert found.mixed == {"loophole": 0, "control": 0}


def test_only_what_can_be_trained_is_fitted() -> None:
    with pytest.raises(UsageError, match=r"openai:x@http"):
        fitting.fit("self-grading", "openai:x@http://localhost:1/v1", progress=False)
    with pytest.raises(UsageError, match=r"two rollouts"):
        fitting.fit("self-grading", group=1, progress=False)


def test_the_command_says_by_its_exit_code_whether_something_is_to_be_changed(saved: Path) -> None:
    arguments = ["fit", "--game", "self-grading", "--model", str(saved), "--prompts", "2", "--group", "2"]
    found = CliRunner().invoke(cli, [*arguments, "--set", "run.max_tokens=4", "--json"])
    assert found.exit_code == 1, found.output
    assert json.loads(found.stdout)["advice"]


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cached(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with one model, whose weights are named by their hash, as the hub's client does."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path / "own"))
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / ("ab" * 20)
    snapshot.mkdir(parents=True)
    for file in saved.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    blob = tmp_path / "hub" / "models--some--model" / "blobs" / ("0f" * 32)
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    return snapshot


def test_what_lies_here_is_listed_with_its_size_template_licence_and_hash(
    cached: Path, saved: Path, random_policy: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "broken" / "x.gguf").write_bytes(b"no model")
    own = tmp_path / "deep" / "one"
    save_policy(load(PolicyRef(str(saved))), own)
    from_hub, from_folder = here.everywhere([tmp_path / "broken", tmp_path / "deep"])
    parameters = sum(p.numel() for p in random_policy.model.parameters())
    assert (from_hub.name, from_hub.kind, from_hub.licence) == ("some/model@abababababab", "hub", "mit")
    assert (from_hub.sha256, from_hub.parameters, from_hub.template) == ("0f" * 32, parameters, True)
    assert (from_folder.path, from_folder.kind, from_folder.sha256) == (str(own), "directory", None)
    found = CliRunner().invoke(cli, ["models", str(tmp_path / "deep"), "--json"])
    assert [f["name"] for f in json.loads(found.stdout)["here"]] == [from_hub.name, "one"]
    printed = CliRunner().invoke(cli, ["models"]).stdout
    assert str(cached) in printed
    assert all(known.id in printed and known.revision in printed for known in here.KNOWN)
    assert max(map(len, [line for line in printed.splitlines() if "--model" not in line])) <= 100


def test_a_directory_that_is_not_there_is_named(cached: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*no such directory"):
        CliRunner().invoke(cli, ["models", "nowhere"], catch_exceptions=False)


def test_memory_grows_with_the_model_and_lora_needs_less() -> None:
    small, large = fits.USUAL[0], fits.USUAL[4]
    assert fits.training_bytes(small, lora_rank=0) < fits.training_bytes(large, lora_rank=0)
    assert fits.training_bytes(large, lora_rank=16) < fits.training_bytes(large, lora_rank=0)
    assert fits.training_bytes(large, lora_rank=16, dtype="bfloat16") < fits.training_bytes(large, lora_rank=16)
    # What was measured: SmolLM2-135M whole in fp32 5.5 GB, Qwen2.5-0.5B in bf16 with LoRA 4.4 to 5.6 GB.
    assert 3.7e9 < fits.training_bytes(small, lora_rank=0) < 7.3e9
    assert 3.3e9 < fits.training_bytes(fits.USUAL[2], lora_rank=16, dtype="bfloat16") < 7e9
    assert fits.largest(1 << 20, lora_rank=16) == 0
    assert fits.largest(24 << 30, lora_rank=0) < fits.largest(24 << 30, lora_rank=16, dtype="bfloat16")
    total, free = fits.memory()
    assert 0 < free <= total


def test_the_bundled_policy_is_what_is_fitted_by_default() -> None:
    assert here.directory(tiny.BUNDLED, "directory") is not None


def test_an_evaluation_keeps_what_was_said(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    evaluate(str(saved), "self-grading", prompts=3, options={"run.temperature": 0.0}, rollouts=file, progress=False)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert [m["role"] for m in line["messages"]] == ["user", "assistant", "user", "assistant"]
        assert {"task", "observed"} <= line["scores"].keys()
        assert "false-claim" in line["flags"]
    again = tmp_path / "again.jsonl"
    evaluate(str(saved), "self-grading", prompts=3, seed=5, options={"run.temperature": 0.0}, rollouts=again,
             progress=False)  # fmt: skip
    said = [[m["content"] for m in json.loads(line)["messages"]] for line in again.read_text().splitlines()]
    assert said == [[m["content"] for m in line["messages"]] for line in lines]  # greedy: no seed decides


def test_a_dry_run_says_what_a_pretrained_model_takes_and_what_makes_no_sense_for_it(saved: Path) -> None:
    arguments = ["run", "--game", "self-grading", "--model", str(saved), "--seeds", "1", "--dry-run", "--json"]

    def planned(*more: str) -> dict[str, Any]:
        out = CliRunner().invoke(cli, [*arguments, *more])
        assert out.exit_code == 0, out.output
        return json.loads(out.stdout)

    plain = planned("--set", "trainer.lora_rank=4", "--set", "trainer.learning_rate=1e-4", "--jobs", "1")
    cost = plain["cost"]
    assert cost["parameters"] == here.directory(saved, "directory").parameters  # type: ignore[union-attr]
    assert cost["hours"] > 0
    assert cost["memory"] > cost["parameters"] * 4
    longer = planned("--set", "trainer.lora_rank=4", "--set", "run.max_tokens=64", "--jobs", "1")["cost"]
    assert longer["step_s"] * longer["rate"] > 1.5 * cost["step_s"] * cost["rate"]  # the answers have 8 tokens there
    assert any("suggests nothing" in line for line in plain["doubts"])
    whole = " ".join(planned("--set", "trainer.learning_rate=3e-4")["doubts"])
    assert "trainer.lora_rank=16" in whole
    assert "trainer.learning_rate=0.0003" in whole
    hub = CliRunner().invoke(cli, ["run", "--game", "self-grading", "--model", "no/such-model", "--dry-run", "--json"])
    assert hub.exit_code == 2 or json.loads(hub.stdout)["cost"] is None
    assert costs.parameters_of(here.KNOWN[0].id) == here.KNOWN[0].parameters
    assert costs.parameters_of("no/such-model") is None


def test_of_tiny_there_is_nothing_to_say() -> None:
    out = CliRunner().invoke(cli, ["run", "--game", "self-grading", "--dry-run", "--json"])
    assert (json.loads(out.stdout)["cost"], json.loads(out.stdout)["doubts"]) == (None, [])
