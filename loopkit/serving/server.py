"""The server: a referee behind HTTP on loopback, asked one request at a time."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from loopkit.errors import LoopkitError, RefereeError, UsageError
from loopkit.records import Json, Message
from loopkit.serving import wire

if TYPE_CHECKING:
    from loopkit.contracts import Referee

SOCKET_TIMEOUT = 60.0
"""Seconds a connection may be silent before the server hangs up (a client then connects anew)."""
REQUEST_TIMEOUT = 120.0
"""Seconds from one answer (or the connection's beginning) until the next request is there, however it trickles in."""


def serve(
    referee: Referee,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    verbs: Mapping[str, Callable[[Json], Json]] | None = None,
    reachable: bool = False,
) -> Server:
    """Serve a referee on loopback until ``close``; use it in a ``with``. Port 0 picks a free one.

    ``verbs`` adds endpoints of whoever serves, each a JSON object in, one out, under the same lock and token.
    Raises UsageError for a host that other machines can reach (unless ``reachable``: whoever reads that network's
    traffic then reads the token), a port that is taken, or an unusable token.
    """
    return Server(referee, host, port, secrets.token_urlsafe(32) if token is None else token, verbs or {}, reachable)


class Server:
    """A served referee: ``url`` and ``token`` are what a client needs.

    ``errors`` keeps what went wrong that was not the client's fault (a game that raises, a broken promise): the run
    should stop on any. One lock guards the referee, so it sees one request at a time.
    """

    def __init__(
        self, referee: Referee, host: str, port: int, token: str, verbs: Mapping[str, Callable[[Json], Json]],
        reachable: bool,
    ) -> None:  # fmt: skip
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("a referee's token must be printable ASCII without spaces, and not empty.")
        self.token, self.errors = token, list[BaseException]()
        self.closing = False
        self._referee, self._lock = referee, threading.Lock()
        self.verbs = {**verbs, **{verb: getattr(self, f"_{verb}") for verb in wire.VERBS}}
        self._resumed: set[str] = set()
        self._session = secrets.token_hex(8)
        try:
            self._http = _Http((host if reachable else _loopback(host), port), self)
        except (OSError, OverflowError) as error:
            raise UsageError(f"cannot serve on {host} port {port}: {error}. Choose another port (0: any).") from error
        address, port = self._http.server_address[:2]
        self.url = f"http://{f'[{address!s}]' if ':' in str(address) else address!s}:{port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="referee", daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what is being answered, then hang up. Afterwards no request reaches the referee. Idempotent."""
        if not self.closing:
            self.closing = True
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http.hang_up(grace=10.0)

    def answer(self, verb: str, data: bytes) -> tuple[int, Json]:
        """A request's (status, JSON). Whatever goes wrong is an error, never a reward."""
        with self._lock:
            try:
                if self.closing:
                    raise wire.Refused(503, "this referee is closing.")
                body = wire.parse(data)
                if wire.field(body, "session", wire.STRING, self._session) != self._session:
                    raise RefereeError(
                        "the referee was started anew since. What it had recorded is kept, rollouts of steps not "
                        "closed are lost: call resume(step) with the first step that is to be played again."
                    )
                return 200, self.verbs[verb](body)
            except wire.Refused as refused:
                return refused.status, refused.answer
            except LoopkitError as error:
                if not isinstance(error, RefereeError):
                    self.errors.append(error)
                return 409, {"error": str(error), "kind": type(error).__name__}
            except BaseException as error:  # even a game that calls sys.exit
                self.errors.append(error)
                return 500, {"error": str(error), "kind": type(error).__name__}

    def _info(self, body: Json) -> Json:
        return {"session": self._session, **{name: getattr(self._referee, name) for name in wire.SIZES}}

    def _resume(self, body: Json) -> Json:
        step, call = wire.field(body, "step", wire.WHOLE), wire.field(body, "call", wire.STRING, "")
        if not call or call not in self._resumed:
            self._referee.resume(step)
            self._resumed.add(call)
        return {}

    def _slots(self, body: Json) -> Json:
        slots = self._referee.slots(wire.field(body, "step", wire.WHOLE))
        return {"slots": [{"key": s.key, "messages": [m.wire() for m in s.messages]} for s in slots]}

    def _reply(self, body: Json) -> Json:
        ids, n = wire.field(body, "ids", wire.STRINGS), wire.field(body, "n", wire.WHOLES)
        turns = [wire.read_turn(t) for t in wire.field(body, "turns", wire.OBJECTS)]
        if not len(ids) == len(n) == len(turns):
            raise wire.Refused(400, f"ids, n and turns differ in length: {len(ids)}, {len(n)}, {len(turns)}.")
        answers = self._referee.reply(ids, n, turns)
        return {"replies": [a.wire() if isinstance(a, Message) else {"done": True} for a in answers]}

    def _settle(self, body: Json) -> Json:
        return {"rewards": self._referee.settle(wire.field(body, "ids", wire.STRINGS))}

    def _close(self, body: Json) -> Json:
        metrics, timings = wire.field(body, "metrics", wire.NUMBERS, {}), wire.field(body, "timings", wire.NUMBERS, {})
        self._referee.close(wire.field(body, "step", wire.WHOLE), metrics, timings)
        return {}


def _loopback(host: str) -> str:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise UsageError(f"a referee is served on this machine only: host is {host!r}, and 127.0.0.1 or ::1 would do.")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], owner: Server) -> None:
        self.owner = owner
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._open: dict[Any, threading.Thread] = {}
        self.reading: dict[Any, float] = {}
        """Connection -> since when it is read from, while no request of it is being answered."""
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's would look its own name up, which can take seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._open[request] = thread
        self.reading[request] = time.monotonic()
        thread.start()

    def service_actions(self) -> None:
        """Called by ``serve_forever`` some times a second: ends connections whose request takes too long to come."""
        now = time.monotonic()
        for request, since in list(self.reading.items()):
            if now - since > REQUEST_TIMEOUT:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        self.reading.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not an error: it asks again."""

    def hang_up(self, grace: float) -> None:
        """End the connections: first only for reading, so that an answer under way arrives."""
        end, left = time.monotonic() + grace, list(self._open.items())
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            for request, thread in left:
                if thread.is_alive():
                    with contextlib.suppress(OSError):
                        request.shutdown(how)
            for _, thread in left:
                thread.join(max(0.0, end - time.monotonic()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "loopkit", ""
    disable_nagle_algorithm = True
    timeout = SOCKET_TIMEOUT

    def do_POST(self) -> None:
        http = cast(_Http, self.server)
        owner = http.owner
        try:
            verb, length = self._verb(owner), self._length()
        except wire.Refused as refused:
            self._send(refused.status, refused.answer, last=True)
            self._discard()
            return
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            return
        http.reading.pop(self.connection, None)
        status, answer = owner.answer(verb, data)
        self._send(status, answer, last=owner.closing)
        http.reading[self.connection] = time.monotonic()

    def _verb(self, owner: Server) -> str:
        header = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(header, f"Bearer {owner.token}".encode()):
            raise wire.Refused(401, "the token is missing or wrong: use the one the served referee was given.")
        prefix, _, verb = self.path.rpartition("/")
        if prefix != "/v1" or verb not in owner.verbs:
            raise wire.Refused(404, f"there is no {self.path!r}: use /v1/ and one of {', '.join(wire.VERBS)}.")
        return verb

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdecimal()) or "Transfer-Encoding" in self.headers:
            raise wire.Refused(400, "a request needs a Content-Length.")
        if len(text) > 15 or int(text) > wire.BODY_LIMIT:
            raise wire.Refused(413, f"a request may have {wire.BODY_LIMIT} bytes: send fewer rollouts at once.")
        return int(text)

    def _send(self, status: int, answer: Json, last: bool) -> None:
        data = wire.dump(answer)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if last:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _discard(self) -> None:
        """Read on for a moment: closing with bytes unread would reset the connection, and the answer be lost."""
        end = time.monotonic() + 2.0
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(2.0)
        while time.monotonic() < end and self.rfile.read1(1 << 16):
            pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._send(code, {"error": message or "this request is not understood.", "kind": "Refused"}, last=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what matters is in the answer, or in ``Server.errors``."""
