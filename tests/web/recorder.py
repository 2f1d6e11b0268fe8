"""In place of a store behind a person's verdicts."""

from __future__ import annotations


class Recorder:
    """Remembers what was retracted, and by whom."""

    def __init__(self, overseer):
        self.overseer, self.rows = overseer, []
        overseer.bind(self)

    def retract(self, row, person):
        self.rows.append((row, person))
        self.overseer.retracted(row)
