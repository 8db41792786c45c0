"""What the tests of the served referee share: a referee, a client, bare requests, a scripted policy."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from loopkit.records import Dialogue, Scored, StepMetrics, Turn
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import RefereeClient, Server
from tests.toys import DOUBLING, Doubling, setup

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


def paid_by_words(played: Sequence[Sequence[object]]) -> Counter[object]:
    return Counter(
        (p.id.rpartition("/")[0], tuple(t.text for t in p.turns), p.reward)  # type: ignore[attr-defined]
        for group in played
        for p in group
    )


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.5)
