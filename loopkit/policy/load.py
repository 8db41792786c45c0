"""Loads a causal LM and its tokenizer from a PolicyRef, and turns dialogues into prompt ids by its chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.experiment.resolve import require_there
from loopkit.policy.budgets import Budget, speak
from loopkit.policy.chat import give_template
from loopkit.policy.decode import Sampled, Sampling, sample
from loopkit.policy.lora import add_lora, with_adapter
from loopkit.policy.memory import speak_in_parts
from loopkit.policy.template import render
from loopkit.records import Decode, Dialogue, Message, Turn
from loopkit.rollouts.thoughts import Markers, known, opened, part

CACHED_PROMPTS = 50_000
OPENING = 16
"""The last tokens of a prompt, in which a chat template may have opened a block of thoughts."""


class CausalPolicy:
    """A Hugging Face causal LM that speaks (a ``Policy``). ``model`` and ``tokenizer`` are transformers' own.

    ``seed`` keys the draws: token k of turn n of a dialogue depends only on (seed, dialogue key, n) and the
    probabilities, not on what else is in the batch.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, seed: int = 0, batch_rows: int = 512,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.seed, self.batch_rows = model, tokenizer, seed, batch_rows
        self.template_kwargs = template_kwargs or {}
        self.stop_ids = _stop_ids(model, tokenizer)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.stop_ids)
        self._markers = self._special(None)
        self._prompts: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Prompt ids of a dialogue, ready for the policy's next turn."""
        key = tuple((m.role, m.content) for m in messages)
        if key not in self._prompts:
            if len(self._prompts) >= CACHED_PROMPTS:
                self._prompts.clear()
            chat = [{"role": role, "content": content} for role, content in key]
            text = render(self.tokenizer, chat, self.template_kwargs)
            self._prompts[key] = tuple(self.tokenizer(text, add_special_tokens=False).input_ids)
        return self._prompts[key]

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        """(B,) dialogues -> (B,) turns. Sampled as each last message's ``decode`` says; "length" when cut off."""
        turns, self.batch_rows = speak_in_parts(self._speak, dialogues, self.batch_rows)
        return turns

    def _speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        prompts = [self.encode(d.messages) for d in dialogues]
        decodes = [d.messages[-1].decode or Decode() for d in dialogues]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for prompt, decode, dialogue in zip(prompts, decodes, dialogues, strict=True):
            longest = decode.max_tokens + (decode.thought_tokens or 0)
            if limit is not None and len(prompt) + longest > limit:
                raise UsageError(
                    f"{dialogue.key!r}: a prompt of {len(prompt)} tokens and an answer of up to {longest} "
                    f"exceed the model's {limit} positions. Use shorter tasks or a model with a longer context."
                )
        rows = [
            Sampling(
                prompt, decode.max_tokens, decode.temperature, (self.seed, d.key, d.turn, "sample"), decode.top_p,
                decode.top_k,
            )
            for prompt, decode, d in zip(prompts, decodes, dialogues, strict=True)
        ]  # fmt: skip
        markers = decodes[0].markers  # the run's
        self._markers = self._special(markers)
        # a group shares its prompt
        closes = {prompt: opened(self.tokenizer.decode(prompt[-OPENING:]), markers) for prompt in set(prompts)}
        budgets = [
            None if d.thought_tokens is None else Budget(d.thought_tokens, closes[prompt], markers)
            for prompt, d in zip(prompts, decodes, strict=True)
        ]
        with autocast():  # as in scoring
            spoken = speak(rows, budgets, self._sample, self._text, self._ids)
        out = []
        for row, one in zip(rows, spoken, strict=True):
            said = one.ids[:-1] if one.finish == "stop" else one.ids
            thoughts, answer = part(self._text(said), closes[row.prompt], markers)
            turn = Turn(answer, one.finish, row.prompt, one.ids, one.logprobs, row.temperature or 1.0, thoughts,
                        one.inserted)  # fmt: skip
            out.append(turn)
        return out

    def _sample(self, rows: Sequence[Sampling]) -> list[Sampled]:
        return sample(self.model, rows, stop_ids=self.stop_ids, pad_id=self.pad_id)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _special(self, markers: Markers) -> set[int]:
        """The ids of the markers that are special tokens."""
        every = known(markers)
        special = {*every, *every.values()} & set(self.tokenizer.all_special_tokens)
        return set(self.tokenizer.convert_tokens_to_ids(sorted(special)))

    def _text(self, ids: Sequence[int]) -> str:
        """What ids say, without special tokens, but with the markers of thoughts where they are special tokens."""
        marks = self._markers & set(ids)
        if not marks:
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))
        pieces, begins = [], 0
        for i, id_ in enumerate(ids):
            if id_ in marks:
                pieces += [self.tokenizer.decode(ids[begins:i], skip_special_tokens=True), self.tokenizer.decode([id_])]
                begins = i + 1
        return "".join([*pieces, self.tokenizer.decode(ids[begins:], skip_special_tokens=True)])


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> torch.autocast:
    """bf16 where the hardware has it; on a CPU without native bf16 it is 20 times slower than fp32, so off."""
    on = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=on)


