"""The server: a game that fails, what never travels, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from loopkit import serving
from loopkit.contracts import Options
from loopkit.errors import ContractError, LoopkitError, RefereeError
from loopkit.records import Assessment, Dialogue, Done, Message, Rollout, Scored, StepMetrics, Turn
from loopkit.rollouts.playing import play
from loopkit.serving import RefereeClient, play_one, serve
from tests.serving.parts import G, Kept, P, Scripted, client, local, post, wait_for
from tests.toys import Doubling

# --- failures of the game -----------------------------------------------------------------------------------------


class Breaking(Doubling):
    """Fails in the way it is told, until it is mended."""

    fault: Callable[[], None] | None = None
    signal = 1.0

    def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
        if self.fault and rollouts[0].words[0] == "break":
            self.fault()
        return super().reply(rollouts)

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        if self.fault:
            self.fault()
        out = super().assess(rollouts)
        return [Assessment(a.scores, {**a.signals, "claims": a.signals["claims"] * self.signal}, a.clues) for a in out]


def crash() -> None:
    raise ZeroDivisionError("the sandbox fell over")


def leave() -> None:
    sys.exit("gone")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (crash, r"game Breaking: (assess|reply)\(\) raised ZeroDivisionError: the sandbox fell over, 3 times in a row"),
        (leave, "the referee failed: SystemExit: gone"),
    ],
)
def test_a_game_that_raises_is_an_error_and_never_a_reward(fault: Callable[[], None], kind: str) -> None:
    game, kept = Breaking(Options()), Kept()
    with serve(local(kept, game)) as server:
        remote = client(server)
        slot = remote.slots(2)[0]
        good = [f"{slot.key}/a-{g}" for g in range(G)]
        says = Scripted()
        for n in (0, 1):
            for id_ in good:
                d = Dialogue(id_, (*slot.messages, *([Message("assistant", ""), Message("user", "Sure?")] * n)))
                remote.reply([id_], [n], says.speak([d]))
        game.fault = fault
        with pytest.raises(RefereeError, match=kind):
            remote.settle(good)
        with pytest.raises(RefereeError, match=kind):
            remote.reply([f"{slot.key}/b"], [0], [Turn("break")])
        body = json.dumps({"ids": good}).encode()
        status, answer = post(server, "/v1/settle", body)
        assert (status, sorted(answer)) == (409 if fault is crash else 500, ["error", "kind"])
        assert all("gone" in str(e) or "fell over, 3 times" in str(e) for e in server.errors)
        assert len(server.errors) == 3
        game.fault = None
        paid = remote.settle(good)
        assert remote.reply([f"{slot.key}/b"], [0], [Turn("no longer")])  # nothing was kept of the failed try
    whole = play(local(), says, 2)[0]
    assert paid == [p.reward for p in whole]


def test_a_broken_promise_is_an_error_that_names_the_signal_and_is_kept() -> None:
    game = Breaking(Options())
    with serve(local(game=game)) as server:
        remote = client(server)
        game.signal = float("nan")
        with pytest.raises(RefereeError, match=r"signal 'claims'.*nan.*Nothing was paid"):
            play_one(remote, Scripted(), remote.slots(0)[0], "0")
        assert [type(e) for e in server.errors] == [ContractError]
        game.signal = 1.0
        assert play_one(remote, Scripted(), remote.slots(0)[0], "0")[1] in (1.0, 2.0)


def test_a_close_whose_recording_failed_may_be_asked_for_again() -> None:
    class Full(Kept):
        full = True

        def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
            if self.full:
                raise OSError("no space left")
            super().record(metrics, scored, timings)

    kept = Full()
    with serve(local(kept)) as server:
        remote = client(server)
        play(remote, Scripted(), 2)
        with pytest.raises(RefereeError, match="the referee failed: OSError: no space left"):
            remote.close(2, {})
        assert len(server.errors) == 1
        kept.full = False
        remote.close(2, {})
    assert kept.steps[2][0].n == P * G
    assert kept.steps[2][0].missing == ()


# --- what never travels -----------------------------------------------------------------------------------------


def test_state_and_secret_never_leave_the_referee() -> None:
    bodies: list[bytes] = []

    class Listening(RefereeClient):
        def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
            status, raw = super()._exchange(verb, data)
            bodies.append(raw)
            return status, raw

    referee = local()
    with serve(referee) as server:
        remote = client(server, Listening)
        remote.resume(0)
        played = play(remote, Scripted(), 0)
        book = dict(referee._open[0])
        remote.close(0, {})
        for bad in (lambda: remote.slots(77), lambda: remote.settle(["nothing"])):
            with pytest.raises(LoopkitError):
                bad()
    said = b"".join(bodies)
    # there was something to leak: secrets in the tasks, state in the messages the referee keeps
    rollout = book[played[0][0].id]
    assert str(rollout.task.secret["answer"]).startswith("secret:")
    assert rollout.task.messages[0].state is not None
    assert rollout.steps[0][1].state is not None
    assert b"Double" in said
    assert b"Sure?" in said
    assert b"done" in said
    for never in (b"secret", b"state", b"answer", b"public"):
        assert never not in said


SERVING = ("", ".client", ".server", ".wire")


def test_the_client_needs_no_learning_stack() -> None:
    code = (
        "import sys; from loopkit.serving import RefereeClient, play_one; import loopkit; loopkit.RefereeClient\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'scipy', 'pyarrow', 'transformers', 'click', 'pluggy'}\n"
        "print(sorted(heavy & {m.split('.')[0] for m in sys.modules}))\n"
        "print(sorted(m for m in sys.modules if m.startswith('loopkit')))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    serving = [f".serving{m}" for m in SERVING]
    rollouts = [".rollouts", ".rollouts.thoughts"]
    names = ("", ".errors", ".records", *rollouts, ".seeding", *serving, ".system", ".system.moved")
    own = [f"loopkit{m}" for m in names]
    assert out == ["[]", str(own)]


# --- ends --------------------------------------------------------------------------------------------------------


def test_close_ends_every_thread_and_answers_what_is_under_way() -> None:
    began, go_on = threading.Event(), threading.Event()

    class Slow(Doubling):
        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            began.set()
            assert go_on.wait(10)
            return super().assess(rollouts)

    before = set(threading.enumerate())
    kept = Kept()
    server = serve(local(kept, Slow(Options())))
    idle = [client(server) for _ in range(5)]  # kept alive, and silent
    wait_for(lambda: len(server._http._open) == 5)
    answers: list[float] = []

    def settle() -> None:
        answers.append(play_one(client(server), Scripted(), idle[0].slots(0)[0], "0")[1])

    player = threading.Thread(target=settle)
    player.start()
    assert began.wait(10)

    def come_late() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            post(server, "/v1/resume", b'{"step": 0}')

    late = threading.Thread(target=come_late)
    late.start()
    wait_for(lambda: len(server._http._open) == 8)  # the player has two, one is late
    closer = threading.Thread(target=server.close)
    closer.start()
    wait_for(lambda: not server._thread.is_alive())
    time.sleep(10)  # 100 ms: the connections are being ended
    assert closer.is_alive(), "close waits for the answer under way"
    go_on.set()
    for t in (player, late, closer):
        t.join(10)
    server.close()  # once more is not an error
    assert len(answers) == 1
    assert kept.dropped == []  # turned away
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="refused"):
        post(server, "/v1/info", b"{}")


def test_after_close_no_request_reaches_the_referee() -> None:
    server = serve(local(kept := Kept()))
    server.close()
    assert server.answer("resume", b'{"step": 0}')[0] == 503
    assert kept.dropped == []


def test_a_stuck_client_cannot_hold_a_thread_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving.server._Handler.timeout == serving.server.SOCKET_TIMEOUT <= 120
    monkeypatch.setattr(serving.server._Handler, "timeout", 0.2)
    with serve(local()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        request = f"POST /v1/slots HTTP/1.1\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 99\r\n\r\n{{"
        with socket.create_connection((host, int(port))) as body, socket.create_connection((host, int(port))) as head:
            body.sendall(request.encode())
            head.sendall(request[:20].encode())
            wait_for(lambda: len(server._http._open) == 2)
            assert len(client(server).slots(0)) == P  # others are served meanwhile
            wait_for(lambda: not server._http._open)
        assert server.errors == []
