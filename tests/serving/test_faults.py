"""What networks, clients and kill -9 do to a served referee: no reward lost, doubled or invented."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopkit import serving
from loopkit.errors import RefereeError, RunError
from loopkit.experiment.rundir import RunDir
from loopkit.records import Turn
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import RefereeClient, Server, play_concurrently, serve
from tests import soak
from tests.serving.parts import Kept, Scripted, client, local, paid_by_words, post, rows, wait_for
from tests.toys import DOUBLING, setup


def many(recorder: Kept) -> LocalReferee:
    """512 rollouts a step."""
    return LocalReferee(
        setup(DOUBLING, "audit"), seed=5, split="train", n_steps=2, prompts_per_step=8, group_size=64, recorder=recorder
    )


class Chaos:
    """A proxy that loses requests and answers, hangs up, sends requests twice, and again much later, out of order."""

    def __init__(self, server: Server, seed: int) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.upstream, self.luck, self.lock = (host, int(port)), random.Random(seed), threading.Lock()
        self.old: list[tuple[str, bytes, dict[str, str]]] = []
        self.fates: Counter[str] = Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        up = http.client.HTTPConnection(*self.upstream, timeout=30)
        with (
            connection, connection.makefile("rb") as file, contextlib.closing(up),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):  # fmt: skip
            while line := file.readline():
                headers = dict(h.decode().rstrip("\r\n").split(": ", 1) for h in iter(file.readline, b"\r\n"))
                request = line.split()[1].decode(), file.read(int(headers["Content-Length"])), headers
                fate = self._fate(request)
                if fate == "lost":
                    return
                for _ in range(2 if fate == "twice" else 1):
                    status, answer = self._send(up, request)
                if fate == "unanswered":
                    return
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                if fate == "cut":
                    connection.sendall((head + answer)[: len(head) + len(answer) // 2])
                    return
                connection.sendall(head + answer)
                if fate == "late":
                    with self.lock:
                        again = self.luck.choice(self.old)
                    self._send(up, again)

    def _fate(self, request: tuple[str, bytes, dict[str, str]]) -> str:
        with self.lock:
            self.old.append(request)
            fates, weights = ("fine", "lost", "unanswered", "cut", "twice", "late"), (70, 5, 5, 5, 7, 8)
            fate = self.luck.choices(fates, weights)[0]
            self.fates[fate] += 1
            return fate

    def _send(self, up: http.client.HTTPConnection, request: tuple[str, bytes, dict[str, str]]) -> tuple[int, bytes]:
        path, body, headers = request
        up.request("POST", path, body, headers)
        response = up.getresponse()
        return response.status, response.read()


def test_512_rollouts_at_once_over_a_network_that_loses_doubles_and_reorders() -> None:
    whole, kept = Kept(), Kept()
    reference = many(whole)
    expected = paid_by_words(play(reference, Scripted(), 1))
    reference.close(1, {})
    with serve(many(kept)) as server:
        chaos = Chaos(server, 3)
        remote = RefereeClient(chaos.url, server.token, retries=30, timeout=60)
        remote.resume(0)
        played = play_concurrently(remote, Scripted(), 1, workers=512, name=str)
        remote.close(1, {})
        for late in chaos.old[-200:]:  # after the step is closed, too
            post(server, late[0], late[1])
        chaos.close()
        assert server.errors == []
    assert sum(map(len, played)) == 512
    assert paid_by_words(played) == expected
    assert rows(kept, 1) == rows(whole, 1)
    assert kept.steps[1][0].missing == kept.steps[1][0].surplus == ()
    assert all(chaos.fates[fate] > 20 for fate in ("lost", "unanswered", "cut", "twice", "late")), chaos.fates


def test_a_body_of_50_mb_is_refused_and_holds_nobody_up() -> None:
    with serve(local()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as s:
            head = f"POST /v1/settle HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\nContent-Length: {50 << 20}\r\n"
            s.sendall(head.encode() + b"\r\n")
            sent, chunk = 0, b"x" * (1 << 20)
            with contextlib.suppress(OSError):
                for _ in range(50):
                    s.sendall(chunk)
                    sent += len(chunk)
                    assert len(client(server).slots(0)) == 4
            assert s.recv(12) == b"HTTP/1.1 413"
        with pytest.raises(RefereeError, match="send fewer rollouts"):
            client(server).settle(["x" * (50 << 20)])
        assert server.errors == []
        assert server._referee._settled == {}  # type: ignore[attr-defined]


def test_slow_connections_are_ended_and_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sends a byte now and then, so that a time limit on silence alone would never end it."""
    monkeypatch.setattr(serving.server, "REQUEST_TIMEOUT", 1.0)
    ended = Counter[str]()

    def trickle(server: Server, name: str, start: bytes) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as s, contextlib.suppress(OSError):
            s.sendall(start)
            for _ in range(600):
                s.sendall(b"x")
                stop.wait(0.05)
                if stop.is_set():
                    return
        ended[name] += 1

    stop = threading.Event()
    with serve(local()) as server:
        good = client(server)
        head = f"POST /v1/slots HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 9999\r\n\r\n"
        kinds = {"line": b"POST /v1", "header": b"POST /v1/slots HTTP/1.1\r\nX: ", "body": head.encode()}
        threads = [
            threading.Thread(target=trickle, args=(server, name, start))
            for name, start in kinds.items()
            for _ in range(40)
        ]
        for t in threads:
            t.start()
        for _ in range(10):
            assert len(good.slots(0)) == 4
        wait_for(lambda: ended.total() == 120, 20)
        stop.set()
        for t in threads:
            t.join()
        assert len(good.slots(0)) == 4
        assert server.errors == []


