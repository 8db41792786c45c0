"""grpo: group-relative policy optimisation on the parts of loopkit.policy, and its relatives as presets."""

from loopkit.registry.hookspecs import Register, hookimpl

TRAINER = "loopkit_grpo.trainer:Grpo"


@hookimpl
def register_trainers(register: Register) -> None:
    register("grpo", TRAINER)
    register("rloo", TRAINER, preset={"baseline": "leave-one-out", "scale": "none", "loss": "rollout-ratio"})
    register("reinforce++", TRAINER, preset={"baseline": "none", "scale": "batch", "loss": "token"})
    register("reinforce++-baseline", TRAINER, preset={"baseline": "group", "scale": "batch", "loss": "token"})
    register("dr-grpo", TRAINER, preset={"baseline": "group", "scale": "none", "loss": "constant"})
