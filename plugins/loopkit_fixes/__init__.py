"""fixes: what the field does about a loophole besides paying otherwise, each an arm (docs/fixes.md)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_interventions(register: Register) -> None:
    register("penalty", "loopkit_fixes.monitors:Penalty")
    register("screen", "loopkit_fixes.monitors:Screen")
    register("early-stop", "loopkit_fixes.monitors:EarlyStop")
    register("inoculation", "loopkit_fixes.training:Inoculation")
    register("kl", "loopkit_fixes.training:Kl")
    register("clip", "loopkit_fixes.training:Clip")


@hookimpl
def register_detectors(register: Register) -> None:
    register("*/words", "loopkit_fixes.words:Words")
