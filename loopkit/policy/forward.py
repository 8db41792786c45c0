"""One forward pass with a cache: transformers' own, or the same arithmetic without its overhead.

A decoding step of a small model costs more in the modules around the matrix products than in the products. So a small
Llama on a CPU takes the compact path below; any other model, device or setting takes transformers' own, and
tests/policy/test_forward.py holds the two equal to 1e-5.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch.nn import functional

COMPACT_BELOW_PARAMETERS = 10_000_000
"""Larger models spend their time in the products, and fusing their weights would copy them."""
ROOM = 32
"""Positions by which a compact cache grows when it is full: growing copies it."""


Keep = torch.Tensor | Literal["last"]
"""Which positions' logits are wanted: (B, T) of bool, or each row's last."""


class Read(NamedTuple):
    """Prompts (N,) that were read, padded on the left to the longest, L."""

    logits: torch.Tensor
    """(N, V) of the last position."""
    past: Any
    mask: torch.Tensor
    """(N, L)."""
    position: torch.Tensor
    """(N,) where the next token stands."""


class Forward(Protocol):
    """A model's forward pass. What it returns as ``past`` is passed on to the next call as it is."""

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None, keep: Keep = "last"
    ) -> tuple[torch.Tensor, Any]:
        """ids and positions (B, T), mask (B, past + T) -> logits (N, V) of the positions kept, row by row, and past.

        Without gradients the past is extended in place: use only what the latest call returned.
        """

    def select(self, past: Any, rows: torch.Tensor) -> Any:
        """The past of these rows (N,) of the batch, which may repeat."""

    def read(self, prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Read:
        """Prompts (N,) of token ids, before sampling. Without gradients."""


def forward_of(model: Any) -> Forward:
    """The forward pass for this model as it is now. Ask again after its weights have changed."""
    return Compact(model) if is_compact(model) else Ordinary(model)


HEAD_ALONE = frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
"""Models whose logits are their head of the last hidden states and nothing else (no scaling, no cap)."""


class Ordinary:
    """transformers' own forward pass."""

    def __init__(self, model: Any) -> None:
        self.model = model
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        # From transformers 5.24 on it is called cache, and the old name brings a warning.
        self.name = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"
        self.inner = inner if type(inner).__name__ in HEAD_ALONE else None

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None, keep: Keep = "last"
    ) -> tuple[torch.Tensor, Any]:
        more: dict[str, Any] = {} if past is None else {self.name: past}
        if self.inner is not None:
            inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": True}
            out = self.inner.model(**inputs, **more)
            # Two dimensions: of three that are not contiguous, torch copies the head's weights once a row.
            states = out.last_hidden_state[:, -1] if isinstance(keep, str) else out.last_hidden_state[keep]
            return self.inner.lm_head(states), getattr(out, self.name)
        if isinstance(keep, str):
            more["logits_to_keep"] = 1
        out = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **more)
        return out.logits[:, -1] if isinstance(keep, str) else out.logits[keep], getattr(out, self.name)

    def select(self, past: Any, rows: torch.Tensor) -> Any:
        past.batch_select_indices(rows)
        return past

    def read(self, prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Read:
        from loopkit.policy.cache import joined, passes

        batches = list(passes([len(p) for p in prompts], device))
        parts = [self(*pad_left([prompts[i] for i in batch], pad_id, device)) for batch in batches]
        order = torch.tensor([i for batch in batches for i in batch], device=device).argsort()
        past = joined([past for _, past in parts], order)
        if past is None:
            return read_at_once(self, prompts, pad_id, device)
        _, mask, positions = pad_left(prompts, pad_id, device)
        return Read(torch.cat([logits for logits, _ in parts])[order], past, mask, positions[:, -1] + 1)


def pad_left(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """(N,) sequences -> ids, mask and positions, each (N, L), padded on the left."""
    length = max(map(len, sequences))
    ids = torch.tensor([[pad_id] * (length - len(s)) + list(s) for s in sequences], device=device)
    lengths = torch.tensor([len(s) for s in sequences], device=device)
    positions = torch.arange(length, device=device) - (length - lengths)[:, None]
    return ids, (positions >= 0).long(), positions.clamp(min=0)


def read_at_once(forward: Forward, prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Read:
    """``Forward.read`` in one pass."""
    ids, mask, positions = pad_left(prompts, pad_id, device)
    logits, past = forward(ids, mask, positions)
    return Read(logits, past, mask, positions[:, -1] + 1)


# --- a small Llama on a CPU ------------------------------------------------------------------------------------


def is_compact(model: Any) -> bool:
    """Whether the compact pass computes what this model does: exactly transformers' Llama, plain, small, on a CPU."""
    from transformers import LlamaForCausalLM

    if type(model) is not LlamaForCausalLM or model.training or torch.is_autocast_enabled(model.device.type):
        return False
    config = model.config
    return (
        model.device.type == "cpu"
        and model.dtype in (torch.float32, torch.float64)
        and config.hidden_act == "silu"
        and config.rope_parameters["rope_type"] == "default"
        and not (config.attention_bias or config.mlp_bias)
        and not getattr(model, "is_quantized", False)
        and sum(p.numel() for p in model.parameters()) < COMPACT_BELOW_PARAMETERS
    )


class Past:
    """Keys and values, a layer, each (B, heads, room, width), of which the first ``length`` positions are filled."""

    def __init__(self, layers: int) -> None:
        self.keys: list[torch.Tensor | None] = [None] * layers
        self.values: list[torch.Tensor | None] = [None] * layers
        self.length = 0

    def extend(self, i: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Layer ``i``'s keys and values with new ones (B, heads, T, width) appended."""
        end = self.length + key.shape[2]
        self.keys[i], key = _extend(self.keys[i], key, self.length, end)
        self.values[i], value = _extend(self.values[i], value, self.length, end)
        return key, value


def _extend(old: torch.Tensor | None, new: torch.Tensor, length: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(what to keep, what to attend to)."""
    if old is None:
        return new, new
    if torch.is_grad_enabled():  # what backward needs is never written to
        whole = torch.cat([old[:, :, :length], new], 2)
        return whole, whole
    if end > old.shape[2]:
        grown = old.new_empty(*old.shape[:2], end + ROOM, old.shape[3])
        grown[:, :, :length] = old[:, :, :length]
        old = grown
    old[:, :, length:end] = new
    return old, old[:, :, :end]


class Compact:
    """Llama (Touvron et al. 2023, arXiv 2302.13971) as transformers computes it: RMSNorm, rotary positions, SwiGLU."""

    def __init__(self, model: Any) -> None:
        config, self.model = model.config, model.model
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.epsilon = config.rms_norm_eps
        self.head = model.lm_head.weight
        self.turns: tuple[torch.Tensor, torch.Tensor] | None = None
        self.layers = [
            (
                layer.input_layernorm.weight,
                torch.cat([getattr(layer.self_attn, f"{x}_proj").weight for x in "qkv"]),
                layer.self_attn.o_proj.weight,
                layer.post_attention_layernorm.weight,
                torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]),
                layer.mlp.down_proj.weight,
            )
            for layer in self.model.layers
        ]

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None, keep: Keep = "last"
    ) -> tuple[torch.Tensor, Any]:
        past = past or Past(len(self.layers))
        rows, width = ids.shape
        x = self.model.embed_tokens(ids)
        cos, sin = self._rotation(positions, x.dtype)
        bias = _bias(mask, width, x.dtype)
        for i, (before, qkv, out, after, gate_up, down) in enumerate(self.layers):
            mixed = functional.linear(self._norm(x, before), qkv).view(rows, width, self.heads + 2 * self.kv_heads, -1)
            turned, value = torch.split(mixed.transpose(1, 2), [self.heads + self.kv_heads, self.kv_heads], 1)
            first, second = turned.chunk(2, -1)
            turned = torch.addcmul(turned * cos, torch.cat([second, first], -1), sin)
            query, key = torch.split(turned, [self.heads, self.kv_heads], 1)
            key, value = past.extend(i, key, value)
            x = x + functional.linear(_attend(query, key, value, bias), out)
            gate, up = functional.linear(self._norm(x, after), gate_up).chunk(2, -1)
            x = x + functional.linear(functional.silu(gate) * up, down)
        past.length += width
        x = x[:, -1] if isinstance(keep, str) else x[keep]
        return functional.linear(self._norm(x, self.model.norm.weight), self.head), past

    def select(self, past: Past, rows: torch.Tensor) -> Past:
        chosen = Past(len(self.layers))
        chosen.keys = [k[:, :, : past.length].index_select(0, rows) for k in past.keys if k is not None]
        chosen.values = [v[:, :, : past.length].index_select(0, rows) for v in past.values if v is not None]
        chosen.length = past.length
        return chosen

    def read(self, prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Read:
        return read_at_once(self, prompts, pad_id, device)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, self.epsilon)

    def _rotation(self, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (B, 1, T, width of a head) as transformers computes them; the first half turns back."""
        need = int(positions.max()) + 1
        if self.turns is None or need > len(self.turns[0]):
            angles = torch.arange(need + ROOM)[:, None].float() * self.model.rotary_emb.inv_freq.float()
            cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
            self.turns = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        cos, sin = (functional.embedding(positions, table)[:, None] for table in self.turns)
        return cos, sin


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attention of queries (B, heads, T, width) over keys and values (B, kv_heads, S, width) -> (B, T, heads x width).

    One token a row is a batch of products of one row each: there the fused kernel costs twice as much as plain ones.
    """
    (rows, heads, length, width), kv_heads = query.shape, key.shape[1]
    if length > 1:
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, enable_gqa=heads != kv_heads)
        return seen.transpose(1, 2).reshape(rows, length, heads * width)
    batch = (query * width**-0.5).reshape(rows * kv_heads, heads // kv_heads, width)
    scores = torch.bmm(batch, key.flatten(0, 1).transpose(1, 2)).view(rows, heads, 1, -1) + bias
    seen = torch.bmm(scores.softmax(-1).view(rows * kv_heads, heads // kv_heads, -1), value.flatten(0, 1))
    return seen.view(rows, 1, heads * width)


def _bias(mask: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """(B, 1, T, past + T) to add to attention scores: 0 where a position is seen, else the lowest number."""
    seen = mask[:, None, None, :] != 0
    if width > 1:
        total = mask.shape[1]
        seen = seen & torch.ones(width, total, dtype=torch.bool, device=mask.device).tril(total - width)
    return torch.where(seen, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)
