"""Out of memory: the micro-batch is halved and says so, and no gradient is lost or counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from loopkit.errors import RunError
from loopkit.policy import memory
from loopkit.policy.memory import accumulate, speak_in_parts
from loopkit.records import Json
from loopkit.system.notices import Listener, listening
from tests.dists import environment


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_most", None)


@pytest.fixture
def notices() -> Iterator[list[Mapping[str, Json]]]:
    told: list[Mapping[str, Json]] = []
    with listening(Listener(lambda event, fields: told.append(fields), lambda what, ids: None)):
        yield told


class Fragile(torch.autograd.Function):
    """The identity, whose backward pass runs out of memory while ``room`` is too small for the batch."""

    room = 0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if len(grad) > Fragile.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 EiB")
        return grad


def two_layers() -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    torch.manual_seed(0)
    return torch.nn.Parameter(torch.randn(3, 3)), torch.nn.Parameter(torch.randn(3))


X = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))


def gradients(room: int, batches: list[list[int]], before: float | None = None) -> tuple[list[torch.Tensor], float]:
    """The last layer's gradient is there already when the first one's fails: the backward pass is half done."""
    first, last = two_layers()
    if before is not None:
        first.grad, last.grad = torch.full((3, 3), before), torch.full((3,), before)
    Fragile.room, sums = room, {"loss": 0.0}

    def work(indices: list[int]) -> None:
        hidden = Fragile.apply(X[indices] @ first)  # type: ignore[no-untyped-call]
        loss = (hidden @ last).square().sum()
        sums["loss"] += float(loss.detach())
        loss.backward()

    accumulate([first, last], batches, work, sums)
    assert first.grad is not None
    assert last.grad is not None
    return [first.grad, last.grad], sums["loss"]


WHOLE = [list(range(10)), list(range(10, 16))]


@pytest.mark.parametrize("before", [None, 0.5])
@pytest.mark.parametrize("room", [9, 4, 1])
def test_a_backward_pass_that_failed_half_way_is_not_counted(
    notices: list[Mapping[str, Json]], room: int, before: float | None
) -> None:
    expected, loss = gradients(100, WHOLE, before)
    assert notices == []
    found, found_loss = gradients(room, WHOLE, before)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    sizes = {9: [5], 4: [5, 2], 1: [5, 2, 1]}[room]
    assert [n["cure"] for n in notices] == [
        f"micro-batches halved to {k} at most; token_budget asks for too much" for k in sizes
    ]
    assert all("CUDA out of memory" in str(n["why"]) for n in notices)
    notices.clear()
    gradients(room, WHOLE, before)
    assert notices == [], "what was learned holds for the steps that follow"


def test_a_lone_unit_that_does_not_fit_stops_the_run(notices: list[Mapping[str, Json]]) -> None:
    with pytest.raises(RunError, match=r"out of memory with a single rollout .*run\.max_tokens.* to resume"):
        gradients(0, WHOLE)
    assert len(notices) == 3


def test_units_are_not_torn() -> None:
    seen: list[list[int]] = []

    def work(indices: list[int]) -> None:
        if len(indices) > 4:
            raise MemoryError
        seen.append(indices)

    accumulate([], [[0, 1, 2, 3, 4, 5, 6]], work, {}, lambda i: i // 3)
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


def test_other_errors_are_raised_as_they_are() -> None:
    def work(indices: list[int]) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        accumulate([], [[0, 1]], work, {})


def test_decoding_goes_on_in_halves(notices: list[Mapping[str, Json]]) -> None:
    asked: list[int] = []

    def speak(items: Sequence[int]) -> list[int]:
        asked.append(len(items))
        if len(items) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return [10 * i for i in items]

    assert speak_in_parts(speak, list(range(10)), 8) == ([10 * i for i in range(10)], 2)
    assert asked == [8, 4, 2, 2, 2, 2, 2]
    assert [n["cure"] for n in notices] == [
        f"decoding batches halved to {k} at most; the model is large for this machine" for k in (4, 2)
    ]

    def all_of_it(items: Sequence[int]) -> list[int]:
        return list(bytes(1 << 62))  # more than there can be

    with pytest.raises(RunError, match="out of memory with a single rollout"):
        speak_in_parts(all_of_it, [1], 8)


REAL = """
import resource, sys
import torch
from loopkit.contracts import PolicyRef
from loopkit.policy.load import load
from loopkit.policy.supervised import backward
from loopkit.policy.tiny import BUNDLED
from tests.policy.small import random_segments

torch.set_num_threads(1)
policy = load(PolicyRef(str(BUNDLED)))
batch = random_segments(policy, 400, 0)
backward(policy, batch[:4], token_budget=1 << 30)
policy.model.zero_grad()
if sys.argv[1] != "0":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * (1 << 20),) * 2)
loss = backward(policy, batch, token_budget=1 << 30)
print(loss.value, float(sum(p.grad.double().square().sum() for p in policy.model.parameters()) ** 0.5))
"""


@pytest.mark.slow
def test_a_real_allocation_that_fails() -> None:
    """The same loss and gradient under a limit on memory that the whole batch does not fit into."""

    def run(megabytes: int) -> tuple[list[float], list[dict[str, str]]]:
        env = environment(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", REAL, str(megabytes)], capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        return [float(x) for x in done.stdout.split()], told

    expected, nothing = run(0)
    found, told = run(100)
    assert nothing == []
    assert told
    assert all(t["event"] == "out of memory" for t in told)
    assert "allocate memory" in told[0]["why"]
    assert found == pytest.approx(expected, rel=1e-4)
