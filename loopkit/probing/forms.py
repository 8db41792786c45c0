"""The forms in which an answer may be wanted: the usual ones, and those that the prompt and the code speak of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loopkit.probing import regexes

MOST = 60
"""Forms that are tried."""
TAG = re.compile(r"</?[A-Za-z][\w-]*>")
THOUGHT = "The parts are taken one by one."
THINKING = re.compile(r"think|reason|work|rationale|scratch|analysis|cot", re.I)


@dataclass(frozen=True)
class Form:
    """``template`` has one ``{}``, where the answer stands."""

    name: str
    template: str

    def say(self, answer: str) -> str:
        return self.template.format(answer)

    @property
    def bare(self) -> bool:
        return self.template == "{}"

    def holds(self, text: str) -> bool:
        """Whether a text has what it adds to an answer."""
        whole = self.template.format("\0")
        marks = TAG.findall(whole) or [mark.strip() for mark in whole.split("\0")]
        return any(marks) and all(mark in text for mark in marks)


PLAIN = Form("the bare answer", "{}")
USUAL = (
    PLAIN,
    Form("a number after ####", "#### {}"),
    Form(r"\boxed{}", r"\boxed{{{}}}"),
    Form(r"$\boxed{}$", r"$\boxed{{{}}}$"),
    Form(r"The final answer is \boxed{}.", r"The final answer is \boxed{{{}}}."),
    Form("<answer> tags", "<answer>{}</answer>"),
    Form("<answer> tags on lines", "<answer>\n{}\n</answer>"),
    Form("The answer is …", "The answer is {}"),
    Form("The final answer is …", "The final answer is {}."),
    Form("Answer: …", "Answer: {}"),
    Form("**Answer:** …", "**Answer:** {}"),
    Form("(…)", "({})"),
    Form("[…]", "[{}]"),
    Form("double brackets", "[[{}]]"),
    Form("a JSON object", '{{"answer": "{}"}}'),
    Form("a Python code block", "```python\n{}\n```"),
    Form("a code block", "```\n{}\n```"),
    Form("thinking, then the answer", f"<think>{THOUGHT}</think>{{}}"),
    Form("thinking on lines, then the answer", f"<think>\n{THOUGHT}\n</think>\n\n{{}}"),
    Form("thinking, then \\boxed{}", f"<think>\n{THOUGHT}\n</think>\n\n\\boxed{{{{{{}}}}}}"),
)


def tags(texts: Iterable[str]) -> list[str]:
    """The names of tags in texts, in the order in which they occur."""
    return list(dict.fromkeys(t for text in texts for t in re.findall(r"<[\\/]*([A-Za-z][\w-]{1,30})>", text)))


def known(prompts: Sequence[str], literals: Sequence[str]) -> list[Form]:
    """The forms to try, the usual first: of tags named in prompts or code, of the code's patterns and prefixes."""
    made = list(USUAL)
    made += [
        Form(f"what the code's pattern {text[:30]!r} takes", template)
        for text in literals
        for template in regexes.forms(text)
    ]
    there = tags([*prompts[:5], *literals])
    named = [*there, *(t for t in ("think", "answer") if t not in there)]
    thoughts = [t for t in named if THINKING.search(t)] or ["think"]
    answers = [t for t in named if not THINKING.search(t)] or ["answer"]
    for name in answers[:6]:
        made.append(Form(f"<{name}> tags", f"<{name}>{{}}</{name}>"))
        made.append(Form(f"<{name}> tags on lines", f"<{name}>\n{{}}\n</{name}>"))
    for thought, answer in itertools.islice(itertools.product(thoughts[:4], answers[:4]), 8):
        made += _both(thought, answer)
    for turn in (
        "Assistant:",
        "<|im_start|>assistant",
    ):  # graders that are given the prompt, too, and look for the turn
        if any(turn in text for text in literals):
            inner = ["<answer>{}</answer>", f"<think>{THOUGHT}</think>\n<answer>{{}}</answer>", "{}"]
            made[1:1] = [Form(f"after {turn}", f"{turn}\n{template}") for template in inner]
    if "answer" in there:
        made.append(Form("<answer> after an example of it", "<answer> … </answer>\n<answer>{}</answer>"))
    for text in literals:
        prefix = text.strip()
        if 2 < len(prefix) <= 40 and prefix.endswith(":") and "\\" not in prefix and "{" not in prefix:
            made.append(Form(f"{prefix} …", f"{prefix} {{}}"))
    unique: dict[str, Form] = {}
    for form in made:
        try:
            unique.setdefault(form.say("1"), form)
        except (IndexError, KeyError, ValueError):
            continue  # braces of the code that are no template
    return list(unique.values())[:MOST]


def _both(thought: str, answer: str) -> list[Form]:
    """Thinking and answer, on one line and on lines, with the ends that are in use."""
    pair = f"<{thought}> and <{answer}>"
    ends = [f"</{thought}>"]
    if thought.startswith("start_"):
        ends = [f"<{thought.replace('start_', 'end_', 1)}>"]
    made = []
    for end in ends:
        a, b = f"<{thought}>", end
        made += [
            Form(pair, f"{a}{THOUGHT}{b}<{answer}>{{}}</{answer}>"),
            Form(f"{pair}, a line between", f"{a}{THOUGHT}{b}\n<{answer}>{{}}</{answer}>"),
            Form(f"{pair} on lines", f"{a}\n{THOUGHT}\n{b}\n<{answer}>\n{{}}\n</{answer}>"),
            Form(f"{pair} on lines, a newline at the end", f"{a}\n{THOUGHT}\n{b}\n<{answer}>\n{{}}\n</{answer}>\n"),
        ]
    return made
