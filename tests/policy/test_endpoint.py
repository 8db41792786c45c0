"""A model behind a server: every way it fails is overcome or an error, within its deadline; nothing is invented."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from loopkit.errors import RunError, UsageError
from loopkit.policy.endpoint import Endpoint, parse
from loopkit.records import Decode, Dialogue, Message
from tests.chat_server import ChatServer, serving

SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TIMEOUT": "30", "TRIES": "3", "PAUSE": "0.01", "CONCURRENCY": "4"}.items():
        monkeypatch.setenv(f"LOOPKIT_ENDPOINT_{name}", value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(lambda messages: f"said {messages[-1]['content']}") as made:
        yield made


def dialogues(n: int) -> list[Dialogue]:
    return [Dialogue(f"k{i}", (Message("user", str(i), Decode(0.7, 9)),)) for i in range(n)]


def endpoint(server: ChatServer) -> Endpoint:
    return Endpoint(server.model.removeprefix("openai:"), seed=3)


def test_it_speaks_in_order_with_the_decoding_asked_for_and_not_too_much_at_once(server: ChatServer) -> None:
    server.pause = 0.03
    turns = endpoint(server).speak(dialogues(20))
    assert [t.text for t in turns] == [f"said {i}" for i in range(20)]
    assert 2 <= server.most <= 4
    one = next(a for a in server.asked if a["messages"][0]["content"] == "5")
    assert (one["temperature"], one["max_tokens"], one["model"], one["path"]) == (0.7, 9, "m", "/v1/chat/completions")
    assert one["key"] == "Bearer sk-secret"
    assert "response_format" not in one
    assert len({a["seed"] for a in server.asked}) == 20
    endpoint(server).speak(dialogues(1))
    assert server.asked[-1]["seed"] == next(a for a in server.asked if a["messages"][0]["content"] == "0")["seed"]


# how a server fails -> what the error says
OVERCOME = {
    "busy": "HTTP 429: .*slow down",
    "broken": "HTTP 500: .*Internal Server Error",
    "gateway": "HTTP 502",
    "hang": "no answer within 0.8 s",
    "drip": "no answer within 0.8 s",
    "truncated": "Error",
    "close": "no connection",
    "no_http": "no connection",
    "no_json": "its body is not JSON: .*choices",
    "wrong_type": "its body is not JSON: .*Welcome to the login page",
    "other_json": "its body is not a chat completion: .*refuses",
    "list": "its body is not a chat completion",
    "no_choices": "its body is not a chat completion",
    "no_text": "its answer has no text .*tool_calls",
    "filtered": "its answer has no text .*content_filter",
    "endless": "its body is longer than 4000000 bytes",
}


@pytest.mark.parametrize("fault", OVERCOME)
def test_a_failure_is_overcome_or_an_error(
    fault: str, server: ChatServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault in ("hang", "drip"):
        monkeypatch.setenv("LOOPKIT_ENDPOINT_TIMEOUT", "0.8")
    server.faults = [fault, fault]
    assert [t.text for t in endpoint(server).speak(dialogues(1))] == ["said 0"]
    assert len(server.asked) == 3
    assert capfd.readouterr().err.count("server asked again") == 1, "told, and the same fault once"
    server.always = fault
    began = time.monotonic()
    with pytest.raises(RunError, match=f"m at http://127.0.0.1:.*gave no answer .*{OVERCOME[fault]}.*asked 3 times"):
        endpoint(server).speak(dialogues(1))
    assert time.monotonic() - began < 30
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("fault", "said"),
    [("unknown_key", "HTTP 401: .*Incorrect"), ("unknown_model", "HTTP 404"), ("too_long", "HTTP 400: .*context")],
)
def test_a_refusal_is_not_asked_again(fault: str, said: str, server: ChatServer) -> None:
    server.always = fault
    with pytest.raises(RunError, match=f"{said}.*asking again would not help") as error:
        endpoint(server).answer(dialogues(1), SCHEMA)
    assert len(server.asked) == 1
    assert "sk-secret" not in str(error.value)


def test_retry_after_is_heeded(server: ChatServer) -> None:
    server.faults = ["busy"]
    began = time.monotonic()
    endpoint(server).speak(dialogues(1))
    assert time.monotonic() - began >= 0.2


def test_a_refused_connection_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(RunError, match=r"no connection.*asked 3 times"):
        Endpoint(f"m@http://127.0.0.1:{port}/v1").speak(dialogues(2))


def test_a_server_without_schemas_is_asked_without_and_that_is_told(
    server: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.always = "no_schema"
    policy = endpoint(server)
    assert [t.text for t in policy.answer(dialogues(1), SCHEMA)] == ["said 0"]
    assert policy.answer(dialogues(1), SCHEMA)
    assert ["response_format" in a for a in server.asked] == [True, False, False]
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "server takes no such field" in capfd.readouterr().err


def test_a_server_that_counts_otherwise_is_given_its_own_field(server: ChatServer) -> None:
    server.always = "newer"
    assert endpoint(server).speak(dialogues(1))[0].text == "said 0"
    assert server.asked[-1]["max_completion_tokens"] == 9


def test_an_answer_cut_off_says_so_and_a_refusal_is_its_words(server: ChatServer) -> None:
    server.faults = ["cut", "declines"]
    assert [t.finish for t in endpoint(server).speak(dialogues(1))] == ["length"]
    assert [t.text for t in endpoint(server).speak(dialogues(1))] == ["I cannot judge this."]


def test_it_may_be_called_from_an_event_loop(server: ChatServer) -> None:
    async def inside() -> str:
        return endpoint(server).speak(dialogues(1))[0].text

    assert asyncio.run(inside()) == "said 0"


def test_the_spec_is_a_model_and_a_url_and_holds_no_secret() -> None:
    assert parse("a/b@v1@http://x:1/v1/") == ("a/b@v1", "http://x:1/v1")
    for bad in ("m", "m@", "@http://x", "m@ftp://x", "m@x/v1", ""):
        with pytest.raises(UsageError, match="write openai:<model>@<base url>"):
            parse(bad)
    for secret in ("m@http://me:pass@x/v1", "m@https://tok@x/v1", "m@http://x/v1?key=pass"):
        with pytest.raises(UsageError, match="specs are recorded") as error:
            parse(secret)
        assert "pass" not in str(error.value).replace("password", "")


def test_a_setting_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("LOOPKIT_ENDPOINT_TIMEOUT", bad)
        with pytest.raises(UsageError, match=r"LOOPKIT_ENDPOINT_TIMEOUT=.*not a positive number"):
            Endpoint("m@http://x")
