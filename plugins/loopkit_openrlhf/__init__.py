"""openrlhf: the same experiment on OpenRLHF's Ray, vLLM and DeepSpeed, out of process (docs/openrlhf.md)."""

from loopkit.registry.hookspecs import Register, hookimpl

TRAINER = "loopkit_openrlhf.trainer:OpenRlhf"
ESTIMATORS = {
    "grpo": "group_norm",
    "ppo": "gae",
    "rloo": "rloo",
    "reinforce++": "reinforce",
    "reinforce-baseline": "reinforce_baseline",
    "dr-grpo": "dr_grpo",
}
"""Our name -> OpenRLHF's ``--algo.advantage.estimator``."""


@hookimpl
def register_trainers(register: Register) -> None:
    for name, estimator in ESTIMATORS.items():
        register(f"openrlhf:{name}", TRAINER, preset={"estimator": estimator})
