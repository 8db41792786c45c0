"""A model behind a server that speaks OpenAI's chat completions: ``openai:<model>@<base url>``. It cannot be trained.

Every question has a deadline of its own, and is asked again where the server fails; what still has no answer then is
an error. The key comes from OPENAI_API_KEY and is recorded nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx

from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import RunSpec
from loopkit.records import Decode, Dialogue, Json, Turn
from loopkit.registry.plugins import Plugins
from loopkit.seeding import digest
from loopkit.system.notices import notice

SETTINGS = {"TIMEOUT": 60.0, "TRIES": 5.0, "CONCURRENCY": 8.0, "PAUSE": 0.5}
"""Read from LOOPKIT_ENDPOINT_<NAME>: seconds for one answer; how often it is asked for; how many are asked for at
once; seconds before the second try, doubled before each further one. They change no answer, so no spec holds them."""
LONGEST_PAUSE = 60.0
LONGEST_BODY = 4_000_000
REASONING = ("reasoning_content", "reasoning")
"""Fields in which servers that part thoughts from answers give the thoughts."""
FINAL = (400, 401, 403, 404, 405, 413, 422)
"""HTTP statuses that asking again would not mend."""


def start_from(argument: str, spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None]) -> Endpoint:
    """A model behind a server that speaks OpenAI's chat completions: openai:MODEL@URL."""
    return Endpoint(argument, seed=spec.seed, template_kwargs=spec.run.chat_template_kwargs)


start_from.evaluation_only = (  # type: ignore[attr-defined]
    "is evaluated only: its weights are behind a server, so no gradient can reach them. Train a local model, or use "
    "`loopkit eval`."
)


