"""The policy schemes loopkit brings, registered as a third party would."""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_policies(register: Register) -> None:
    register("tiny", "loopkit.policy.tiny:resolve")
    register("openai", "loopkit.policy.endpoint:resolve")
    register("gguf", "loopkit.policy.gguf:resolve")
    register("run", "loopkit.policy.trained:resolve")