def test_a_client_that_never_finishes_a_rollout_is_missed_by_name() -> None:
    kept = Kept()
    with serve(local(kept)) as server:
        remote = client(server)
        slots = remote.slots(0)
        remote.reply([f"{slots[0].key}/a"], [0], [Turn("1")])  # and never again
        remote.close(0, {})
    assert kept.steps[0][0].n == 0
    assert f"{slots[0].key}: 0 of 16" in kept.steps[0][0].missing


# --- death ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[soak.Supervised]:
    """A served referee in a process of its own."""
    found = soak.Supervised(tmp_path / "records")
    yield found
    found.kill()


def test_a_killed_referee_is_named_and_its_successor_takes_up_the_records(
    supervised: soak.Supervised, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{supervised.port}"
    remote = RefereeClient(url, soak.TOKEN, retries=3, timeout=5)
    remote.resume(0)
    before = [[p.reward for p in group] for group in play(remote, soak.Says(), 0)]
    remote.close(0, {"loss": 0.0})
    whole = soak.contents(tmp_path / "records")
    lost = play(remote, soak.Says(), 1)  # paid, and not closed
    supervised.kill()
    with pytest.raises(RefereeError, match=r"did not answer 'settle' about 'train/000001/.* and 127 more in 4 tries"):
        remote.settle([p.id for group in lost for p in group])
    supervised.again()
    anew = "started anew since. What it had recorded is kept, rollouts of steps not closed are lost: call resume"
    with pytest.raises(RefereeError, match=anew):
        remote.settle([lost[0][0].id])
    with pytest.raises(RefereeError, match=anew):
        remote.close(1, {"loss": 1.0})  # would have been recorded as a step without a rollout
    late = RefereeClient(url, soak.TOKEN)  # a client that knows nothing of the death, closing what is closed
    late.close(0, {"loss": 9.0})
    assert soak.contents(tmp_path / "records") == whole
    remote.resume(1)
    again = play(remote, soak.Says(), 1)
    assert [[p.reward for p in g] for g in again] == [[p.reward for p in g] for g in lost]
    remote.close(1, {"loss": 1.0})
    reference = soak.referee(tmp_path / "whole")
    assert [[p.reward for p in group] for group in play(reference, soak.Says(), 0)] == before
    reference.close(0, {"loss": 0.0})
    play(reference, soak.Says(), 1)
    reference.close(1, {"loss": 1.0})
    assert soak.contents(tmp_path / "records") == soak.contents(tmp_path / "whole")
    assert [s["step"] for s in RunDir(tmp_path / "records").steps()] == [0, 1]


def test_another_directory_owner_is_refused(supervised: soak.Supervised, tmp_path: Path) -> None:
    """Two served referees cannot record to one directory."""
    with pytest.raises(RunError, match="is in use by another process"), RunDir(tmp_path / "records").lock():
        pass
