"""The client of a served referee, and playing through it one rollout at a time, or many at once."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loopkit.errors import RefereeError, UsageError
from loopkit.records import Dialogue, Done, Json, Message, Slot, Turn
from loopkit.rollouts.thoughts import parted
from loopkit.serving import wire

if TYPE_CHECKING:
    from loopkit.contracts import Policy, Referee
    from loopkit.rollouts.playing import Played


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
            raise UsageError(f"{url!r} is not a referee's address: it looks like http://127.0.0.1:8000.")
        self.url, self.retries, self.timeout = url, retries, timeout
        self._address, self._token = (parts.hostname, parts.port or 80), token
        self._local = threading.local()
        self._random = random.Random()  # its own, so that pauses do not disturb a trainer's draws
        self._session: str | None = None
        self._meet()

    def _meet(self) -> None:
        info = self._call("info", {})
        self._session = info.get("session")
        self.n_steps, self.prompts_per_step, self.group_size = (int(info[name]) for name in wire.SIZES)

    def resume(self, step: int) -> None:
        """Every record from ``step`` on is dropped. A trainer's first call, also after a referee was started anew."""
        self._session = None
        self._meet()
        self._call("resume", {"step": step, "call": uuid.uuid4().hex})

    def slots(self, step: int) -> list[Slot]:
        """(P,) slots of a step."""
        answer = self._call("slots", {"step": step})
        return [Slot(s["key"], tuple(Message.read(m) for m in s["messages"])) for s in answer["slots"]]

    def reply(self, ids: Sequence[str], n: Sequence[int], turns: Sequence[Turn]) -> list[Message | Done]:
        """(B,) ids, turn numbers and turns -> (B,) replies. Of a turn, text, finish, temperature and ids travel."""
        ids, n = list(ids), list(map(int, n))
        body = {"ids": ids, "n": n, "turns": [wire.write_turn(t) for t in turns]}
        if len(wire.dump(body)) + 64 > wire.BODY_LIMIT and len(ids) == len(n) == len(turns) > 1:
            half = len(ids) // 2  # too much for one request; what a rollout gets does not depend on its batchmates
            return self.reply(ids[:half], n[:half], turns[:half]) + self.reply(ids[half:], n[half:], turns[half:])
        return [Done() if "done" in m else Message.read(m) for m in self._call("reply", body)["replies"]]

    def settle(self, ids: Sequence[str]) -> list[float]:
        """(B,) finished rollouts -> (B,) paid rewards."""
        return [float(r) for r in self._call("settle", {"ids": list(ids)})["rewards"]]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record a step. (The client itself needs no closing.)"""
        floats = [{name: float(x) for name, x in numbers.items()} for numbers in (metrics, timings or {})]
        self._call("close", {"step": step, "metrics": floats[0], "timings": floats[1]})

    def _call(self, verb: str, body: Json) -> Any:
        about, ids = "", body.get("ids")
        if ids:
            about = f" about {ids[0]!r}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")
        data, trouble = wire.dump(body if self._session is None else {**body, "session": self._session}), ""
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
            f"the referee at {self.url} did not answer {verb!r}{about} in {self.retries + 1} tries (last: {trouble}). "
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
            raise RefereeError(
                f"{self.url} is not a referee: {verb!r} got status {status} and {raw[:80]!r}."
            ) from error
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
        turn = parted(policy.speak([Dialogue(id_, tuple(messages))])[0])
        reply = referee.reply([id_], [len(turns)], [turn])[0]
        turns.append(turn)
        if not isinstance(reply, Message):
            return turns, referee.settle([id_])[0]
        messages[:] = reply.after(messages, turn.text)


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
    from loopkit.rollouts.playing import Played

    def one(slot: Slot, name: str) -> Played:
        turns, reward = play_one(referee, policy, slot, name)
        return Played(f"{slot.key}/{name}", tuple(turns), reward)

    size, jobs = referee.group_size, [(s, name(g)) for s in referee.slots(step) for g in range(referee.group_size)]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rollout")
    try:
        futures = [pool.submit(one, *job) for job in jobs]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)
    played = [future.result() for future in futures]  # begun in order, so the error comes before what was given up
    return [played[i : i + size] for i in range(0, len(played), size)]
