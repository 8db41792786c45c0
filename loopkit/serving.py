"""A referee behind HTTP on this machine, so that a trainer may live in other processes; and the client of one.

The protocol is in docs/serving.md. JSON over POST /v1/<verb>; standard library only, and nothing of the
learning stack is imported, so that any trainer's process can hold a client. What a trainer may see travels: opening
messages, replies, rewards. ``state`` and ``secret`` stay. Texts survive to the last code point, lone surrogates too.
"""

from __future__ import annotations

import contextlib
import hmac
import http.client
import ipaddress
import json
import math
import random
import secrets
import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from loopkit.errors import LoopkitError, RefereeError, UsageError
from loopkit.records import Dialogue, Done, Json, Message, Slot, Turn

if TYPE_CHECKING:
    from loopkit.contracts import Policy, Referee
    from loopkit.playing import Played

BODY_LIMIT = 8 << 20
"""Bytes a request may have; a client splits its batches well below it."""
SOCKET_TIMEOUT = 60.0
"""Seconds a connection may be silent before the server hangs up (a client then connects anew)."""
_VERBS = ("info", "resume", "slots", "reply", "settle", "close")
_SIZES = ("n_steps", "prompts_per_step", "group_size")


def serve(referee: Referee, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> Server:
    """Serve a referee on loopback until ``close``; use it in a ``with``. Port 0 picks a free one.

    Raises UsageError for a host that other machines can reach, a port that is taken, or an unusable token.
    """
    return Server(referee, host, port, secrets.token_urlsafe(32) if token is None else token)


class Server:
    """A served referee: ``url`` and ``token`` are what a client needs.

    ``errors`` keeps what went wrong that was not the client's fault (a game that raises, a broken promise): the run
    should stop on any. One lock guards the referee, so it sees one request at a time.
    """

    def __init__(self, referee: Referee, host: str, port: int, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("a referee's token must be printable ASCII without spaces, and not empty.")
        self.token, self.errors = token, list[BaseException]()
        self.closing = False
        self._referee, self._lock = referee, threading.Lock()
        self._resumed: set[str] = set()
        try:
            self._http = _Http((_loopback(host), port), self)
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
                    raise _Refused(503, "this referee is closing.")
                return 200, getattr(self, f"_{verb}")(_parse(data))
            except _Refused as refused:
                return refused.status, refused.answer
            except LoopkitError as error:
                if not isinstance(error, RefereeError):
                    self.errors.append(error)
                return 409, {"error": str(error), "kind": type(error).__name__}
            except BaseException as error:  # even a game that calls sys.exit
                self.errors.append(error)
                return 500, {"error": str(error), "kind": type(error).__name__}

    def _info(self, body: Json) -> Json:
        return {name: getattr(self._referee, name) for name in _SIZES}

    def _resume(self, body: Json) -> Json:
        step, call = _field(body, "step", _WHOLE), _field(body, "call", _STRING, "")
        if not call or call not in self._resumed:
            self._referee.resume(step)
            self._resumed.add(call)
        return {}

    def _slots(self, body: Json) -> Json:
        slots = self._referee.slots(_field(body, "step", _WHOLE))
        return {"slots": [{"key": s.key, "messages": [m.wire() for m in s.messages]} for s in slots]}

    def _reply(self, body: Json) -> Json:
        ids, n = _field(body, "ids", _STRINGS), _field(body, "n", _WHOLES)
        turns = [_turn(t) for t in _field(body, "turns", _OBJECTS)]
        if not len(ids) == len(n) == len(turns):
            raise _Refused(400, f"ids, n and turns differ in length: {len(ids)}, {len(n)}, {len(turns)}.")
        answers = self._referee.reply(ids, n, turns)
        return {"replies": [a.wire() if isinstance(a, Message) else {"done": True} for a in answers]}

    def _settle(self, body: Json) -> Json:
        return {"rewards": self._referee.settle(_field(body, "ids", _STRINGS))}

    def _close(self, body: Json) -> Json:
        metrics, timings = _field(body, "metrics", _NUMBERS, {}), _field(body, "timings", _NUMBERS, {})
        self._referee.close(_field(body, "step", _WHOLE), metrics, timings)
        return {}


class RefereeClient:
    """A Referee served elsewhere. Thread-safe: each thread has its own connection.

    Every verb is tried ``retries`` times more when the connection fails, with growing, jittered pauses. ``timeout``
    seconds without an answer count as a failure. Raises RefereeError with the referee's own words when it refuses.
    """

    # Why a lost answer may always be asked for again:
    #   info, slots  read only, and are pure in (seed, step);
    #   reply        is keyed by (id, n): the same text gets the same answer, and the game is not asked twice;
    #   settle       assesses a rollout once and keeps what it was paid;
    #   close        of a closed step does nothing;
    #   resume       twice in a row drops what once drops. But a first try that was only late, not lost, could land
    #                after new rollouts and drop those, so each call has a name and the server obeys it once.
    def __init__(self, url: str, token: str, *, retries: int = 5, timeout: float = 60) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url!r} is no referee's address: it looks like http://127.0.0.1:8000.")
        self.url, self.retries, self.timeout = url, retries, timeout
        self._address, self._token = (parts.hostname, parts.port or 80), token
        self._local = threading.local()
        self._random = random.Random()  # its own, so that pauses do not disturb a trainer's draws
        info = self._call("info", {})
        self.n_steps, self.prompts_per_step, self.group_size = (int(info[name]) for name in _SIZES)

    def resume(self, step: int) -> None:
        """Every record from ``step`` on is dropped. A trainer's first call."""
        self._call("resume", {"step": step, "call": uuid.uuid4().hex})

    def slots(self, step: int) -> list[Slot]:
        """(P,) slots of a step."""
        answer = self._call("slots", {"step": step})
        return [Slot(s["key"], tuple(Message.read(m) for m in s["messages"])) for s in answer["slots"]]

    def reply(self, ids: Sequence[str], n: Sequence[int], turns: Sequence[Turn]) -> list[Message | Done]:
        """(B,) ids, turn numbers and turns -> (B,) replies. Of a turn, text, finish, temperature and ids travel."""
        ids, n = list(ids), list(map(int, n))
        body = {"ids": ids, "n": n, "turns": [_wire(t) for t in turns]}
        if len(_dump(body)) > BODY_LIMIT and len(ids) == len(n) == len(turns) > 1:
            half = len(ids) // 2  # too much for one request; what a rollout gets does not depend on its batchmates
            return self.reply(ids[:half], n[:half], turns[:half]) + self.reply(ids[half:], n[half:], turns[half:])
        return [Done() if "done" in m else Message.read(m) for m in self._call("reply", body)["replies"]]

    def settle(self, ids: Sequence[str]) -> list[float]:
        """(B,) finished rollouts -> (B,) paid rewards."""
        return [float(r) for r in self._call("settle", {"ids": list(ids)})["rewards"]]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record a step. (The client itself needs no closing.)"""
        numbers = {"metrics": dict(metrics), "timings": dict(timings or {})}
        self._call("close", {"step": step, **{k: {i: float(x) for i, x in v.items()} for k, v in numbers.items()}})

    def _call(self, verb: str, body: Json) -> Any:
        data, trouble = _dump(body), ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(0.1 * 2 ** (attempt - 1), 10.0) * (0.5 + self._random.random()))
            try:
                status, raw = self._exchange(verb, data)
            except (OSError, http.client.HTTPException) as error:
                self._hang_up()
                trouble = f"{type(error).__name__}: {error}"
                continue
            if status in (502, 503, 504):
                trouble = f"status {status}"
                continue
            return self._read(verb, status, raw)
        raise RefereeError(
            f"the referee at {self.url} did not answer {verb!r} in {self.retries + 1} tries (last: {trouble}). "
            f"Check that the run which serves it is alive; if it is only slow, raise the client's timeout "
            f"({self.timeout:g} s)."
        )

    def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
        """One request and its answer, over this thread's connection."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection(*self._address, timeout=self.timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request("POST", f"/v1/{verb}", data, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _hang_up(self) -> None:
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def _read(self, verb: str, status: int, raw: bytes) -> Any:
        try:
            answer = json.loads(raw)
            if status == 200:
                return answer
            message = str(answer["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise RefereeError(f"{self.url} is no referee: {verb!r} got status {status} and {raw[:80]!r}.") from error
        if status == 500:
            message = f"the referee failed: {answer.get('kind')}: {message}"
        raise RefereeError(message)


class _Connection(http.client.HTTPConnection):
    def __del__(self) -> None:  # a thread that ends closes its connection
        self.close()


def play_one(referee: Referee, policy: Policy, slot: Slot, name: str) -> tuple[list[Turn], float]:
    """Play one rollout of a slot to its end, under a name no other rollout of the slot has -> its turns and reward."""
    id_, messages, turns = f"{slot.key}/{name}", list(slot.messages), list[Turn]()
    while True:
        turn = policy.speak([Dialogue(id_, tuple(messages))])[0]
        reply = referee.reply([id_], [len(turns)], [turn])[0]
        turns.append(turn)
        if not isinstance(reply, Message):
            return turns, referee.settle([id_])[0]
        messages += [Message("assistant", turn.text), reply]


def play_concurrently(
    referee: Referee,
    policy: Policy,
    step: int,
    *,
    workers: int = 16,
    name: Callable[[int], str] = lambda g: uuid.uuid4().hex,
) -> list[list[Played]]:
    """Play a step's slots through a client, one rollout per worker at a time -> (P, G) played rollouts.

    The policy must bear being asked from ``workers`` threads. ``name`` maps 0..G-1 to names unique in a slot; the
    policy's draws depend on them: ``name=str`` gives the names, so the draws, that ``playing.play`` gives. A retried
    attempt needs new names, which the default ensures. The first error stops the rest and is raised.
    """
    from loopkit.playing import Played

    def one(job: tuple[Slot, str]) -> Played:
        turns, reward = play_one(referee, policy, *job)
        return Played("/".join((job[0].key, job[1])), tuple(turns), reward)

    size, jobs = referee.group_size, [(s, name(g)) for s in referee.slots(step) for g in range(referee.group_size)]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rollout")
    try:
        futures = [pool.submit(one, job) for job in jobs]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)
    played = [future.result() for future in futures]  # begun in order, so the error comes before what was given up
    return [played[i : i + size] for i in range(0, len(played), size)]


# --- on the wire ----------------------------------------------------------------------------------------------


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.answer = status, {"error": message, "kind": "Refused"}


def _parse(data: bytes) -> dict[str, Json]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"the body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise _Refused(400, "the body must be a JSON object.")
    return body


_Kind = tuple[Callable[[Any], bool], str]


def _all(kind: _Kind, what: str) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(kind[0], value)), what


_STRING: _Kind = (lambda v: isinstance(v, str), "a string")
_WHOLE: _Kind = (lambda v: type(v) is int and 0 <= v < 1 << 53, "a whole number from 0")
_NUMBER: _Kind = (lambda v: type(v) in (int, float) and abs(v) < math.inf, "a finite number")
_STRINGS, _WHOLES = _all(_STRING, "a list of strings"), _all(_WHOLE, "a list of whole numbers from 0")
_OBJECTS = _all((lambda v: isinstance(v, dict), ""), "a list of objects")
_NUMBERS: _Kind = (lambda v: isinstance(v, dict) and all(map(_NUMBER[0], v.values())), "an object of finite numbers")
_FINISH: _Kind = (lambda v: v in ("stop", "length"), "'stop' or 'length'")
_IDS: _Kind = (lambda v: v is None or _WHOLES[0](v), "null or a list of whole numbers from 0")
_REQUIRED: Any = object()


def _field(body: Json, name: str, kind: _Kind, default: Any = _REQUIRED) -> Any:
    value = body.get(name, default)
    if value is _REQUIRED or not kind[0](value):
        raise _Refused(400, f"field {name!r} must be {kind[1]}.")
    return value


def _turn(data: Json) -> Turn:
    ids, temperature = _field(data, "ids", _IDS, None), _field(data, "temperature", _NUMBER, 1.0)
    text, finish = _field(data, "text", _STRING), _field(data, "finish", _FINISH, "stop")
    return Turn(text, finish, ids=None if ids is None else tuple(ids), temperature=temperature)


def _wire(turn: Turn) -> Json:
    ids = None if turn.ids is None else list(turn.ids)
    return {"text": turn.text, "finish": turn.finish, "temperature": turn.temperature, "ids": ids}


def _dump(data: Json) -> bytes:
    # Not ASCII escapes: those would join two lone surrogates, side by side, into one character.
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


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
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's would look its own name up, which can take seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; it asks again."""

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
        owner = cast(_Http, self.server).owner
        try:
            verb, length = self._verb(owner.token), self._length()
        except _Refused as refused:
            self._send(refused.status, refused.answer, last=True)
            self._discard()
            return
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            return
        status, answer = owner.answer(verb, data)
        self._send(status, answer, last=owner.closing)

    def _verb(self, token: str) -> str:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise _Refused(401, "the token is missing or wrong: use the one the served referee was given.")
        verb = self.path.removeprefix("/v1/")
        if verb not in _VERBS or verb == self.path:
            raise _Refused(404, f"there is no {self.path!r}: use /v1/ and one of {', '.join(_VERBS)}.")
        return verb

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdecimal()) or "Transfer-Encoding" in self.headers:
            raise _Refused(400, "a request needs a Content-Length.")
        if len(text) > 15 or int(text) > BODY_LIMIT:
            raise _Refused(413, f"a request may have {BODY_LIMIT} bytes: send fewer rollouts at once.")
        return int(text)

    def _send(self, status: int, answer: Json, last: bool) -> None:
        data = _dump(answer)
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
