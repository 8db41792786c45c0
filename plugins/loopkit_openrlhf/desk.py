"""Which slot a row of OpenRLHF's dataset plays: rows come in OpenRLHF's order, slots in the referee's."""

from __future__ import annotations

from dataclasses import dataclass, field

from loopkit.contracts import Referee
from loopkit.errors import RefereeError
from loopkit.records import Json, Slot


@dataclass
class Desk:
    """Answers ``claim``: the first of a row takes the next slot of the referee's plan, the others of the row the same.

    OpenRLHF shuffles its dataset once over all steps, so a row's own slot may belong to any step. A row is therefore
    a ticket: step k of the trainer, whichever rows it drew, plays the slots of the referee's step k, whole clusters
    together, and records carry the step in which they were learned from.
    """

    referee: Referee
    step: int
    """The step whose slots are given next."""
    _waiting: list[Slot] = field(default_factory=list)
    _rows: dict[str, tuple[Slot, int]] = field(default_factory=dict)
    """Row -> its slot, and how many rollouts of it have begun."""
    _calls: dict[str, Json] = field(default_factory=dict)

    def claim(self, body: Json) -> Json:
        """{"row", "call"} -> {"slot", "name", "messages"}. The same call gets the same answer again."""
        row, call = str(body.get("row")), str(body.get("call"))
        if call not in self._calls:
            slot, begun = self._rows.get(row) or (self._next(), 0)
            if begun == self.referee.group_size:
                raise RefereeError(
                    f"row {row!r} was drawn for more than {self.referee.group_size} rollouts: OpenRLHF drew it again, "
                    "or asks for other groups than the run has. Leave dataset and sampling as the plugin set them."
                )
            self._rows[row] = slot, begun + 1
            self._calls[call] = {"slot": slot.key, "name": str(begun), "messages": [m.wire() for m in slot.messages]}
        return self._calls[call]

    def _next(self) -> Slot:
        if not self._waiting:
            if self.step >= self.referee.n_steps:
                raise RefereeError(f"all {self.referee.n_steps} steps have been played: OpenRLHF drew a row too many.")
            self._waiting = self.referee.slots(self.step)[::-1]
            self.step += 1
            self._calls.clear()  # of steps before: a step begins when the last is over, so nobody asks again
        return self._waiting.pop()
