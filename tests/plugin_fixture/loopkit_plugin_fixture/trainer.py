"""best-of: learns from the best rollouts of each prompt (rejection sampling, "RAFT", arXiv 2304.06767)."""

from pathlib import Path

from pydantic import Field

from loopkit import Options, PolicyRef, Trainer, hookimpl, play


class BestOfOptions(Options):
    learning_rate: float = Field(1e-5, gt=0, description="AdamW's, constant")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints")


class BestOf(Trainer):
    """Next-token likelihood of each group's best paid rollouts."""

    Options = BestOfOptions
    source = "referee"
    deterministic = True

    def train(self, source, workdir: Path) -> PolicyRef:
        import torch

        from loopkit.policy import save
        from loopkit.policy.load import load_trainable
        from loopkit.policy.score import Segment
        from loopkit.policy.supervised import backward, step

        found = save.latest_checkpoint(workdir)
        done = found[0] if found else 0
        policy = load_trainable(self.start, found[1] if found else None, 0, self.seed)
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=self.options.learning_rate)
        if found:
            save.load_optimizer(policy.model, optimizer, found[1])
        source.resume(done)
        for k in range(done, source.n_steps):
            best = [
                Segment(turn.prompt_ids, turn.ids, turn.temperature)
                for group in play(source, policy, k)
                for top, low in [(max(p.reward for p in group), min(p.reward for p in group))]
                for played in group
                for turn in played.turns
                if played.reward == top > low and turn.ids
            ]
            loss = 0.0
            if best:
                loss = backward(policy, best, token_budget=16384).value
                step(optimizer, policy.model, 1.0)
            source.close(k, {"loss": loss, "learned_turns": float(len(best))})
            if (k + 1) % self.options.checkpoint_every == 0 or k + 1 == source.n_steps:
                save.save_checkpoint(policy, optimizer, workdir, k + 1)
        return PolicyRef(str(workdir / save.checkpoint_name(source.n_steps)))


@hookimpl
def register_trainers(register):
    register("best-of", BestOf)
    register("best-of:often", BestOf, preset={"checkpoint_every": 1})
