"""TRL's sampling as a loopkit policy, several turns included, and what was said as TRL trains on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopkit import Decode, Dialogue, Message, Turn
from loopkit.errors import UsageError
from loopkit.policy.load import CausalPolicy
from loopkit.rollouts.playing import Played

PLACEHOLDER = "x"


class Speaker:
    """A ``Policy`` that answers as TRL samples. A turn's prompt is what came before it, token for token.

    TRL trains on one sequence a rollout, so a later turn cannot be templated anew: the earlier tokens stand as they
    were sampled, and only what the chat template puts between two turns is added.
    """

    def __init__(self, policy: CausalPolicy, trainer: Any, temperature: float) -> None:
        self.policy, self.trainer, self.temperature = policy, trainer, temperature
        self.last: dict[str, Turn] = {}
        """By dialogue: the turn before, which the next one continues."""

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        """(B,) dialogues -> (B,) turns. Raises UsageError where TRL cannot decode, or train on, such a turn."""
        limits = [self._limit(d) for d in dialogues]
        prompts = [self._prompt(d) for d in dialogues]
        self.trainer.generation_config.max_new_tokens = max(limits)
        # TRL has no public way to sample inside a rollout_func. The pin in pyproject.toml is for this line.
        sampled, _ = self.trainer._generate_single_turn([list(p) for p in prompts], None, {}, 1)
        turns = []
        for dialogue, prompt, whole, limit in zip(dialogues, prompts, sampled, limits, strict=True):
            ids = tuple(whole[:limit])  # a sample cut short is a sample of a shorter limit
            stopped = ids[-1] in self.policy.stop_ids
            text = self.policy.tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True)
            turn = Turn(text, "stop" if stopped else "length", prompt, ids, temperature=self.temperature)
            turns.append(turn)
            self.last[dialogue.key] = turn
        return turns

    def _limit(self, dialogue: Dialogue) -> int:
        decode = dialogue.messages[-1].decode or Decode()
        if decode.temperature != self.temperature:
            raise UsageError(
                f"{dialogue.key!r}: turn {dialogue.turn} is decoded at temperature {decode.temperature:g}, others at "
                f"{self.temperature:g}, and TRL trains at one temperature a run. Use --trainer grpo for this game."
            )
        if decode.truncated:
            raise UsageError(
                "TRL is given no top-p or top-k: leave run.top_p and run.top_k out, or use --trainer grpo."
            )
        return decode.max_tokens

    def _prompt(self, dialogue: Dialogue) -> tuple[int, ...]:
        if dialogue.turn == 0:
            return self.policy.encode(dialogue.messages)
        before = self.last[dialogue.key]
        assert before.prompt_ids is not None
        assert before.ids is not None
        return (*before.prompt_ids, *before.ids, *self._between(dialogue.messages, before.finish == "stop"))

    def _between(self, messages: Sequence[Message], stopped: bool) -> tuple[int, ...]:
        """What the template puts after a turn, up to the next; a turn that stopped has its end-of-turn token itself."""
        at = max(i for i, m in enumerate(messages) if m.role == "assistant")
        opening = self._template(messages[:at]) + PLACEHOLDER
        whole = self._template([*messages[:at], Message("assistant", PLACEHOLDER), *messages[at + 1 :]])
        rest = whole[len(opening) :]
        end = next((e for i in self.policy.stop_ids if rest.startswith(e := self.policy.tokenizer.decode([i]))), None)
        if not whole.startswith(opening) or end is None:
            raise UsageError(
                "this game has several turns, and the model's chat template does not continue a dialogue where it "
                "ended (it rewrites earlier turns, or ends them with no end-of-turn token). TRL trains on one sequence "
                "a rollout. Use --trainer grpo, which trains on each turn by itself, or a game of one turn."
            )
        return tuple(self.policy.tokenizer(rest[len(end) if stopped else 0 :], add_special_tokens=False).input_ids)

    def _template(self, messages: Sequence[Message]) -> str:
        chat = [{"role": m.role, "content": m.content} for m in messages]
        text: str = self.policy.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text


def sequence(played: Played) -> tuple[list[int], list[int], list[int]]:
    """A rollout as TRL trains on it: prompt, everything after it, and of the latter a 1 where the policy spoke."""
    prompt = played.turns[0].prompt_ids or ()
    whole, mask = list(prompt), [0] * len(prompt)
    for turn in played.turns:
        given, said = turn.prompt_ids or (), turn.ids or ()
        whole += [*given[len(whole) :], *said]
        mask += [0] * (len(given) - len(mask)) + [1] * len(said)
    return list(prompt), whole[len(prompt) :], mask[len(prompt) :]
