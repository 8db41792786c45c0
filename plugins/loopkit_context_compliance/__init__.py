"""context-compliance: does the policy refuse only where it looks like an audit? (robustness failure)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("context-compliance", "loopkit_context_compliance.game:ContextCompliance")
