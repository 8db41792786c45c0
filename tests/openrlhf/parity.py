"""Run in OpenRLHF's interpreter: its advantages, returns and policy loss beside grpo's, on the same tensors.

``python parity.py ALGORITHMS`` (the path of loopkit_grpo/algorithms.py) prints {"what": largest difference}.
Everything of OpenRLHF's is its own code; what it gets from other processes (log-probabilities, values) is given.
"""

import importlib.util
import json
import pathlib
import sys
from types import SimpleNamespace

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "plugins" / "loopkit_openrlhf"))
from openrlhf.models import PolicyLoss
from openrlhf.models.utils import compute_approx_kl
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from parse import parse

P, G, L = 4, 4, 7
PRESETS = {"group_norm": ("group", "group"), "dr_grpo": ("group", "none"), "rloo": ("leave-one-out", "none"),
           "reinforce": ("none", "batch"), "reinforce_baseline": ("group", "batch")}  # fmt: skip
"""OpenRLHF's estimator -> grpo's baseline and scale."""


def algorithms(path):
    spec = importlib.util.spec_from_file_location("algorithms", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["algorithms"] = module
    spec.loader.exec_module(module)
    return module


def theirs(estimator, rewards, masks):
    """(P, G) rewards -> (P * G,) advantages of the first token: OpenRLHF's whole path from rewards to advantages."""
    words = ["--actor.model_name_or_path", "x", "--train.agent_func_path", "a.py", "--vllm.num_engines", "1"]
    words += ["--rollout.n_samples_per_prompt", str(G), "--rollout.batch_size", str(P), "--algo.kl.init_coef", "0"]
    words += ["--actor.num_gpus_per_node", "1", "--algo.advantage.estimator", estimator]
    args = parse([*words, "--reward.clip_range", "-1000000000.0", "1000000000.0"])[1]
    maker = RemoteExperienceMaker(None, None, None, None, SimpleNamespace(value=0.0), SimpleNamespace(args=args), None)
    experiences = []
    for i, mask in enumerate(masks):
        zeros = torch.zeros(1, L)
        experiences.append(
            Experience(
                index=[i], sequences=torch.zeros(1, L + 1, dtype=torch.long), attention_mask=torch.ones(1, L + 1),
                action_mask=mask[None], rewards=rewards.flatten()[i : i + 1].clone(), kl=zeros, values=zeros.clone(),
                response_length=mask.sum()[None], truncated=torch.zeros(1), total_length=torch.tensor([L + 1]), info={},
            )
        )  # fmt: skip
    return torch.stack([e.advantages[0, 0] for e in maker.compute_advantages_and_returns(experiences)])


def main(path):
    ours, out = algorithms(path), {}
    ours.EPSILON = 1e-9  # added to a group's standard deviation: OpenRLHF's, where grpo has TRL's 1e-4
    torch.manual_seed(0)
    rewards = torch.randn(P, G, dtype=torch.float64).float()
    lengths = torch.randint(2, L + 1, (P, G))
    masks = [(torch.arange(L) < n).long() for n in lengths.flatten()]
    for estimator, (baseline, scale) in PRESETS.items():
        mine = ours.advantages(rewards.double(), lengths.double(), baseline, scale).flatten()
        out[f"advantages, {estimator}"] = (theirs(estimator, rewards, masks).double() - mine).abs().max().item()
        out[f"size of advantages, {estimator}"] = mine.abs().max().item()
    now, old = (torch.randn(P * G, L, dtype=torch.float64) * 0.3 - 2 for _ in range(2))
    mask, a = torch.stack(masks).double(), torch.randn(P * G, L, dtype=torch.float64)
    each, _ = ours.surrogate(now, old, a, 0.2, 0.2)
    for name, loss, token_level in (("token", "token", True), ("rollout", "rollout", False)):
        weights = ours.token_weights(lengths.flatten().double(), loss, 64)
        mine = (each * mask * weights[:, None]).sum()
        found = PolicyLoss(clip_eps_low=0.2, clip_eps_high=0.2, token_level_loss=token_level)(now, old, a, mask)[0]
        out[f"policy loss, {name} mean"] = abs(found - mine).item()
    out["kl, k3"] = ((compute_approx_kl(now, old, kl_estimator="k3") - ours.kl(now, old)) * mask).abs().max().item()
    print(json.dumps(out))


if __name__ == "__main__":
    main(sys.argv[1])
