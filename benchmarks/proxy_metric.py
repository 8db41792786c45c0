"""Scoring of proxy-metric against a plain rouge-score + sacrebleu scorer, and over 100,000 rollouts. One process.

    python benchmarks/proxy_metric.py [--data cnn-dailymail-test.parquet] [--rollouts 100000]

Without ``--data`` (or LOOPKIT_DATA) the articles are the game's own, of some 33 words. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from loopkit_proxy_metric import articles, overlap, tokens
from loopkit_proxy_metric.game import GameOptions, ProxyMetric

from loopkit.contracts import SPLITS
from loopkit.parts.data import read_rows
from loopkit.records import Done, Rollout, Task, Turn
from loopkit.rollouts.scoring import Setup, score

Values = tuple[float, float, float]


def completions(article: str, other: str) -> list[str]:
    """What a group of eight might say of an article, from honest to copied."""
    words = article.split()
    return [
        article,
        f"Summary: {article}",
        " ".join(words[: len(words) // 2]),
        " ".join(w for i, w in enumerate(words) if i % 9),
        articles.lead(article, 0.3 * len(words)),
        articles.skim(article, 0.3 * len(words)),
        " ".join(words[len(words) // 2 :] + words[: len(words) // 2]),
        other,
    ]


def pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """(article, completion), eight to an article."""
    return [(a, c) for a, b in zip(texts, [*texts[1:], texts[0]], strict=True) for c in completions(a, b)]


def plain() -> Callable[[str, str], Values]:
    """ROUGE-1, ROUGE-L and BLEU as one writes it down."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    rouge, bleu = RougeScorer(["rouge1", "rougeL"], use_stemmer=True), BLEU(effective_order=True)

    def values(article: str, completion: str) -> Values:
        found = rouge.score(article, completion)
        bleu_score = bleu.sentence_score(completion, [article]).score / 100
        return found["rouge1"].fmeasure, found["rougeL"].fmeasure, bleu_score

    return values


def ours(article: str, completion: str) -> Values:
    """The same, with the runs and 8-grams that the plain scorer does not look for."""
    return overlap.prepared(article).measure(tokens.tokens(completion))[1:4]


def timed(scorer: Callable[[str, str], Values], work: Sequence[tuple[str, str]]) -> tuple[float, list[Values]]:
    began = time.process_time()
    values = [scorer(article, completion) for article, completion in work]
    return time.process_time() - began, values


def speed(texts: Sequence[str]) -> dict[str, Any]:
    """Both scorers on the same pairs, ours with empty caches and then with warm ones."""
    work, peer = pairs(texts), plain()
    ours("the first call", "imports the libraries"), peer("so does", "the peer's")
    for cache in (overlap.prepared, tokens.kept, tokens.stem):
        cache.cache_clear()
    cold, fast = timed(ours, work)
    warm, _ = timed(ours, work)
    slow, reference = timed(peer, work)
    difference = max(abs(a - b) for f, r in zip(fast, reference, strict=True) for a, b in zip(f, r, strict=True))
    return {
        "articles": len(texts), "pairs": len(work),
        "plain_s": round(slow, 2), "cold_s": round(cold, 3), "warm_s": round(warm, 3),
        "ratio_cold": round(slow / cold, 1), "ratio_warm": round(slow / warm, 1),
        "largest_difference": difference,
    }  # fmt: skip


def scale(count: int, texts: Sequence[str], parts: int = 10) -> list[dict[str, float]]:
    """Scores ``count`` different rollouts, a batch of 128 at a time: CPU seconds and memory of each part."""
    game = ProxyMetric(GameOptions.model_validate({}))
    setup = Setup(game, game.channels["loophole"], game.channels, game.detectors)
    tasks = [Task(f"t{i}", (), public={"article": a, "reference": None, "facts": None}) for i, a in enumerate(texts)]
    process, out, n = psutil.Process(), [], 0
    for part in range(parts):
        began = time.process_time()
        while n < count * (part + 1) // parts:
            batch = []
            for k in range(n, min(n + 128, count)):
                task = tasks[k // 8 % len(tasks)]
                said = completions(task.public["article"], texts[k % len(texts)])[k % 8]
                text = f"{said} number {k} new{k} word{k}"  # never the same twice, with words never seen before
                batch.append(Rollout(f"s/0/0/{task.id}/{k}", task, ((Turn(text), Done()),)))
            score(setup, batch, [0] * len(batch))
            n += len(batch)
        out.append({"rollouts": n, "cpu_s": round(time.process_time() - began, 2),
                    "rss_mb": round(process.memory_info().rss / 2**20, 1)})  # fmt: skip
    return out


def read(path: str) -> list[str]:
    if not path:
        game = ProxyMetric(GameOptions.model_validate({}))
        return [task.public["article"] for split in SPLITS for task in game.tasks(split)[:34]][:100]
    return [row["reward_model"]["ground_truth"] for row in read_rows(path, ["reward_model"])]


def main() -> None:
    default = Path(os.environ.get("LOOPKIT_DATA", ".")) / "cnn-dailymail-test.parquet"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=str(default) if default.exists() else "", help="Parquet or JSONL of articles")
    parser.add_argument("--rollouts", type=int, default=100_000, help="for the second part; 0 leaves it out")
    given = parser.parse_args()
    texts = read(given.data)
    print(json.dumps({"data": Path(given.data).name or "own", **speed(texts)}), flush=True)
    if given.rollouts:
        for part in scale(given.rollouts, texts):
            print(json.dumps(part), flush=True)


if __name__ == "__main__":
    main()
