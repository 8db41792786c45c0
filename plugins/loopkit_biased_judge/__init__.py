"""biased-judge: a judge with a taste pays for answers, and the taste can be served instead (specification failure)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("biased-judge", "loopkit_biased_judge.game:BiasedJudge")
