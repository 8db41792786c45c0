"""sft: supervised learning from recorded rollouts (distillation), or from corrective data."""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_trainers(register: Register) -> None:
    register("sft", "loopkit_sft.trainer:Sft")
