"""reward-tampering: the state to edit holds the score too, and the score written pays (specification failure)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("reward-tampering", "loopkit_reward_tampering.game:RewardTampering")