def load(ref: PolicyRef, *, seed: int = 0) -> CausalPolicy:
    """Load a policy from a directory or hub id, with its adapter merged in if it has one and the weights are fp32.

    In bf16 an adapter stays beside the weights, as it was trained: merged, it would be rounded with them.

    Raises UsageError where nothing loadable is there. A tokenizer without a chat template gets a plain one, said aloud.
    """
    model, tokenizer = load_parts(ref.path, ref.dtype)
    if ref.adapter is not None:
        model = with_adapter(model, ref.adapter, trainable=False)
        if ref.dtype == "float32":
            model = model.merge_and_unload()
            model.requires_grad_(True)  # peft froze it
    return CausalPolicy(model.to(device()).eval(), tokenizer, seed=seed, template_kwargs=ref.template_kwargs)


def load_trainable(start: PolicyRef, checkpoint: Path | None, lora_rank: int, seed: int) -> CausalPolicy:
    """The policy to train: ``start`` (its adapter merged), or the checkpoint a killed run left.

    With ``lora_rank`` the weights stay as they are and a fresh (or the checkpoint's) adapter is trained. Dropout is
    off (``eval`` mode), so that sampling and training see the same probabilities.
    """
    torch.manual_seed(seed)
    if lora_rank == 0:
        return load(replace(start, path=str(checkpoint), adapter=None) if checkpoint else start, seed=seed)
    if start.adapter is not None:
        raise UsageError("a LoRA run cannot start from another adapter: merge it first, or set trainer.lora_rank=0.")
    policy = load(start, seed=seed)
    if checkpoint is None:
        policy.model = add_lora(policy.model, lora_rank)
    else:
        policy.model = with_adapter(policy.model, str(checkpoint), trainable=True)
    policy.model.eval()
    return policy


def import_models() -> None:
    """Import now what loading a policy imports late."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401


def load_parts(path: str, dtype: str = "float32") -> tuple[Any, Any]:
    """(model, tokenizer), from safetensors and by transformers' own classes: a model's directory runs no code.

    Warnings of transformers about its own internals stay off the terminal.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    local = Path(path).is_dir()
    require_there(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=local, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(
            f"--model {path!r} could not be loaded: {str(error).strip().splitlines()[0]} "
            "Give a directory in Hugging Face layout (config.json, model.safetensors, tokenizer) whose classes "
            "transformers has itself (code in it is not run), a hub id, or tiny."
        ) from error
    for how in ("is_local", "local_files_only"):  # how it was loaded is not to be saved with it
        tokenizer.init_kwargs.pop(how, None)
    give_template(tokenizer, path)
    return model, tokenizer


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """End-of-turn tokens: the tokenizer's, and those of the model's generation config."""
    config = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(config if isinstance(config, list) else [config])} - {None}
    if not ids:
        raise UsageError("the tokenizer names no end-of-sequence token, so no turn could ever end.")
    return frozenset(ids)
