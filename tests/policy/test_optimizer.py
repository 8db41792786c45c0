"""One AdamW for all trainers: made anew, or with a checkpoint's moments."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import RunError
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.optimizer import adamw
from loopkit.policy.save import reference, save_checkpoint
from tests.policy.small import same


def gradient(policy: CausalPolicy, seed: int) -> None:
    made = torch.Generator().manual_seed(seed)
    for p in policy.model.parameters():
        p.grad = torch.randn(p.shape, generator=made)


def test_saved_and_made_again_it_goes_on(random_policy: CausalPolicy, tmp_path: Path) -> None:
    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    optimizer = adamw(policy.model, None, learning_rate=1e-3, weight_decay=0.1, eps=1e-5)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["eps"], group["betas"]) == (1e-3, 0.1, 1e-5, (0.9, 0.95))
    gradient(policy, 0)
    optimizer.step()
    checkpoint = save_checkpoint(policy, optimizer, tmp_path, 1)
    again = load(reference(checkpoint, PolicyRef("start")))
    resumed = adamw(again.model, checkpoint, learning_rate=1e-3, weight_decay=0.1, eps=1e-5)
    for found, made in ((policy, optimizer), (again, resumed)):
        gradient(found, 1)
        made.step()
    assert same([p.detach() for p in policy.model.parameters()], [p.detach() for p in again.model.parameters()], 0.0)


def test_damaged_moments_are_named(random_policy: CausalPolicy, tmp_path: Path) -> None:
    (tmp_path / "optimizer.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match=r"optimizer\.safetensors cannot be read"):
        adamw(random_policy.model, tmp_path, learning_rate=1e-3)
