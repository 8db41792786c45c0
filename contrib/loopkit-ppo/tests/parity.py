"""Run in OpenRLHF's interpreter: its own reward of a token, advantages, whitening and losses beside ours.

``python parity.py`` prints {"what": largest difference} on the same float64 tensors. tests/openrlhf/make_env.sh of
loopkit makes such an environment; there, ``tests/openrlhf/python-cpu contrib/loopkit-ppo/tests/parity.py``.
"""

import importlib.util
import json
import pathlib

import torch
from openrlhf.models import PolicyLoss, ValueLoss
from openrlhf.models.utils import compute_reward
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

FORMULAS = pathlib.Path(__file__).parents[1] / "loopkit_ppo" / "formulas.py"
LENGTHS = torch.tensor([7, 1, 4, 6])


def main():
    spec = importlib.util.spec_from_file_location("formulas", FORMULAS)
    ours = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)
    torch.manual_seed(0)
    now, old, kl, values, returns, advantages = (torch.randn(4, 7, dtype=torch.float64) for _ in range(6))
    paid, mask = torch.randn(4, dtype=torch.float64), (torch.arange(7) < LENGTHS[:, None]).double()
    out = {}
    rewards = ours.token_rewards(paid, kl, mask, 0.3)
    out["reward of a token"] = ((compute_reward(paid, 0.3, kl, mask) - rewards) * mask).abs().max()
    maker = RemoteExperienceMaker.__new__(RemoteExperienceMaker)
    theirs = maker.get_advantages_and_returns(values.clone(), rewards.clone(), mask, 0.97, 0.9)
    for name, a, b in zip(("advantages", "returns"), theirs, ours.gae(rewards, values, mask, 0.97, 0.9), strict=True):
        out[name] = ((a - b) * mask).abs().max()
        out[f"size of {name}"] = (b * mask).abs().max()
    for clip in (0.2, 0.0):
        each = (ours.value_loss(values, old, returns, clip) * mask).sum() / mask.sum()
        out[f"value loss, clip {clip}"] = (ValueLoss(clip_eps=clip or None)(values, old, returns, mask) - each).abs()
    each = (ours.policy_loss(now, old, advantages, 0.2) * mask).sum() / mask.sum()
    out["policy loss"] = (PolicyLoss()(now, old, advantages, mask)[0] - each).abs()
    print(json.dumps({k: float(v) for k, v in out.items()}))


if __name__ == "__main__":
    main()
