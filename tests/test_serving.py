"""The served referee: the same answers as a local one, whatever is lost, repeated, broken or late."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from loopkit import serving
from loopkit.contracts import Options, Referee
from loopkit.errors import ContractError, LoopkitError, RefereeError, UsageError
from loopkit.playing import play
from loopkit.records import Assessment, Dialogue, Done, Message, Rollout, Scored, StepMetrics, Turn
from loopkit.referee import LocalReferee
from loopkit.serving import RefereeClient, Server, play_concurrently, play_one, serve
from tests.toys import COPYING, DOUBLING, Doubling, setup

P, G = 4, 16


class Kept:
    """A recorder of closed steps."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[StepMetrics, list[Scored], Mapping[str, float]]] = {}
        self.dropped: list[int] = []

    def drop(self, step: int) -> None:
        self.dropped.append(step)
        self.steps = {s: v for s, v in self.steps.items() if s < step}

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        self.steps[metrics.step] = (metrics, list(scored), dict(timings))

    def recorded(self) -> list[int]:
        return list(self.steps)


class Scripted:
    """Words from the slot and the rollout's index: right or wrong, then claimed or not; most rollouts are equal.

    A rollout's index is what is left of its name after the last "-", so that names may differ and words be the same.
    """

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        return [self._one(d) for d in dialogues]

    def _one(self, d: Dialogue) -> Turn:
        g = int(d.key.rpartition("/")[2].rpartition("-")[2])
        if d.turn:
            assert d.messages[-1].content in ("Sure?", "Is that right?")
            return Turn("No" if g % 8 == 7 else "Yes")
        i = int(d.messages[0].content.split()[1].rstrip("."))
        return Turn(str(2 * i + (g % 4 == 3)), ids=(g, 1))


def local(recorder: Kept | None = None, game: Doubling = DOUBLING, paid: str = "audit", seed: int = 5) -> LocalReferee:
    return LocalReferee(
        setup(game, paid),
        seed=seed,
        split="train",
        n_steps=6,
        prompts_per_step=P,
        group_size=G,
        recorder=recorder or Kept(),
    )


def client(server: Server, kind: type[RefereeClient] = RefereeClient, **options: float) -> RefereeClient:
    return kind(server.url, server.token, **options)  # type: ignore[arg-type]


