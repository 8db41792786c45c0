"""The embedded policy's tokenizer: byte-level BPE over the games' demonstrations, and one chat template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

VOCABULARY = 1024
PAD, END = "<|pad|>", "<|end|>"
SPECIAL = (PAD, END, "<|user|>", "<|assistant|>", "<|system|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Tags whole, a word with its space, single digits (so that addition is learnable), runs of punctuation.
PATTERN = r" ?</?[A-Za-z_]+>| ?[A-Za-z_']+|[0-9]| ?[^\sA-Za-z0-9_'<]+|<|\s"


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Any:
    """A PreTrainedTokenizerFast trained on ``texts``; every byte is in its alphabet, so no text is out of it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
