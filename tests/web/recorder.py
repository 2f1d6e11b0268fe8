"""In place of a store behind a person's verdicts."""

from __future__ import annotations

from heed.oversight.store.store import Judgement


class Recorder:
    """Remembers what was retracted, and by whom."""

    def __init__(self, overseer):
        self.overseer, self.rows, self.marked = overseer, [], []
        overseer.bind(self)

    def retract(self, row, person):
        self.rows.append((row, person))
        self.overseer.retracted(row)

    def mark(self, proposal, person, note, key):
        shown = {"episode": proposal.episode, "step": proposal.step}
        if key not in (known := [mark.key for mark in self.marked]):
            self.marked.append(Judgement("mark", person, shown, {"note": note}, key=key))
            known.append(key)
        return 1 + known.index(key)

    def marks(self):
        return self.marked
