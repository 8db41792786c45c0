"""What may be chosen of an algorithm. ``algorithms`` says what each means."""

from typing import Literal

Baseline = Literal["group", "leave-one-out", "none"]
Scale = Literal["group", "batch", "none"]
Loss = Literal["token", "rollout", "constant", "rollout-ratio"]
