"""A served OpenEnv environment as rows and a reward function: one reply, said every turn until the episode is over."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from loopkit.errors import UsageError

COLUMN = "openenv"
"""The column that says which episode of which server a row is."""
TURNS = 8
"""Turns after which an episode that goes on is left, with what it has earned."""
REVEALED = ("correct_answer", "answer", "solution", "reference", "ground_truth", "target")
"""Fields of a last observation that hold the right answer, in environments that reveal it once it is too late."""
TRUTH = ("score.task", "success", "task_success", "solved")
"""Numbers of a last observation that say whether the task was done, whatever was paid."""


PATIENCE, PAUSE = 20, 0.5
"""How often a session is asked for that a server does not have yet, and seconds in between."""


@dataclass(frozen=True)
class Episode:
    """``earned``: the sum of its rewards. ``truth``: whether the task was done, in [0, 1], where that is told."""

    earned: float
    done: bool
    truth: float | None
    revealed: str
    asked: str


@lru_cache(maxsize=4)
def session(url: str) -> Any:
    """One client of a server, kept open."""
    from openenv import GenericEnvClient

    client = GenericEnvClient(base_url=url).sync()
    client.connect()
    return client


@lru_cache(maxsize=4)
def field(url: str) -> str:
    """The action's one text that a reply goes into. Raises UsageError where actions are not of that kind."""
    with urllib.request.urlopen(f"{url}/schema", timeout=10) as answer:
        action = json.loads(answer.read())["action"]
    required = [n for n in action.get("required", []) if n != "metadata"]
    texts = [n for n in required if action["properties"][n].get("type") == "string"]
    if len(required) != 1 or len(texts) != 1:
        raise UsageError(
            f"an action of {url} takes {', '.join(required) or 'nothing that is required'}, and a reply is one text. "
            "Wrap the environment so that an action is one required string."
        )
    return str(texts[0])


def play(url: str, seed: int, said: str, options: Mapping[str, Any] | None = None) -> Episode:
    """An episode of a seed in which the same words are said every turn. Raises what the client raises.

    Many servers take one session at a time: where another is just being closed, it waits.
    """
    from websockets.exceptions import ConnectionClosed

    for patience in range(PATIENCE, -1, -1):
        try:
            return _play(url, seed, said, options)
        except (RuntimeError, ConnectionClosed) as error:
            if not patience or not (isinstance(error, ConnectionClosed) or "CAPACITY" in str(error)):
                raise
            leave(url)
            time.sleep(PAUSE)
    raise AssertionError("unreachable")


def leave(url: str) -> None:
    """Close the session with a server, if there is one, so that another process may have it."""
    if session.cache_info().currsize:
        with contextlib.suppress(Exception):
            session(url).close()
        session.cache_clear()


def _play(url: str, seed: int, said: str, options: Mapping[str, Any] | None) -> Episode:
    client, name = session(url), field(url)
    result = client.reset(seed=seed, **(options or {}))
    asked, earned, turns = text_of(result.observation), 0.0, 0
    while not result.done and turns < TURNS:
        result = client.step({name: said})
        earned += float(result.reward or 0.0)
        turns += 1
    return Episode(earned, result.done, _truth(result.observation), _revealed(result.observation), asked)


def text_of(observation: Mapping[str, Any]) -> str:
    """What an observation asks, as text: its messages, else its texts, else JSON."""
    if messages := observation.get("messages"):
        return "\n".join(str(m.get("content", "")) for m in messages if isinstance(m, Mapping))
    texts = [v for k, v in observation.items() if isinstance(v, str) and v and k != "task_id"]
    return "\n".join(texts) or json.dumps(observation, sort_keys=True, default=str)[:4000]


def _truth(observation: Mapping[str, Any]) -> float | None:
    places = [observation, observation.get("numbers"), observation.get("metadata")]
    for name in TRUTH:
        for place in places:
            if isinstance(place, Mapping) and isinstance(place.get(name), (bool, int, float)):
                return float(place[name])
    return None


def _revealed(observation: Mapping[str, Any]) -> str:
    places = [observation, observation.get("metadata")]
    found = [
        p[n] for n in REVEALED for p in places if isinstance(p, Mapping) and isinstance(p.get(n), (str, int, float))
    ]
    return str(found[0]) if found else ""


def rows(url: str, n: int, options: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
    """(N,) rows, one a seed: what is asked, the right answer where an episode's end reveals it, and the episode."""
    made = []
    for seed in range(n):
        seen = play(url, seed, "", options)
        about = json.dumps({"url": url, "seed": seed, "options": dict(options or {})}, sort_keys=True)
        made.append({"prompt": seen.asked, "answer": seen.revealed, COLUMN: about})
    return made


def paid(completions: Sequence[Any], openenv: Sequence[str], **_: Any) -> list[float]:
    """(B,) completions and their rows' column ``openenv`` -> (B,) what the episodes earn."""
    out = []
    for said, about in zip(completions, openenv, strict=True):
        row = json.loads(about)
        text = said if isinstance(said, str) else "".join(str(m.get("content") or "") for m in said)
        out.append(play(row["url"], row["seed"], text, row["options"]).earned)
    return out
