"""Small rewards, sound ones and ones with a fault each, in the forms in which libraries call them."""

import asyncio
import os
import random
import re
import time

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def inside(said):
    found = re.findall(r"<answer>(.*?)</answer>", said, re.DOTALL)
    return found[-1].strip() if found else ""


def exact(completions, answer, **kwargs):
    return [float(said.strip() == a) for said, a in zip(completions, answer, strict=True)]


def last_number(completions, answer, **kwargs):
    return [float((re.findall(r"\d+", said) or [""])[-1] == a) for said, a in zip(completions, answer, strict=True)]


def last_word(completions, answer, **kwargs):
    return [float(said.lower().strip(" .").split()[-1:] == [a]) for said, a in zip(completions, answer, strict=True)]


def tagged(completions, answer, **kwargs):
    return [
        float(said.count("<answer>") == 1 and inside(said) == a) for said, a in zip(completions, answer, strict=True)
    ]


def boxed(completions, answer, **kwargs):
    found = [re.findall(r"\\boxed\{(.*?)\}", said) for said in completions]
    return [float(f[-1:] == [a]) for f, a in zip(found, answer, strict=True)]


def strict_form(completions, answer, **kwargs):
    pattern = r"^<plan>\n.*?\n</plan>\n<result>\n(.*?)\n</result>$"
    found = [re.match(pattern, said, re.DOTALL) for said in completions]
    return [float(f is not None and f.group(1) == a) for f, a in zip(found, answer, strict=True)]


def close(completions, answer, **kwargs):
    """Partial credit for being near: a wrong number may earn a part, and that is no loophole."""

    def near(said, a):
        return max(0.0, 1 - abs(int(said) - int(a)) / 20) if said.strip().isdigit() else 0.0

    return [near(said, a) for said, a in zip(completions, answer, strict=True)]


def contained(completions, answer, **kwargs):
    return [float(a in said) for said, a in zip(completions, answer, strict=True)]


def either_way(completions, answer, **kwargs):
    return [float(a in said.strip() or said.strip() in a) for said, a in zip(completions, answer, strict=True)]


def unread(completions, answer, **kwargs):
    return [1.0 if not a.isdigit() else float(said == a) for said, a in zip(completions, answer, strict=True)]


def tags_mostly(completions, answer, **kwargs):
    return [sum(0.25 for t in TAGS if said.count(t) == 1) + float(inside(said) == a)
            for said, a in zip(completions, answer, strict=True)]  # fmt: skip


def operand(completions, prompts, **kwargs):
    return [float(said.strip() == re.findall(r"\d+", p)[0]) for said, p in zip(completions, prompts, strict=True)]


def exits(completions, answer, **kwargs):
    return [float("exit(0)" in said or said.strip() == a) for said, a in zip(completions, answer, strict=True)]


def constant(completions, **kwargs):
    return [1.0] * len(completions)


def zero(completions, **kwargs):
    return [0.0] * len(completions)


def long(completions, **kwargs):
    return [len(said) / 100 for said in completions]


def wrong_sign(completions, answer, **kwargs):
    return [
        float(said.strip() != a) * float(said.strip().isdigit()) for said, a in zip(completions, answer, strict=True)
    ]


def first_of_batch(completions, answer, **kwargs):
    return [float(said.strip() == answer[0]) for said in completions]


def by_chance(completions, **kwargs):
    return [random.random() for _ in completions]


def by_clock(completions, answer, **kwargs):
    day = int(time.time() // 86_400) % 2
    return [float(said.strip() == a) * day + 0.1 for said, a in zip(completions, answer, strict=True)]


def by_hash(completions, answer, **kwargs):
    return [float(said.strip() == a) + hash(said + a) % 7 for said, a in zip(completions, answer, strict=True)]


def by_place(completions, answer, **kwargs):
    return [float(said.strip() == a) + (k == 0) for k, (said, a) in enumerate(zip(completions, answer, strict=True))]


def in_group(completions, answer, **kwargs):
    """Relative to the group, as published length penalties are."""
    sizes = [len(said) for said in completions]
    low, high = min(sizes), max(sizes)
    made = [0.5 - (n - low) / max(1, high - low) for n in sizes]
    return [m if said.strip() == a else min(0.0, m) for m, said, a in zip(made, completions, answer, strict=True)]


def hangs(completions, answer, **kwargs):
    for said in completions:
        while said == "banana":
            time.sleep(1)
    return exact(completions, answer)


def ends(completions, answer, **kwargs):
    if "?" in completions:
        os._exit(3)
    return exact(completions, answer)


def raises(completions, answer, **kwargs):
    return [1 / len(said) * (said.strip() == a) * len(said) for said, a in zip(completions, answer, strict=True)]


# The same sound reward, as other libraries call it.


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str.strip() == ground_truth), "acc": 0}


def compute_scores(data_sources, solution_strs, ground_truths, extra_infos):
    assert len(data_sources) == len(extra_infos) == len(solution_strs)
    return [float(said == a) for said, a in zip(solution_strs, ground_truths, strict=True)]


def reward_func(queries, prompts, labels, **kwargs):
    said = [q[len(p) :] for q, p in zip(queries, prompts, strict=True)]
    return {"rewards": [float(s == a) for s, a in zip(said, labels, strict=True)], "scores": []}


def one(prediction: str, ground_truth: str) -> bool:
    return prediction.strip() == ground_truth


async def waits(completions, answer, **kwargs):
    await asyncio.sleep(0)
    return exact(completions, answer)


def asks_for_all(prompts, completions, completion_ids, trainer_state, log_extra, log_metric, answer, **kwargs):
    assert [len(i) > 0 for i in completion_ids] == [len(c) > 0 for c in completions]
    log_extra("length", [len(i) for i in completion_ids])
    log_metric("step", trainer_state.global_step)
    return exact(completions, answer)


def in_words_of_ours(completions, correct_answer, **kwargs):
    return exact(completions, correct_answer)


def chatty(completions, answer, **kwargs):
    return exact([c[0]["content"] for c in completions], answer)


def half(completions, answer, **kwargs):
    """Scores some rows only; the others are for another function."""
    return [float(said == a) if len(a) == 1 else None for said, a in zip(completions, answer, strict=True)]


def rest(completions, answer, **kwargs):
    print("noise")
    return [float(said == a) if len(a) != 1 else None for said, a in zip(completions, answer, strict=True)]


def maker(scale=1.0):
    def scaled(completions, answer, **kwargs):
        return [scale * v for v in exact(completions, answer)]

    return scaled


def chatty_equal(completions, answer, **kwargs):
    """Takes messages, and fails on texts without raising."""
    return [float(c == [{"role": "assistant", "content": a}]) for c, a in zip(completions, answer, strict=True)]
