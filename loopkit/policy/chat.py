"""The chat template of a model that has none."""

from __future__ import annotations

from typing import Any

from loopkit.system.notices import notice

PLAIN = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token or '' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Speakers and colons, a line each. An answer ends with the end of a text, which a base model may be slow to say."""


def give_template(tokenizer: Any, model: str) -> None:
    """Give a tokenizer without a chat template a plain one, and say so."""
    if getattr(tokenizer, "chat_template", None):
        return
    tokenizer.chat_template = PLAIN
    notice(
        "no chat template",
        model=model,
        taken="a plain one: speakers and colons",
        cure="take an instruction-tuned model, or write chat_template.jinja beside its tokenizer",
    )
