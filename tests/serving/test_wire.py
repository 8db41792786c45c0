"""Requests that are refused: tokens, sizes, malformed bodies, unknown verbs, hosts that others reach."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from loopkit import serving
from loopkit.errors import RefereeError, UsageError
from loopkit.serving import RefereeClient, Server, serve
from tests.serving.parts import G, P, client, local, post, wait_for


def test_a_wrong_token_is_refused(server: Server) -> None:
    for token in ("", "x", server.token[:-1], server.token + "x", "é"):
        status, answer = post(server, "/v1/info", b"{}", token=token)
        assert (status, "token" in str(answer["error"])) == (401, True)
    assert post(server, "/v1/info", b"{}", headers={"Authorization": f"bearer {server.token}"})[0] == 401
    with pytest.raises(RefereeError, match="token is missing or wrong"):
        RefereeClient(server.url, "wrong")
    status, info = post(server, "/v1/info", b"{}")
    assert (status, bool(info.pop("session"))) == (200, True)
    assert info == {"n_steps": 6, "prompts_per_step": P, "group_size": G}


def test_tokens_are_random_unless_given_and_never_empty() -> None:
    with serve(local()) as one, serve(local(), token="mine") as two:
        assert len(one.token) > 30
        assert post(two, "/v1/info", b"{}", token="mine")[0] == 200
        assert post(two, "/v1/info", b"{}", token=one.token)[0] == 401
    for bad in ("", "a b", "é", "a\n"):
        with pytest.raises(UsageError, match="token"):
            serve(local(), token=bad)


def test_a_body_too_large_is_refused_before_it_is_read(server: Server) -> None:
    body = b'{"ids": ["' + b"x" * serving.wire.BODY_LIMIT + b'"]}'
    assert post(server, "/v1/settle", body)[0] == 413
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as s:  # promised, never sent: refused all the same
        head = f"POST /v1/settle HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\n"
        s.sendall(f"{head}Content-Length: 1{'0' * 5000}\r\n\r\n".encode())
        assert s.recv(12) == b"HTTP/1.1 413"
    with pytest.raises(RefereeError, match="send fewer rollouts"):
        client(server).settle(["x" * serving.wire.BODY_LIMIT])
    assert len(client(server).slots(0)) == P
    assert server.errors == []


SLOT = '"ids": ["a"], "n": [0]'


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("info", b"", "not JSON"),
        ("info", b"{", "not JSON"),
        ("info", b"\xff\xff\xff", "not JSON"),
        ("info", b"[" * 100_000, "not JSON"),
        ("info", b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        ("info", b"[]", "JSON object"),
        ("slots", b"{}", "'step' must be a whole number"),
        ("slots", b'{"step": "1"}', "'step' must be a whole number"),
        ("slots", b'{"step": true}', "'step' must be a whole number"),
        ("slots", b'{"step": 1.0}', "'step' must be a whole number"),
        ("slots", b'{"step": -1}', "'step' must be a whole number"),
        ("resume", b'{"step": null}', "'step' must be a whole number"),
        ("resume", b'{"step": 0, "call": 3}', "'call' must be a string"),
        ("settle", b'{"ids": "abc"}', "'ids' must be a list of strings"),
        ("settle", b'{"ids": [1]}', "'ids' must be a list of strings"),
        ("close", b'{"step": 0, "metrics": {"loss": NaN}}', "'metrics' must be an object of finite numbers"),
        ("close", b'{"step": 0, "metrics": {"loss": "1"}}', "'metrics' must be an object of finite numbers"),
        ("close", b'{"step": 0, "timings": [1]}', "'timings' must be an object of finite numbers"),
        ("reply", f'{{{SLOT}, "turns": ["x"]}}'.encode(), "'turns' must be a list of objects"),
        ("reply", f'{{{SLOT}, "turns": [{{}}]}}'.encode(), "'text' must be a string"),
        ("reply", f'{{{SLOT}, "turns": [{{"text": 1}}]}}'.encode(), "'text' must be a string"),
        ("reply", f'{{{SLOT}, "turns": [{{"text": "", "finish": "eos"}}]}}'.encode(), "'finish' must be 'stop' or"),
        ("reply", f'{{{SLOT}, "turns": [{{"text": "", "ids": [1.5]}}]}}'.encode(), "'ids' must be null or"),
        ("reply", f'{{{SLOT}, "turns": [{{"text": "", "temperature": "0"}}]}}'.encode(), "'temperature' must be a"),
        ("reply", f'{{{SLOT}, "turns": []}}'.encode(), "differ in length: 1, 1, 0"),
        ("reply", b'{"ids": ["a"], "n": [-1], "turns": [{"text": ""}]}', "'n' must be a list of whole numbers"),
    ],
)
def test_malformed_requests_are_answered_with_what_is_wrong(
    server: Server, path: str, body: bytes, message: str
) -> None:
    status, answer = post(server, f"/v1/{path}", body)
    assert status == 400
    assert message in str(answer["error"])
    assert server.errors == []
    assert server._referee._closed == set()  # type: ignore[attr-defined]


def test_unknown_paths_and_methods(server: Server) -> None:
    for path in ("/v1/state", "/v1/", "/info", "/v2/info", "/v1/__class__", "/v1/answer", "/v1/info/"):
        assert post(server, path, b"{}")[0] == 404, path
    connection = http.client.HTTPConnection(*server.url.removeprefix("http://").split(":"), timeout=5)
    connection.request("GET", "/v1/info")
    response = connection.getresponse()
    assert (response.status, "error" in json.loads(response.read())) == (501, True)
    connection.close()
    assert post(server, "/v1/info", b"{}", headers={"Transfer-Encoding": "chunked"})[0] == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.0.1", "example.org", "::"])
def test_hosts_that_others_can_reach_are_refused(host: str) -> None:
    with pytest.raises(UsageError, match="this machine only"):
        serve(local(), host=host)


def test_localhost_is_served_and_a_taken_port_is_a_usage_error() -> None:
    with serve(local(), host="localhost") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert client(server).n_steps == 6
        for port in (int(server.url.rpartition(":")[2]), 99999):
            with pytest.raises(UsageError, match=f"port {port}"):
                serve(local(), port=port)


def test_nothing_is_logged(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    client(server).slots(0)
    post(server, "/v1/nothing", b"{}")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as s:
        s.sendall(b"nonsense\r\n\r\n")
        s.recv(100)
    with socket.create_connection((host, int(port)), timeout=5) as s:  # gone in mid-request
        s.sendall(
            f"POST /v1/slots HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
    wait_for(lambda: len(server._http._open) <= 1)
    assert tuple(capfd.readouterr()) == ("", "")
    assert server.errors == []
