"""own-reward: a game of a user's own reward function and rows. Does training on it find a shortcut?"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("own-reward", "loopkit_own_reward.game:OwnReward", flags=("reward", "trusted"), control="trusted")
