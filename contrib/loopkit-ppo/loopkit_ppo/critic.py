"""The critic: a network of its own that says what a dialogue so far will be paid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from loopkit import PolicyRef
from loopkit.policy.load import autocast, load
from loopkit.policy.optimizer import adamw
from loopkit.policy.save import save_optimizer
from loopkit.policy.score import Segment, pad_right

FOLDER = "critic"
WEIGHTS = "model.safetensors"


class Critic(torch.nn.Module):
    """The start policy's network, its language head replaced by a value head that begins at 0."""

    def __init__(self, start: PolicyRef) -> None:
        super().__init__()
        policy = load(start)
        self.pad_id = policy.pad_id
        self.body: torch.nn.Module = policy.model.base_model
        self.head = torch.nn.Linear(policy.model.config.hidden_size, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.to(policy.model.device)

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """(B,) turns -> (B, T) values, padded on the right: V of all that stands before each token."""
        device = self.head.weight.device
        ids = pad_right([(*s.prompt, *s.ids) for s in segments], self.pad_id, device)
        lengths = torch.tensor([len(s.prompt) + len(s.ids) for s in segments], device=device)
        mask = torch.arange(ids.shape[1], device=device) < lengths[:, None]
        with autocast():
            hidden = self.body(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
        values: torch.Tensor = self.head(hidden.float())[:, :, 0]
        width = max(len(s.ids) for s in segments)
        starts = torch.tensor([len(s.prompt) - 1 for s in segments], device=device)
        places = (starts[:, None] + torch.arange(width, device=device)).clamp(max=ids.shape[1] - 1)
        return values.gather(1, places)


def resume(start: PolicyRef, checkpoint: Path | None, learning_rate: float) -> tuple[Critic, torch.optim.AdamW]:
    """The critic and its optimizer, new or as ``checkpoint`` has them."""
    from safetensors.torch import load_model

    critic = Critic(start).eval()
    folder = checkpoint and checkpoint / FOLDER
    if folder:
        load_model(critic, folder / WEIGHTS)
    return critic, adamw(critic, folder, learning_rate=learning_rate)


def save(critic: Critic, optimizer: torch.optim.AdamW, directory: Path) -> None:
    """Write both into a checkpoint's ``directory``."""
    from safetensors.torch import save_model

    (directory / FOLDER).mkdir()
    save_model(critic, str(directory / FOLDER / WEIGHTS))
    save_optimizer(critic, optimizer, directory / FOLDER)
