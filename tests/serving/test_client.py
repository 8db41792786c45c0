"""The client of a served referee: the same answers as a local one, whatever is lost, repeated or late."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from loopkit import serving
from loopkit.contracts import Options, Referee
from loopkit.errors import RefereeError, UsageError
from loopkit.records import Dialogue, Done, Message, Rollout, Turn
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import RefereeClient, Server, play_concurrently, play_one, serve
from tests.serving.parts import G, Kept, P, Scripted, client, local, paid_by_words, post, rows, wait_for
from tests.toys import COPYING, Doubling, setup


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
        id_ = f"{remote.slots(0)[0].key}/e"
        assert remote.reply([id_], [0], [Turn(text, "length", temperature=0.25)]) == [Message("user", held)]
        assert referee._open[0][id_].steps[0][0] == Turn(held, "length", temperature=0.25, thoughts="")
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

    with pytest.raises(RefereeError, match="is not a referee"):
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
