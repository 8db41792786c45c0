"""The policy schemes loopkit brings, registered as a third party would."""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_policies(register: Register) -> None:
    register("tiny", "loopkit.policy.tiny:start_from")
    register("openai", "loopkit.policy.endpoint:start_from")
    register("gguf", "loopkit.policy.gguf:start_from")
    register("run", "loopkit.policy.trained:start_from")
