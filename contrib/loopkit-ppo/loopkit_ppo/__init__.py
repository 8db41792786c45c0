"""ppo: proximal policy optimisation with a critic, on the public parts of loopkit."""

from loopkit import hookimpl
from loopkit.registry.hookspecs import Register


@hookimpl
def register_trainers(register: Register) -> None:
    register("ppo", "loopkit_ppo.trainer:Ppo")
