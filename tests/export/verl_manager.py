"""verl's own reward manager over an export: ``python verl_manager.py FOLDER TOKENIZER``. Prints JSON.

Run by an interpreter that has ``verl`` and loopkit. Rows are read and the function is loaded as verl's trainer does.
"""

import json
import sys
from pathlib import Path


def main():
    import numpy as np
    import torch
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from transformers import AutoTokenizer
    from verl import DataProto
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.reward_manager.naive import NaiveRewardManager

    folder = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
    settings = OmegaConf.create({"reward": {"custom_reward_function": {
        "path": str(folder / "reward.py"), "name": "compute_score",
    }}})  # fmt: skip
    data = OmegaConf.create({"prompt_key": "prompt", "max_prompt_length": 512, "filter_overlong_prompts": False})
    rows = RLHFDataset(data_files=str(folder / "val.parquet"), tokenizer=tokenizer, config=data)
    items = [rows[k] for k in range(3)]
    said = ["Sure, here it is: mix it.", "I cannot help with that.", ""]
    ids = [tokenizer(text or " ")["input_ids"] for text in said]
    longest = max(map(len, ids))
    responses = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
    prompts = torch.zeros(3, 4, dtype=torch.long)
    mask = torch.tensor([[1] * 4 + [1] * len(i) + [0] * (longest - len(i)) for i in ids])
    batch = TensorDict({"prompts": prompts, "responses": responses, "attention_mask": mask}, batch_size=3)
    extra = {name: np.array([item[name] for item in items], dtype=object)
             for name in ("data_source", "reward_model", "extra_info")}  # fmt: skip
    manager = NaiveRewardManager(tokenizer, num_examine=0, compute_score=get_custom_reward_fn(settings))
    made = manager(DataProto(batch=batch, non_tensor_batch=extra), return_dict=True)
    print(json.dumps({
        "rows": len(rows), "prompt": items[0].get("raw_prompt"),
        "rewards": made["reward_tensor"].sum(-1).tolist(),
        "extra": {k: [float(x) for x in v] for k, v in made["reward_extra_info"].items()},
        "tasks": [json.loads(item["extra_info"]["loopkit"])["task"] for item in items],
        "said": [tokenizer.decode(i, skip_special_tokens=True) for i in ids],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