class Endpoint:
    """A policy, ``<model>@<base url>``, that speaks by asking a server. Raises UsageError for a bad spec."""

    def __init__(self, argument: str, *, seed: int = 0, template_kwargs: Mapping[str, Json] | None = None) -> None:
        self.model, self.url = parse(argument)
        self.seed, self.template_kwargs = seed, template_kwargs
        self.timeout, tries, concurrency, self.pause = (_setting(name) for name in SETTINGS)
        self.tries, self.concurrency = max(1, int(tries)), max(1, int(concurrency))
        self._left_out: set[str] = set()
        self._told: set[str] = set()

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        """(B,) dialogues -> (B,) turns, text only. Raises RunError where the server gives no answer."""
        return self.answer(dialogues, None)

    def answer(self, dialogues: Sequence[Dialogue], schema: Mapping[str, Json] | None) -> list[Turn]:
        """(B,) turns held to a JSON schema, where the server can do that; where it cannot, a notice says so."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._all(dialogues, schema))
        with ThreadPoolExecutor(1) as pool:  # called inside somebody's event loop
            return pool.submit(asyncio.run, self._all(dialogues, schema)).result()

    async def _all(self, dialogues: Sequence[Dialogue], schema: Mapping[str, Json] | None) -> list[Turn]:
        self._told.clear()
        key = os.environ.get("OPENAI_API_KEY") or "none"
        free = asyncio.Semaphore(self.concurrency)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(timeout=self.timeout, headers=headers, follow_redirects=True) as client:

            async def one(dialogue: Dialogue) -> Turn:
                async with free:
                    return await self._one(client, dialogue, schema)

            try:
                async with asyncio.TaskGroup() as group:  # the first that fails ends the others
                    tasks = [group.create_task(one(d)) for d in dialogues]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            return [task.result() for task in tasks]

    async def _one(self, client: httpx.AsyncClient, dialogue: Dialogue, schema: Mapping[str, Json] | None) -> Turn:
        """One answer, tried until the server gives it, or will not."""
        tried = 0
        while True:
            wait = None
            try:
                async with asyncio.timeout(self.timeout):  # of the whole answer: the client's own is of each read
                    question = self._question(dialogue, schema)
                    async with client.stream("POST", f"{self.url}/chat/completions", json=question) as response:
                        body = await _body(response)
                    if response.is_success:
                        return _turn(body)
                text = body.decode(errors="replace")
                why = f"HTTP {response.status_code}: {_excerpt(text)}"
                if response.status_code in FINAL:
                    if self._adapts(text, schema):
                        continue
                    raise self._error(why, "It refuses the question; asking again would not help.")
                wait = _retry_after(response.headers.get("retry-after"))
            except RunError:
                raise
            except (TimeoutError, httpx.TimeoutException):
                why = f"no answer within {self.timeout:g} s"
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                why = f"no connection: {error or type(error).__name__}"
            except ValueError as error:  # a body that is not a chat completion
                why = str(error)
            except Exception as error:  # a broken body is told in many ways
                why = f"{type(error).__name__}: {_excerpt(str(error))}"
            tried += 1
            if tried >= self.tries:
                raise self._error(why, f"It was asked {tried} times.")
            pause = min(LONGEST_PAUSE, self.pause * 2 ** (tried - 1)) * random.uniform(0.5, 1.0)
            self._tell("server asked again", why)
            await asyncio.sleep(pause if wait is None else wait)

    def _question(self, dialogue: Dialogue, schema: Mapping[str, Json] | None) -> dict[str, Any]:
        decode = dialogue.messages[-1].decode or Decode()
        limit = "max_completion_tokens" if "max_tokens" in self._left_out else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in dialogue.messages],
            "temperature": decode.temperature,
            "seed": digest(self.seed, dialogue.key, dialogue.turn, "sample") % 2**31,
            limit: decode.max_tokens + (decode.thought_tokens or 0),  # servers have one limit for both
        }
        if self.template_kwargs:  # vLLM's and others', as top_k: a server without it refuses the request
            body["chat_template_kwargs"] = dict(self.template_kwargs)
        if decode.top_p < 1:
            body["top_p"] = decode.top_p
        if decode.top_k:
            body["top_k"] = decode.top_k
        if schema is not None and "response_format" not in self._left_out:
            form = {"name": "answer", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _adapts(self, reply: str, schema: Mapping[str, Json] | None) -> bool:
        """Whether the server refused a field that can be left out (told once), so that it is worth asking without."""
        for field, named in (("max_tokens", "max_completion_tokens"), ("response_format", "response_format|schema")):
            relevant = field != "response_format" or schema is not None
            if relevant and field not in self._left_out and re.search(named, reply):
                self._left_out.add(field)
                self._tell("server takes no such field", f"{field}: {_excerpt(reply)}")
                return True
        return False

    def _tell(self, event: str, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            notice(event, server=self.url, model=self.model, why=why)

    def _error(self, why: str, how_often: str) -> RunError:
        return RunError(f"{self.model} at {self.url} gave no answer ({why}). {how_often}")


def parse(argument: str) -> tuple[str, str]:
    """(model, base url) of ``<model>@<base url>``. A URL that holds a secret is refused: specs are recorded."""
    model, at, url = argument.rpartition("@")
    if re.match(r"https?://[^/]*$", model) or not (at and model and re.match(r"https?://", url)):
        if "@" in urlsplit(argument[max(0, argument.find("http")) :]).netloc:
            raise UsageError("openai: the URL holds a user or a password, and specs are recorded. Use OPENAI_API_KEY.")
        raise UsageError(
            f"openai:{argument} is not understood: write openai:<model>@<base url>, such as "
            "openai:my-model@http://localhost:8000/v1."
        )
    parts = urlsplit(url)
    if "://" in model or parts.query or parts.fragment or parts.username:
        raise UsageError(
            f"openai:{model.partition('://')[0]}…: the URL holds a user, a password or a query, and specs are "
            "recorded. Give the key in the environment as OPENAI_API_KEY."
        )
    return model, url.rstrip("/")


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LONGEST_BODY:
                raise ValueError(f"its body is longer than {LONGEST_BODY} bytes")
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise ValueError(f"its body broke off: {type(error).__name__}: {error}") from error
    return bytes(body)


def _turn(body: bytes) -> Turn:
    """The turn in a chat completion. Raises ValueError saying what is wrong with the body."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its body is not JSON: {_excerpt(body.decode(errors='replace'))}") from error
    try:
        choice = data["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its body is not a chat completion: {_excerpt(body.decode(errors='replace'))}") from error
    text = choice["message"].get("refusal") if text is None else text  # what it said instead of an answer
    thoughts = next(filter(None, (choice["message"].get(name) for name in REASONING)), None)
    if text is None and thoughts and finish == "length":
        text = ""  # its tokens ended while it was thinking
    if not isinstance(text, str) or not isinstance(thoughts, str | None):
        raise ValueError(f"its answer has no text (finish_reason {finish!r})")
    return Turn(text, "length" if finish == "length" else "stop", thoughts=thoughts)


def _retry_after(text: str | None) -> float | None:
    """Seconds that a server asks to wait, at most LONGEST_PAUSE; None where it names none."""
    try:
        return min(LONGEST_PAUSE, max(0.0, float(text or "")))
    except ValueError:
        return None


def _excerpt(text: str) -> str:
    return repr(" ".join(text.split())[:200])


def _setting(name: str) -> float:
    text = os.environ.get(f"LOOPKIT_ENDPOINT_{name}", "")
    try:
        value = float(text) if text else SETTINGS[name]
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UsageError(f"LOOPKIT_ENDPOINT_{name}={text!r} is not a positive number. Mend or unset it.")
    return value
