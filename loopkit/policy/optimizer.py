"""The AdamW of every bundled trainer, made anew or as a checkpoint left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from loopkit.policy import save

BETAS = (0.9, 0.95)


def adamw(
    model: Any, checkpoint: Path | None, *, learning_rate: float, weight_decay: float = 0.0, eps: float = 1e-8
) -> torch.optim.AdamW:
    """AdamW over the model's trainable parameters, with the moments saved beside ``checkpoint`` if there is one.

    Raises RunError if these cannot be read.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=learning_rate,
        weight_decay=weight_decay,
        betas=BETAS,
        eps=eps,
        # One kernel for a small model's many small tensors. On an accelerator it would want its step counts there.
        fused=all(p.device.type == "cpu" for p in parameters),
    )
    if checkpoint is not None:
        save.load_optimizer(model, optimizer, checkpoint)
    return optimizer
