"""How trainers of others hand their rollouts to a ``Watch``: TRL by its reward functions, verl by a reward manager."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopkit.elsewhere.watching import Watch

PASSED = ("trainer_state", "log_extra", "log_metric", "environments", "completion_ids")
"""What TRL passes to reward functions beside the data's columns."""


def trl(watch: Watch, trainer: Any) -> Any:
    """Wrap a TRL trainer's reward functions in place, and add a callback that knows how long it trains and its end.

    Only the main process watches: of several processes the rollouts of the first. Reward models (torch modules) are
    not seen; where one pays, name the reward in question by a function.
    """
    from transformers import TrainerCallback

    functions = trainer.reward_funcs
    seen = [k for k, f in enumerate(functions) if callable(f) and not hasattr(f, "forward")]
    names, weights = [trainer.reward_func_names[k] for k in seen], [float(w) for w in trainer.reward_weights]
    book = _Book(watch, trainer, names, weights, whole=len(seen) == len(functions))
    if trainer.accelerator.is_main_process:
        for k in seen:
            functions[k] = book.wrapped(trainer.reward_func_names[k], functions[k])

    class Callback(TrainerCallback):  # type: ignore[misc]  # transformers is imported late, and has no types here
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watch.steps = watch.steps or state.max_steps

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watch.close()

    watch.tracks = False
    trainer.add_callback(Callback())
    return trainer


class _Book:
    """Collects what the reward functions of a trainer pay one batch, and hands it on when all have."""

    def __init__(self, watch: Watch, trainer: Any, names: Sequence[str], weights: Sequence[float], whole: bool) -> None:
        self.watch, self.trainer, self.names, self.weights, self.whole = watch, trainer, names, weights, whole
        self.values: dict[str, Sequence[float | None]] = {}

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, to its caller: what it returns and raises is its own."""

        @functools.wraps(function)
        def called(*args: Any, **given: Any) -> Any:
            paid = function(*args, **given)
            self._take(name, paid, given)
            return paid

        @functools.wraps(function)
        async def awaited(*args: Any, **given: Any) -> Any:
            paid = await function(*args, **given)
            self._take(name, paid, given)
            return paid

        own = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
        return awaited if inspect.iscoroutinefunction(own) else called

    def _take(self, name: str, paid: Any, given: Mapping[str, Any]) -> None:
        try:
            if not self.trainer.model.training:  # an evaluation of TRL's
                return
            self.values[name] = list(paid)
            if len(self.values) < len(self.names):
                return
            values, self.values = self.values, {}
            if (log := given.get("log_metric")) is not None:
                for metric, value in dict(self.watch.latest).items():  # of the last step that was judged
                    log(metric, value)
            columns = {k: v for k, v in given.items() if k not in (*PASSED, "prompts", "completions")}
            self.watch.record(
                int(self.trainer.state.global_step), given["prompts"], given["completions"],
                {**values, **self._sum(values)}, columns, "reward" if self.whole else "",
            )  # fmt: skip
        except Exception as error:
            self.watch.fault(f"{type(error).__name__}: {error}", None)

    def _sum(self, values: Mapping[str, Sequence[float | None]]) -> dict[str, list[float]]:
        """What TRL learns from: the weighted sum of all that is not None; unknown where a reward model pays too."""
        if not self.whole or "reward" in values:
            return {}
        columns = [values[n] for n in self.names]
        return {
            "reward": [
                sum(w * float(v) for w, v in zip(self.weights, row, strict=True) if v is not None and v == v)
                for row in zip(*columns, strict=True)
            ]
        }


class VerlManager:
    """A reward manager of verl's, watched: ``trainer.reward_fn`` of the classic trainer, or one of its reward loop.

    What it pays is what the manager within pays. Texts are decoded in the watching thread's stead only once: here.
    """

    def __init__(self, watch: Watch, manager: Any) -> None:
        self._watch, self._manager = watch, manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def __call__(self, data: Any, return_dict: bool = False) -> Any:
        """As verl calls it: DataProto -> (B, T) rewards, or {"reward_tensor", "reward_extra_info"}."""
        given = self._manager(data, return_dict=True)
        try:
            self._take(data, given["reward_tensor"].sum(-1).tolist(), given.get("reward_extra_info") or {})
        except Exception as error:
            self._watch.fault(f"{type(error).__name__}: {error}", None)
        return given if return_dict else given["reward_tensor"]

    def _take(self, data: Any, paid: Sequence[float], extra: Mapping[str, Sequence[Any]]) -> None:
        meta = data.meta_info
        if meta.get("validate"):
            return
        step = int(meta.get("global_steps", 1)) - 1  # verl counts from 1
        width = data.batch["prompts"].shape[-1]
        mask, tokenizer = data.batch["attention_mask"], self._manager.tokenizer
        prompts, replies = [], []
        for asked, said, kept in zip(data.batch["prompts"], data.batch["responses"], mask, strict=True):
            n, m = int(kept[:width].sum()), int(kept[width:].sum())
            prompts.append(tokenizer.decode(asked[len(asked) - n :], skip_special_tokens=True))
            replies.append(tokenizer.decode(said[:m], skip_special_tokens=True))
        known = data.non_tensor_batch
        columns = {name: list(values) for name, values in known.items()}
        if "raw_prompt" in columns:  # messages, before the chat template
            prompts = [list(messages) for messages in columns.pop("raw_prompt")]
        if "reward_model" in columns:
            columns["ground_truth"] = [of.get("ground_truth") for of in columns["reward_model"]]
        numbers = {
            n: v for n, v in extra.items() if len(v) == len(paid) and all(isinstance(x, (int, float)) for x in v)
        }
        self._watch.record(step, prompts, replies, {**numbers, "reward": paid}, columns, "reward")