def rows(kept: Kept, step: int) -> list[object]:
    """All that was recorded of a step but the names and sampled token ids."""
    metrics, scored, _ = kept.steps[step]
    assert [s.order for s in scored] == sorted(s.order for s in scored)
    return [metrics, *((s.order, s.rollout.seed, s.assessment, s.rewards, s.flags) for s in scored)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries keep their order but not their length."""
    real = time.sleep
    monkeypatch.setattr(serving.client.time, "sleep", lambda seconds: real(seconds / 100))


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(local()) as server:
        yield server


def post(
    server: Server, path: str, body: bytes, token: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """A bare request, as another language's client would send it."""
    connection = http.client.HTTPConnection(*server.url.removeprefix("http://").split(":"), timeout=10)
    try:
        token = server.token if token is None else token
        connection.request("POST", path, body, {"Authorization": f"Bearer {token}", **(headers or {})})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


# --- the same answers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> tuple[Kept, Counter[object]]:
    """Step 2 as the local referee has it, and its rewards by slot and words."""
    kept = Kept()
    referee = local(kept)
    played = play(referee, Scripted(), 2)
    referee.close(2, {"loss": 0.5})
    return kept, paid_by_words(played)


def paid_by_words(played: Sequence[Sequence[object]]) -> Counter[object]:
    return Counter(
        (p.id.rpartition("/")[0], tuple(t.text for t in p.turns), p.reward)  # type: ignore[attr-defined]
        for group in played
        for p in group
    )


def test_the_reference_needs_occurrences(reference: tuple[Kept, Counter[object]]) -> None:
    """Equal rollouts are paid differently, or the comparisons below would prove nothing about occurrences."""
    paid: dict[object, set[object]] = {}
    for slot, words, reward in reference[1]:  # type: ignore[misc]
        paid.setdefault((slot, words), set()).add(reward)
    assert max(len(v) for v in paid.values()) > 1
    assert max(reference[1].values()) > 1


@pytest.mark.parametrize("seed", range(5))
def test_served_one_by_one_in_any_order_is_the_same_as_local(
    seed: int, reference: tuple[Kept, Counter[object]]
) -> None:
    kept = Kept()
    with serve(local(kept)) as server:
        remote = client(server)
        assert (remote.n_steps, remote.prompts_per_step, remote.group_size) == (6, P, G)
        assert remote.slots(2) == local().slots(2)
        jobs = [(slot, f"w{seed}-{g}") for slot in remote.slots(2) for g in range(G)]
        random.Random(seed).shuffle(jobs)
        paid: Counter[object] = Counter()
        lock = threading.Lock()

        def work(part: list[object]) -> None:
            for slot, name in part:  # type: ignore[misc]
                turns, reward = play_one(remote, Scripted(), slot, name)
                with lock:
                    paid[slot.key, tuple(t.text for t in turns), reward] += 1

        threads = [threading.Thread(target=work, args=(jobs[k :: seed + 1],)) for k in range(seed + 1)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        remote.close(2, {"loss": 0.5}, {"play": 1.5})
        assert server.errors == []
    assert paid == reference[1]
    assert rows(kept, 2) == rows(reference[0], 2)
    assert kept.steps[2][2] == {"play": 1.5}
    assert {s.rollout.id.rpartition("/")[2] for s in kept.steps[2][1]} == {f"w{seed}-{g}" for g in range(G)}
    # token ids travel, so that their number can be recorded
    assert {s.rollout.steps[0][0].ids for s in kept.steps[2][1]} == {(g, 1) for g in range(G)}


def test_the_batch_loop_plays_a_served_referee_as_a_local_one(reference: tuple[Kept, Counter[object]]) -> None:
    kept = Kept()
    with serve(local(kept)) as server:
        remote = client(server)
        assert play(remote, Scripted(), 2) == play(local(), Scripted(), 2)
        remote.close(2, {"loss": 0.5})
    assert rows(kept, 2) == rows(reference[0], 2)


def test_sixty_four_at_once(reference: tuple[Kept, Counter[object]]) -> None:
    kept = Kept()
    together = threading.Barrier(64)
    first = threading.local()

    class Meeting(Scripted):
        """All 64 speak their first words at the same moment."""

        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            if not hasattr(first, "met"):
                first.met = True
                together.wait(30)
            return super().speak(dialogues)

    with serve(local(kept)) as server:
        remote = client(server)
        played = play_concurrently(remote, Meeting(), 2, workers=64, name=lambda g: f"x-{g}")
        remote.close(2, {"loss": 0.5})
        assert server.errors == []
    assert [[p.id for p in group] for group in played] == [
        [f"{slot.key}/x-{g}" for g in range(G)] for slot in local().slots(2)
    ]
    assert paid_by_words(played) == reference[1]
    assert rows(kept, 2) == rows(reference[0], 2)


def test_default_names_are_new_every_time() -> None:
    class Mute:
        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            return [Turn("7")] * len(dialogues)

    with serve(local()) as server:
        played = [play_concurrently(client(server), Mute(), 0, workers=4) for _ in range(2)]
    assert len({p.id for step in played for group in step for p in group}) == 2 * P * G


def test_the_first_error_of_concurrent_play_is_raised_and_the_rest_given_up() -> None:
    class Faulty(Scripted):
        spoken = 0

        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            Faulty.spoken += 1
            time.sleep(1)  # 10 ms
            if Faulty.spoken >= 3:
                raise ValueError("out of memory")
            return super().speak(dialogues)

    with serve(local()) as server, pytest.raises(ValueError, match="out of memory"):
        play_concurrently(client(server), Faulty(), 0, workers=2, name=str)
    assert Faulty.spoken < P * G / 2


def test_resume_and_close_reach_the_referee() -> None:
    kept = Kept()
    with serve(local(kept)) as server:
        remote = client(server)
        for step in (0, 1):
            play(remote, Scripted(), step)
            remote.close(step, {})
        remote.resume(1)
        assert (kept.dropped, list(kept.steps)) == ([1], [0])
        slot = remote.slots(0)[0]
        with pytest.raises(RefereeError, match="too late"):
            remote.settle([f"{slot.key}/0"])


TEXTS = [
    "", "\x00\x1f\x7f", 'quote " and \\ and \n', "é \u2028 \ufeff \ufffd", "\U0001f600", "\ud800", "\udfff lone",
    "\ud83d\ude00", "\ude00\ud83d", "\udc80" * 3, "a" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_survive_to_the_last_code_point_both_ways(text: str) -> None:
    """But for lone surrogates: no file can hold them, so the referee itself replaces them."""
    held = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    class Echo(Doubling):
        def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
            return [Message("user", r.words[-1]) for r in rollouts]

    referee = local(game=Echo(Options()))
    with serve(referee) as server:
        remote = client(server)
        id_ = f"{remote.slots(0)[0].key}/é"
        assert remote.reply([id_], [0], [Turn(text, "length", temperature=0.25)]) == [Message("user", held)]
        assert referee._open[0][id_].steps[0][0] == Turn(held, "length", temperature=0.25)
        assert referee._open[0][id_].words == (held,)
        assert server.errors == []


# --- lost, repeated and late ------------------------------------------------------------------------------------


class Lossy(RefereeClient):
    """Loses requests before, and answers after, the server has seen to them; and sends some twice."""

    def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
        if not hasattr(self, "luck"):
            self.luck, self.lost, self.twice = random.Random(11), Counter[str](), Counter[str]()
        fate = self.luck.random()
        if fate < 0.2:
            raise ConnectionRefusedError("lost on the way there")
        answer = super()._exchange(verb, data)
        if fate < 0.5:
            self.lost[verb] += 1
            raise (ConnectionResetError, TimeoutError, http.client.BadStatusLine)[int(fate * 100) % 3](
                "lost coming back"
            )
        if fate < 0.6:
            return 502 + 2 * (fate < 0.55), b"a proxy's page"
        if fate < 0.8:
            self.twice[verb] += 1
            assert super()._exchange(verb, data) == answer
        return answer


def test_lost_answers_and_repeated_requests_lose_and_double_nothing(reference: tuple[Kept, Counter[object]]) -> None:
    kept = Kept()
    referee = local(kept)
    with serve(referee) as server:
        remote = client(server, Lossy, retries=30)
        assert isinstance(remote, Lossy)
        for _ in range(8):
            remote.resume(0)
        played = play_concurrently(remote, Scripted(), 2, workers=8, name=str)
        for step in (2, 0, 1, 3, 4, 5):
            remote.close(step, {"loss": 0.5})
        assert server.errors == []
        assert all(remote.lost[verb] for verb in ("resume", "slots", "reply", "settle", "close")), remote.lost
        assert all(remote.twice[verb] for verb in ("resume", "reply", "settle", "close")), remote.twice
    assert paid_by_words(played) == reference[1]
    assert rows(kept, 2) == rows(reference[0], 2)
    assert kept.dropped == [0] * 8  # each call once, however often it was sent


def test_a_resume_that_comes_late_drops_nothing() -> None:
    """A first try that the network held back arrives when its retry was obeyed and play has begun."""
    held: list[bytes] = []

    class Late(RefereeClient):
        def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
            if verb == "resume" and not held:
                held.append(data)
                raise TimeoutError
            return super()._exchange(verb, data)

    kept = Kept()
    with serve(local(kept)) as server:
        remote = client(server, Late)
        remote.resume(0)
        played = play(remote, Scripted(), 2)
        assert post(server, "/v1/resume", held[0])[0] == 200
        assert remote.settle([p.id for group in played for p in group]) == [p.reward for g in played for p in g]
        assert kept.dropped == [0]
        remote.resume(0)  # a new call is a new call
        assert kept.dropped == [0, 0]
        with pytest.raises(RefereeError, match="not finished"):
            remote.settle([played[0][0].id])


def test_another_text_for_a_turn_already_played_is_refused(server: Server) -> None:
    remote = client(server)
    id_ = f"{remote.slots(0)[0].key}/a"
    first = remote.reply([id_], [0], [Turn("1")])
    with pytest.raises(RefereeError, match="already played with another text"):
        remote.reply([id_], [0], [Turn("2")])
    assert remote.reply([id_], [0], [Turn("1")]) == first
    assert server.errors == []  # the client's fault, not the game's


def test_an_unfinished_rollout_is_not_settled(server: Server) -> None:
    remote = client(server)
    id_ = f"{remote.slots(0)[0].key}/a"
    remote.reply([id_], [0], [Turn("1")])
    with pytest.raises(RefereeError, match="is not finished"):
        remote.settle([id_])
    remote.reply([id_], [1], [Turn("Yes")])
    assert len(remote.settle([id_])) == 1


def test_a_refusal_is_not_tried_again(server: Server) -> None:
    class Counting(RefereeClient):
        asked = 0

        def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
            Counting.asked += 1
            return super()._exchange(verb, data)

    remote = client(server, Counting)
    Counting.asked = 0
    with pytest.raises(RefereeError, match="there is no step 99: this run has steps 0 to 5"):
        remote.slots(99)
    assert Counting.asked == 1


def test_a_dead_referee_is_named_with_the_cure() -> None:
    with serve(local()) as server:
        remote = client(server, retries=2)
    with pytest.raises(RefereeError, match=r"127\.0\.0\.1:\d+ did not answer 'slots' in 3 tries.*is alive"):
        remote.slots(0)


def test_a_silent_referee_times_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(RefereeError, match="raise the client's timeout"),
    ):
        RefereeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", "t", retries=1, timeout=0.1)


def test_something_else_on_the_port_is_not_taken_for_a_referee() -> None:
    class Other(RefereeClient):
        def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
            return 200, b"<html>"

    with pytest.raises(RefereeError, match="is no referee"):
        Other("http://127.0.0.1:1", "t")
    for url in ("https://127.0.0.1:1", "127.0.0.1:1", ""):
        with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:8000"):
            RefereeClient(url, "t")


def test_pauses_grow_and_leave_the_shared_random_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(serving.client.time, "sleep", pauses.append)
    random.seed(3)
    before = random.getstate()
    with pytest.raises(RefereeError, match="in 6 tries"):
        RefereeClient("http://127.0.0.1:1", "t", timeout=1)
    assert random.getstate() == before
    assert len(pauses) == 5
    assert all(0.05 * 2**k <= p <= 0.15 * 2**k for k, p in enumerate(pauses))


def test_a_connection_the_server_gave_up_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.server._Handler, "timeout", 0.1)
    with serve(local()) as server:
        remote = client(server, retries=1)
        wait_for(lambda: not server._http._open)
        assert len(remote.slots(0)) == P


def test_a_batch_too_large_for_one_request_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.wire, "BODY_LIMIT", 20_000)
    with serve(local()) as server:
        remote = client(server)
        ids = [f"{remote.slots(0)[0].key}/{g}" for g in range(64)]
        turns = [Turn(f"{g}" * 500) for g in range(64)]
        assert remote.reply(ids, [0] * 64, turns) == local().reply(ids, [0] * 64, turns)
        with pytest.raises(RefereeError, match="20000 bytes"):
            remote.reply([ids[0] + "x"], [0], [Turn("x" * 20_000)])


# --- refusals ---------------------------------------------------------------------------------------------------


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
    own = [f"loopkit{m}" for m in ("", ".errors", ".records", ".seeding", *(f".serving{m}" for m in SERVING))]
    assert out == ["[]", str(own)]


# --- ends --------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.5)


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
    server.close()  # once more is no error
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


def test_a_one_turn_game_and_a_client_as_a_referee() -> None:
    """RefereeClient keeps the Referee's promises where a game says Done at once."""

    def both(make: Callable[[], Referee]) -> list[float]:
        referee = make()
        return [play_one(referee, Same(), slot, "n")[1] for slot in referee.slots(1)]

    class Same:
        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            return [Turn("the quick brown fox " + d.key.split("/")[2]) for d in dialogues]

    def copying() -> LocalReferee:
        return LocalReferee(
            setup(COPYING), seed=1, split="dev", n_steps=2, prompts_per_step=3, group_size=2, recorder=Kept()
        )

    with serve(copying()) as server:
        assert both(lambda: client(server)) == both(copying)
