"""The agent file: OpenRLHF loads a copy of it in every vLLM engine, where it plays against loopkit's referee.

Standard library and OpenRLHF only. It reads ``session.json`` beside it: where the referee is served, and the token.
A rollout is one sequence: prompt, answer, the template's glue with the reply, answer, and so on; answers alone are
trained on. Whatever goes wrong is raised, so the run stops: nothing is ever paid for a failure.
"""

import asyncio
import copy
import http.client
import json
import pathlib
import random
import time
import urllib.parse
import uuid

from openrlhf.utils.agent import AgentExecutorBase

DECODE = {"temperature": 1.0, "max_tokens": 64}
"""Of a message that does not say how its answer is decoded: loopkit's own default."""
TRIES, TIMEOUT = 6, 1800.0


class LoopkitError(RuntimeError):
    """What the run is stopped for; loopkit shows its text."""


class AgentExecutor(AgentExecutorBase):
    """Plays one rollout a call. Overrides the whole loop: OpenRLHF's own ignores the limit of new tokens, lets the
    rollouts of a group share (and change) one sampling setting, and cuts a long prompt without an error."""

    def __init__(self):
        session = json.loads((pathlib.Path(__file__).parent / "session.json").read_text())
        self.address, self.token = urllib.parse.urlsplit(session["url"]), session["token"]

    async def execute(self, prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=None):
        """One rollout, from claim to reward, as the record that OpenRLHF's trainer reads."""
        claimed = await self.ask("claim", row=label, call=uuid.uuid4().hex)
        rollout, messages = f"{claimed['slot']}/{claimed['name']}", claimed["messages"]
        ids = encode(hf_tokenizer, render(hf_tokenizer, messages))
        logprobs = None if sampling_params.logprobs is None else [0.0] * len(ids)
        spans, n = [], 0
        while True:
            params = allowed(rollout, messages[-1], sampling_params, len(ids), max_length)
            out = (await llm_engine.generate(ids, params)).outputs[0]
            spoken, finish = list(out.token_ids), out.finish_reason
            if finish not in ("stop", "length") or not spoken:
                raise LoopkitError(f"vLLM ended turn {n} of {rollout} with {finish!r} after {len(spoken)} tokens.")
            spans.append((len(ids), len(ids) + len(spoken)))
            ids = ids + spoken
            if logprobs is not None:
                logprobs += [step[token].logprob for step, token in zip(out.logprobs, spoken, strict=True)]
            text = hf_tokenizer.decode(spoken[:-1] if finish == "stop" else spoken, skip_special_tokens=True)
            turn = {"text": text, "finish": finish, "temperature": params.temperature, "ids": spoken}
            reply = (await self.ask("reply", ids=[rollout], n=[n], turns=[turn]))["replies"][0]
            if reply.get("done"):
                break
            between = glue(hf_tokenizer, messages, reply, spoken[-1] if finish == "stop" else None)
            messages, n = [*messages, {"role": "assistant", "content": text}, reply], n + 1
            more = encode(hf_tokenizer, between)
            ids = ids + more
            if logprobs is not None:
                logprobs += [0.0] * len(more)
        reward = (await self.ask("settle", ids=[rollout]))["rewards"][0]
        return {
            "prompt": prompt,
            "label": label,
            "images": images,
            "mm_train_inputs": None,
            "reward": reward,
            "scores": reward,
            "observation_tokens": ids,
            "action_ranges": spans,
            "rollout_log_probs": logprobs,
            "truncated": finish == "length",
            "extra_logs": {},
        }

    async def ask(self, verb, **body):
        """One question to the referee, asked again while no connection comes about; a refusal is raised."""
        return await asyncio.to_thread(self.post, verb, json.dumps(body, ensure_ascii=False))

    def post(self, verb, text):
        data, headers = text.encode("utf-8", "surrogatepass"), {"Authorization": f"Bearer {self.token}"}
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(10.0, 0.2 * 2**attempt) * (0.5 + random.random()))
            connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=TIMEOUT)
            try:
                connection.request("POST", f"/v1/{verb}", data, headers)
                response = connection.getresponse()
                status, answer = response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                trouble = error
                continue
            finally:
                connection.close()
            if status == 200:
                return answer
            if status != 503:
                raise LoopkitError(f"the referee refused {verb}: {answer.get('error')}")
            trouble = answer.get("error")
        raise LoopkitError(f"the referee at {self.address.geturl()} did not answer {verb} in {TRIES} tries: {trouble}")


def render(tokenizer, messages):
    """The dialogue as the model reads it, ready for its next turn."""
    chat = [{"role": m["role"], "content": m["content"]} for m in messages]
    return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)


def encode(tokenizer, text):
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def allowed(rollout, message, sampling_params, used, max_length):
    """This turn's own sampling parameters. What the message asks for must fit the run, or the run stops."""
    decode = message.get("decode") or DECODE
    if decode["temperature"] != sampling_params.temperature:
        raise LoopkitError(
            f"{rollout} asks for temperature {decode['temperature']}, and OpenRLHF learns at "
            f"{sampling_params.temperature}. A game with several temperatures cannot be trained through OpenRLHF."
        )
    if used + decode["max_tokens"] > max_length:
        raise LoopkitError(
            f"{rollout}: {used} tokens so far and an answer of up to {decode['max_tokens']} exceed max_len "
            f"{max_length}. Raise trainer.max_len, or set run.max_tokens lower."
        )
    params = copy.deepcopy(sampling_params)
    params.max_tokens = decode["max_tokens"]
    params.min_tokens = 0  # OpenRLHF's 1 hides from vLLM what the learner sees: how likely an empty answer has become
    return params


def glue(tokenizer, messages, reply, stop):
    """What the chat template puts between an answer and the next: its end, the reply, the next turn's opening."""
    mark = f"<{uuid.uuid4().hex}>"
    whole = render(tokenizer, [*messages, {"role": "assistant", "content": mark}, reply])
    before, middle, after = whole.partition(mark)
    if not middle or before != render(tokenizer, messages):
        raise LoopkitError(
            "the tokenizer's chat template rewrites earlier messages when a reply is added, so a dialogue of several "
            "turns is not one sequence. Use a model whose template only appends."
        )
    return after if stop is None else after.removeprefix(tokenizer.decode([stop]))
