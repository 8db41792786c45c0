"""What vLLM's engine is to the agent file, with scripted words: tokens of the answer, their log-probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

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
        said = self.tokenizer(self.words[key[0] % len(self.words)], add_special_tokens=False).input_ids
        said = [*said, self.tokenizer.eos_token_id]
        finish = "stop" if len(said) <= params.max_tokens else "length"
        said = said[: params.max_tokens]
        logprobs = [{token: SimpleNamespace(logprob=-1.0)} for token in said]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=said, finish_reason=finish, logprobs=logprobs)])
