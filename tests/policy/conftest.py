from __future__ import annotations

from pathlib import Path

import pytest

from loopkit.contracts import PolicyRef
from loopkit.policy import tiny
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.save import save_policy
from loopkit.policy.warmup import new_policy
from tests.policy.small import SETTINGS
from tests.toys import COPYING, DOUBLING


@pytest.fixture(scope="session")
def bundled() -> CausalPolicy:
    """The policy in the box. Do not train it: make a copy."""
    return load(PolicyRef(str(tiny.BUNDLED)), seed=3)


@pytest.fixture(scope="session")
def random_policy() -> CausalPolicy:
    """Random weights, and a tokenizer trained on the toy games. Do not train it: make a copy."""
    return new_policy({"doubling": DOUBLING, "copying": COPYING}, SETTINGS)


@pytest.fixture(scope="session")
def saved(random_policy: CausalPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``random_policy`` on disk."""
    directory = tmp_path_factory.mktemp("random-policy")
    save_policy(random_policy, directory)
    return directory
