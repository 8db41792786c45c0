"""stub"""
from dataclasses import dataclass
from loopkit.probing.records import Hit
@dataclass(frozen=True)
class Found:
    hit: Hit | None
    replies: int
def search(asker, levels, trusted, most):
    return Found(None, 0)
