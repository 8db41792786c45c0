"""What a process that trains sets before it begins."""

from __future__ import annotations

import torch

from loopkit.policy.process import tune


def test_threads_and_denormals() -> None:
    before = torch.get_num_threads()
    try:
        tune(1)
        assert torch.get_num_threads() == 1
        assert (torch.tensor([1e-30]) * 1e-10).item() == 0
        torch.ones(5_000_000).mul_(2)  # larger than what is kept
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
