"""Import paths of 0.1 still lead to the same modules, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest

from loopkit.system.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_warns_and_is_the_new_module(old: str) -> None:
    package = old.rpartition(".")[0]
    if package in MOVED:  # importing it would be the warning that is raised
        sys.modules[package] = importlib.import_module(MOVED[package])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=MOVED[old]):
        module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])


def test_what_reads_shards_is_found_where_it_was() -> None:
    from loopkit.experiment import rundir, shards

    with pytest.warns(DeprecationWarning, match="shards"):
        assert rundir.read_shard is shards.read_shard
