"""self-grading: does the policy learn to claim it is right where nobody looks? (specification failure)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("self-grading", "loopkit_self_grading.game:SelfGrading")
