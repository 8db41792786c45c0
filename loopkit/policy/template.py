"""A chat template is a program that comes with a model: it is given a deadline, and everything it does is text."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from loopkit.errors import UsageError

DEADLINE = 20.0
"""Seconds of processor time that one dialogue may take to be written out: a thousand times what any needs."""


class _Late(BaseException):
    """No template's own handling catches it."""


def render(
    tokenizer: Any, chat: Sequence[dict[str, str]], kwargs: Mapping[str, Any] | None = None, *,
    seconds: float = DEADLINE,
) -> str:  # fmt: skip
    """The text of a dialogue by the tokenizer's chat template, with the cue for the next turn.

    ``kwargs`` are names that the template may know, such as ``enable_thinking``.

    Jinja runs it in its sandbox: no file, no attribute that starts with an underscore. A loop without end is ended
    between two lines of it. Raises UsageError where it does not come to an end or fails.
    """
    end, before = time.thread_time() + seconds, sys.gettrace()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if time.thread_time() > end:
            raise _Late
        return trace

    sys.settrace(trace)
    try:
        text: str = tokenizer.apply_chat_template(
            list(chat), tokenize=False, add_generation_prompt=True, **(kwargs or {})
        )
    except _Late:
        raise UsageError(
            f"the chat template of the model's tokenizer took more than {seconds:g} s for one dialogue: it may not "
            "come to an end. Use another model, or mend chat_template in its tokenizer_config.json."
        ) from None
    finally:
        sys.settrace(before)
    return text
