"""trl: TRL's GRPOTrainer, trained through loopkit's referee."""

from loopkit import hookimpl
from loopkit.registry.hookspecs import Register


@hookimpl
def register_trainers(register: Register) -> None:
    register("trl:grpo", "loopkit_trl.trainer:TrlGrpo")
