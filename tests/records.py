"""Hypothesis strategies for the records, and for the JSON that they carry."""

from __future__ import annotations

from hypothesis import strategies as st

from loopkit.records import Decode, Dialogue, Done, Estimate, Json, Message, Rollout, StepMetrics, Task, Turn

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""What a file can hold."""
names = st.text("abcdefghijklmnop-0123456789", min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars: st.SearchStrategy[Json] = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text
json: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda s: st.lists(s, max_size=3) | st.dictionaries(text, s, max_size=3), max_leaves=5
)
decodes = st.builds(Decode, st.floats(0, 2), st.integers(1, 4096))
messages = st.builds(Message, st.sampled_from(["system", "user"]), text, st.none() | decodes, json)
turns = st.builds(
    Turn, text, st.sampled_from(["stop", "length"]), temperature=st.floats(0, 2)
)  # ids and logprobs do not travel
tasks = st.builds(Task, names, st.lists(messages, min_size=1, max_size=3).map(tuple), json, json, names)
dones = st.builds(Done, json)
rollouts: st.SearchStrategy[Rollout] = st.builds(
    lambda task, said, last, seed: Rollout(f"train/000003/0001/{task.id}/a", task, (*said, *last), seed),
    tasks,
    st.lists(st.tuples(turns, messages), max_size=2),
    st.just(()) | st.tuples(st.tuples(turns, dones)),
    st.integers(0, 2**31),
)
dialogues = st.builds(Dialogue, names, st.lists(messages, max_size=3).map(tuple))
estimates = st.builds(Estimate, finite, st.none() | finite, st.none() | finite, st.integers(0), st.integers(0), text)
metrics = st.builds(
    StepMetrics,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.dictionaries(names, finite),
    st.dictionaries(names, st.none() | finite),
    st.dictionaries(names, st.none() | estimates),
    st.none() | st.floats(0, 1),
    st.dictionaries(names, finite),
    st.lists(names).map(tuple),
    st.lists(names).map(tuple),
)
