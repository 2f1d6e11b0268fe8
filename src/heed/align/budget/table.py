"""The rows of a memory budget, and their sum as a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing that takes memory.

    Args:
        name: what it is.
        bytes: how many it takes.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Budget:
    """The memory of a run on one device.

    Args:
        held: from the first round to the last.
        passing: by one part of a round each, which lets go before the next; only the largest counts.

    >>> budget = Budget((Row("weights", 10**9),), (Row("generation", 10**8), Row("gradients", 2 * 10**9)))
    >>> budget.peak
    3000000000
    >>> print(budget)
    held throughout
      weights                                              1.00 GB
    one after the other
      generation                                           0.10 GB
      gradients                                            2.00 GB
    at the peak                                            3.00 GB
    """

    held: tuple[Row, ...]
    passing: tuple[Row, ...]

    @property
    def peak(self) -> int:
        """Most bytes at once."""
        return sum(row.bytes for row in self.held) + max((row.bytes for row in self.passing), default=0)

    def __str__(self) -> str:
        """A plain-text table, in gigabytes of 10^9 bytes, or megabytes where all of it is less than one of them."""
        size, unit = (1e9, "GB") if self.peak >= 1e9 else (1e6, "MB")
        rows = [f"  {row.name:<46}{row.bytes / size:>11.2f} {unit}" for row in (*self.held, *self.passing)]
        rows.insert(len(self.held), "one after the other")
        return "\n".join(["held throughout", *rows, f"{'at the peak':<48}{self.peak / size:>11.2f} {unit}"])
