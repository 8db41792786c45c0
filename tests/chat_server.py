"""A local server that speaks the chat-completions protocol, and fails in every way that one does."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

Answer = Callable[[list[dict[str, str]]], str]
"""The messages asked -> the words answered."""


def completion(text: str | None, finish: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    ).encode()


class Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.counting:
            self.server.asked.append({"path": self.path, "key": self.headers.get("Authorization"), **asked})
            self.server.active += 1
            self.server.most = max(self.server.most, self.server.active)
            fault = self.server.faults.pop(0) if self.server.faults else self.server.always
        try:
            getattr(self, f"do_{fault}")(asked)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had enough
        finally:
            with self.server.counting:
                self.server.active -= 1

    def send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_well(self, asked: Any) -> None:
        time.sleep(self.server.pause)
        self.send(completion(self.server.answer(asked["messages"])))

    def do_busy(self, asked: Any) -> None:
        self.send(b'{"error": {"message": "slow down"}}', 429, Retry_After="0.2")

    def do_broken(self, asked: Any) -> None:
        self.send(b"<html>Internal Server Error</html>", 500, "text/html")

    def do_gateway(self, asked: Any) -> None:
        self.send(b"", 502, "text/plain")

    def do_unknown_key(self, asked: Any) -> None:
        self.send(b'{"error": {"message": "Incorrect API key"}}', 401)

    def do_unknown_model(self, asked: Any) -> None:
        self.send(b'{"error": {"message": "no such model"}}', 404)

    def do_too_long(self, asked: Any) -> None:
        self.send(b'{"error": {"message": "maximum context length exceeded"}}', 400)

    def do_no_schema(self, asked: Any) -> None:
        if "response_format" in asked:
            self.send(b'{"error": {"message": "response_format is not supported"}}', 400)
        else:
            self.do_well(asked)

    def do_newer(self, asked: Any) -> None:
        if "max_tokens" in asked:
            self.send(b'{"error": {"message": "use max_completion_tokens instead"}}', 400)
        else:
            self.do_well(asked)

    def do_hang(self, asked: Any) -> None:
        self.server.over.wait(10)

    def do_drip(self, asked: Any) -> None:
        """A byte now and then: each arrives long before a read would time out."""
        body = completion(self.server.answer(asked["messages"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            if self.server.over.wait(0.05):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def do_truncated(self, asked: Any) -> None:
        """Fewer bytes than announced, then the end."""
        body = completion(self.server.answer(asked["messages"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + 50))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_close(self, asked: Any) -> None:
        """Not a byte of an answer."""
        self.close_connection = True

    def do_no_http(self, asked: Any) -> None:
        self.wfile.write(b"it is late, go away\r\n\r\n")
        self.close_connection = True

    def do_no_json(self, asked: Any) -> None:
        self.send(b'{"choices": [{"message": ')

    def do_wrong_type(self, asked: Any) -> None:
        self.send(b"<html>Welcome to the login page</html>", 200, "text/html")

    def do_other_json(self, asked: Any) -> None:
        self.send(b'{"error": "none", "refuses": true}')

    def do_list(self, asked: Any) -> None:
        self.send(b"[1, 2, 3]")

    def do_no_choices(self, asked: Any) -> None:
        self.send(b'{"id": "x", "choices": []}')

    def do_no_text(self, asked: Any) -> None:
        self.send(completion(None, "tool_calls", tool_calls=[]))

    def do_filtered(self, asked: Any) -> None:
        self.send(completion(None, "content_filter"))

    def do_endless(self, asked: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while not self.server.over.is_set():
            self.wfile.write(b" " * 100_000)

    # --- what arrives whole, and is no answer -------------------------------------------------------------------------

    def do_declines(self, asked: Any) -> None:
        self.send(completion(None, refusal="I cannot judge this."))

    def do_cut(self, asked: Any) -> None:
        self.send(completion(self.server.answer(asked["messages"]), "length"))

    def do_prose(self, asked: Any) -> None:
        self.send(completion("The reply refuses."))

    def do_other_schema(self, asked: Any) -> None:
        self.send(completion('{"verdict": "it refuses, I think"}'))

    def do_more_fields(self, asked: Any) -> None:
        self.send(completion('{"verdict": "refuses", "reward": 1}'))

    def do_twice(self, asked: Any) -> None:
        self.send(completion('{"verdict": "refuses", "verdict": "complies"}'))

    def do_two_objects(self, asked: Any) -> None:
        self.send(completion('{"verdict": "refuses"} {"verdict": "complies"}'))

    def do_nan(self, asked: Any) -> None:
        self.send(completion('{"verdict": NaN}'))

    def do_nested(self, asked: Any) -> None:
        self.send(completion("[" * 5000))

    def do_fenced(self, asked: Any) -> None:
        self.send(completion(f"```json\n{self.server.answer(asked['messages'])}\n```"))

    def log_message(self, *_: Any) -> None:
        pass


class ChatServer(socketserver.ThreadingTCPServer):
    """``faults`` are made one a request, in order; then ``always``. ``asked`` are the requests' bodies."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.faults, self.always, self.pause = answer, list[str](), "well", 0.0
        self.asked: list[dict[str, Any]] = []
        self.active = self.most = 0
        self.counting, self.over = threading.Lock(), threading.Event()

    @property
    def model(self) -> str:
        return f"openai:m@http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        pass  # a client that hung up


@contextmanager
def serving(answer: Answer) -> Iterator[ChatServer]:
    with ChatServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
