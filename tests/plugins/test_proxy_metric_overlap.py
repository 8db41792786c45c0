"""The fast path equals rouge-score and sacrebleu, and runs and 8-grams equal their plain definitions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopkit_proxy_metric import overlap, tokens
from loopkit_proxy_metric.overlap import Article, prepared

from loopkit import seeding
from loopkit.experiment.resolve import build_game
from loopkit.registry.plugins import load

TOLERANCE = 1e-9
ODD = [
    "", " ", "word", "Word.", "a", "the the the the the", "7", "-1e999", "U.S. 4:23.42 p.m.", "don't re-use it's",
    "naïve café Renée Zellweger İstanbul ΣΊΣΥΦΟΣ ς ß ﬁ", "これは要約です。", "Это краткое изложение.",
    "هذا ملخص",
    "🏳️‍🌈 🙂🙂 ok 🙂", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ①②③ x² ½ ٣", "z\u200be\u200dr\ufeffo", "\u202eright to left\u202c", "o\u0301 e\u0301",
    "a\x00b\x1c c\x85d\u2028e\xa0f\u3000g", "tab\tnew\nline\r\nand\x0bmore", "<skipped>", "x<skipped>y z",
    "<skip<skipped>ped>",
    "re-\nuse and wait -\nhere", "foo-<skipped>\nbar", "a & b &amp; c &quot;d&quot; &lt;skipped&gt; &amp;lt;",
    "1.5, 2,000.75 3-4 -5 6.-7 ,. .,., a,.b", "{x}[y]`z`~ !\"#$%&'()*+,-./:;<=>?@\\^_|", "the_quick_brown_fox",
    "a-b_c.d",
    "y" * 3000, "by" * 2000 + "ing", "running runs ran dying lying skies sky news inning", "\ud800 lone \udfff",
    "a . b , c", "...", "<a><b></a>", "' '' \"", "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z " * 3,
]  # fmt: skip


def reference(article: str, completion: str) -> tuple[float, float, float]:
    """ROUGE-1, ROUGE-L and BLEU as the libraries compute them."""
    rouge, bleu = _libraries()
    found = rouge.score(article, completion)
    return found["rouge1"].fmeasure, found["rougeL"].fmeasure, bleu.sentence_score(completion, [article]).score / 100


@cache
def _libraries() -> tuple[Any, Any]:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True), BLEU(effective_order=True)


def differences(pairs: Iterator[tuple[str, str]]) -> list[tuple[str, str, Any, Any]]:
    out = []
    for article, completion in pairs:
        fast, slow = prepared(article).measure(tokens.tokens(completion))[1:4], reference(article, completion)
        if max(abs(a - b) for a, b in zip(fast, slow, strict=True)) > TOLERANCE or not 0 <= max(fast) <= 1:
            out.append((article[:80], completion[:80], fast, slow))
    return out


def changed(text: str, n: int) -> str:
    """The text with pieces dropped, doubled, moved, or set in another case."""
    rng, chunks = seeding.stream("changed", text, n), text.split(" ")
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(len(chunks))
        edit = rng.randrange(5)
        if edit == 0 and len(chunks) > 1:
            del chunks[at]
        elif edit == 1:
            chunks.insert(rng.randrange(len(chunks)), chunks[at])
        elif edit == 2:
            chunks[at] = rng.choice([chunks[at].upper(), chunks[at] + "ing", chunks[at] + ",", "the"])
        elif edit == 3:
            chunks = chunks[at:] + chunks[:at]
        else:
            chunks = chunks[: max(1, len(chunks) - at // 2)]
    return " ".join(chunks)


def test_odd_texts_against_each_other() -> None:
    assert len(ODD) ** 2 >= 1500
    assert not differences(itertools.product(ODD, ODD))


def test_articles_against_changed_copies_and_garbage() -> None:
    game = build_game(load(), "proxy-metric", {})
    articles = [task.public["article"] for task in game.tasks("dev")[:150]]
    garbage = [seeding.stream("garbage", n).randbytes(n).decode("latin-1") for n in range(150)]
    pairs = [(a, changed(a, n)) for a in articles for n in range(4)]
    pairs += list(itertools.pairwise(articles)) + list(zip(articles, garbage, strict=True))
    assert len(pairs) >= 800
    assert not differences(iter(pairs))


def test_a_very_long_text_on_either_side() -> None:
    words = [f"w{seeding.digest(i) % 900}" for i in range(3000)]
    article, other = " ".join(words) + ".", " ".join(words[::-1])
    assert not differences(iter([(article, "w1 w2 w3."), ("w1 w2 w3.", article), (article, article)]))
    found = prepared(article).measure(tokens.tokens(other * 10))  # the reference would take minutes
    assert found.words == 10 * 3000 - 9  # ends and beginnings meet


TEXT = st.text(st.sampled_from("abeingsy09 .,-_&;<>'\"\n\té\u200bИ") | st.characters(), max_size=60)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT, TEXT)
def test_any_two_texts(article: str, completion: str) -> None:
    assert not differences(iter([(article, completion), (article, f"{article} {completion}")]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT)
def test_tokens_are_those_of_the_libraries(text: str) -> None:
    rouge, bleu = _libraries()
    found = tokens.tokens(text)
    assert list(found.stems) == rouge._tokenizer.tokenize(text)
    assert list(found.pieces) == bleu.tokenizer(text.rstrip()).split()
    assert len(found.words) >= len(found.stems)  # no word of ROUGE's escapes a limit in words


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from("abcd"), max_size=25), st.lists(st.sampled_from("abcdx"), max_size=25))
def test_runs_and_8grams_by_their_definition(article: list[str], said: list[str]) -> None:
    found = Article(" ".join(article)).measure(tokens.tokens(" ".join(said)))
    runs = {tuple(article[i:j]) for i in range(len(article)) for j in range(i + 1, len(article) + 1)}
    here = {tuple(said[i:j]) for i in range(len(said)) for j in range(i + 1, len(said) + 1)}
    assert found.span == max(map(len, runs & here), default=0)
    assert found.words == len(said)
    size = min(8, len(article))
    grams = {run for run in runs if len(run) == size}
    assert found.copied == (len(grams & here) / len(grams) if grams else 0.0)


def test_caches_are_bounded() -> None:
    for made in (overlap.prepared, overlap.reference, tokens.kept, tokens.stem):
        assert 0 < made.cache_info().maxsize <= 1 << 16
    before = tokens.kept.cache_info().currsize
    tokens.tokens("x" * 1000)
    assert tokens.kept.cache_info().currsize == before  # and no long text is kept
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    size = Tokenizer13a.__call__.cache_info().currsize
    tokens.tokens("something that nobody said before -\n 12345")
    assert Tokenizer13a.__call__.cache_info().currsize == size


@pytest.mark.nightly
@pytest.mark.skipif(not os.environ.get("LOOPKIT_DATA"), reason="real articles: set LOOPKIT_DATA")
def test_real_articles() -> None:
    from loopkit.parts.data import read_rows

    rows = read_rows(str(Path(os.environ["LOOPKIT_DATA"]) / "cnn-dailymail-test.parquet"), ["reward_model"])
    articles = [row["reward_model"]["ground_truth"] for row in rows]
    pairs = [(a, changed(a, n)) for a in articles for n in range(5)]
    pairs += list(zip(articles, articles[1:] + articles[:1], strict=True))
    assert len(pairs) == 600
    assert not differences(iter(pairs))
