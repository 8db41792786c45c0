"""The embedded policy's tokenizer: no text is out of its vocabulary, and none is changed by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.policy import tiny
from loopkit.policy.load import CausalPolicy
from loopkit.policy.tokenizer import PATTERN, SPECIAL, train_tokenizer

TEXTS = [
    "naïve café", "数学 は 楽しい", "🙂👩‍👩‍👧 emoji", "tab\there\n\nand  spaces ",
    "<tags>x</tags> a < b <<c", "\x00\x01\x1b lone",
    "", " ", "12345 + 0067", "don't_do 'that'", "<modify_key>k</modify_key>", "\r\n", "﷽ \u200b\u202e", "a|b<|c",
]  # fmt: skip
small = train_tokenizer(["Solve: 12 + 34", "<modify_key>score</modify_key>", "Is it right?"], 400)


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(bundled: CausalPolicy, random_policy: CausalPolicy, text: str) -> None:
    for tokenizer in (small, bundled.tokenizer, random_policy.tokenizer):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda t: not any(s in t for s in SPECIAL)))
def test_any_text_round_trips(text: str) -> None:
    assert small.decode(small(text, add_special_tokens=False).input_ids, skip_special_tokens=True) == text


def test_every_byte_has_a_token(bundled: CausalPolicy) -> None:
    from tokenizers import pre_tokenizers

    for tokenizer in (small, bundled.tokenizer):
        assert set(pre_tokenizers.ByteLevel.alphabet()) <= tokenizer.get_vocab().keys()
        assert tokenizer.unk_token is None


def test_special_tokens_and_sizes() -> None:
    assert small.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert len(small) <= 400
    assert (small.pad_token_id, small.eos_token_id) == (0, 1)


def test_digits_and_tags() -> None:
    """Single digits, so that addition is learnable; tags whole."""
    tokens = small.tokenize("Solve: 1234 <modify_key>")
    assert [t for t in tokens if t[-1].isdigit()] == list("1234")
    assert any(t.endswith("<modify_key>") for t in tokens)
    assert "[0-9]" in PATTERN


def test_training_is_deterministic() -> None:
    again = train_tokenizer(["Solve: 12 + 34", "<modify_key>score</modify_key>", "Is it right?"], 400)
    assert again.backend_tokenizer.to_str() == small.backend_tokenizer.to_str()


def test_the_bundled_template_is_the_codes() -> None:
    from loopkit.policy.tokenizer import TEMPLATE

    assert (tiny.BUNDLED / "chat_template.jinja").read_text() == TEMPLATE
