"""What vLLM's engine and tokenizer are to the agent file, with scripted words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Tokenizer:
    """A model's own tokenizer and chat template, without transformers, which takes seconds to import."""

    def __init__(self, model: Path) -> None:
        import jinja2
        from tokenizers import Tokenizer as Fast

        self.fast = Fast.from_file(str(model / "tokenizer.json"))
        self.template = jinja2.Template((model / "chat_template.jinja").read_text())
        self.eos_token_id = self.fast.token_to_id(
            json.loads((model / "tokenizer_config.json").read_text())["eos_token"]
        )

    def __call__(self, text: str, add_special_tokens: bool = True) -> Any:
        return {"input_ids": self.fast.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return str(self.fast.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def apply_chat_template(self, chat: Any, tokenize: bool, add_generation_prompt: bool = False) -> str:
        return self.template.render(messages=chat, add_generation_prompt=add_generation_prompt)


WORDS = ("12", "Yes", "No", "I will help with that.", "I cannot help with that.", "")


class Engine:
    """Says one of ``words``, chosen by a hash of the prompt and of how often it was asked."""

    def __init__(self, tokenizer: Any, words: Sequence[str] = WORDS) -> None:
        self.tokenizer, self.words, self.asked = tokenizer, words, 0
        self.limits: list[int] = []

    async def generate(self, ids: Sequence[int], params: Any, multi_modal_data: Any = None) -> Any:
        self.asked += 1
        self.limits.append(params.max_tokens)
        key = hashlib.sha256(repr((list(ids), self.asked)).encode()).digest()
        said = self.tokenizer(self.words[key[0] % len(self.words)], add_special_tokens=False)["input_ids"]
        said = [*said, self.tokenizer.eos_token_id]
        finish = "stop" if len(said) <= params.max_tokens else "length"
        said = said[: params.max_tokens]
        logprobs = [{token: SimpleNamespace(logprob=-1.0)} for token in said]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=said, finish_reason=finish, logprobs=logprobs)])
