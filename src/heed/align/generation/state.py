"""Where each slot of a continuous batch stands: its token, its position, whether it still writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class DecodeState:
    """The slots' state, in tensors that stay where they are, and what was last seen of it.

    A decode step reads and writes the tensors without asking about them; `look` does, which waits for the device.

    Args:
        slots: room for so many.
        requests: completions that are drawn at most in one go.
        limit: tokens of the longest.
        ends: the tokens that end one, [e].

    Attributes:
        rows: the first so many slots are decoded.
        live: how many of them still write.
        longest: the furthest position of those.
        longest_left: the most tokens that one of those may still write.
        free: slots that do not write.
    """

    def __init__(self, slots: int, requests: int, limit: int, ends: Tensor) -> None:
        self.slots, self.requests, self.limit, self.ends = slots, requests, limit, ends
        device = ends.device
        self.token, self.position, self.count, self.request = (
            torch.zeros(slots, dtype=torch.long, device=device) for _ in range(4)
        )
        self.alive = torch.zeros(slots, dtype=torch.bool, device=device)
        # One cell more, into which slots write that have ended.
        self.tokens = torch.zeros(requests * limit + 1, dtype=torch.long, device=device)
        self.logp = torch.zeros(requests * limit + 1, device=device)
        self.clear(slots)

    @property
    def written(self) -> tuple[Tensor, ...]:
        """What a step writes and the next one reads."""
        return self.token, self.position, self.count, self.alive

    def clear(self, slots: int) -> None:
        """Empty all slots and all results; the first so many are filled from now on."""
        self.alive.zero_()
        self.tokens.fill_(-1)
        self.logp.zero_()
        self.rows = self.live = self.longest = self.longest_left = 0
        self.slots = slots
        self.free = list(range(slots))

    def begin(self, pairs: Sequence[tuple[int, int]], prompts: Sequence[Tensor]) -> None:
        """Let slots write: (slot, request) pairs, the prompts' tokens but the last are in the cache already."""
        slots, requests = torch.tensor(pairs, device=self.token.device).T
        self.token[slots] = torch.stack([prompts[request][-1] for _, request in pairs])
        self.position[slots] = torch.tensor([len(prompts[r]) - 1 for _, r in pairs], device=self.token.device)
        self.request[slots] = requests
        self.count[slots] = 0
        self.alive[slots] = True
        self.rows = max(self.rows, 1 + max(slot for slot, _ in pairs))
        self.look()

    def write(self, drawn: Tensor, logp: Tensor) -> None:
        """A token for each row, and its log-probability, [rows] both; rows that have ended write nothing."""
        rows = len(drawn)
        alive, count = self.alive[:rows], self.count[:rows]
        cell = torch.where(alive, self.request[:rows] * self.limit + count, self.requests * self.limit)
        self.tokens[cell] = drawn
        self.logp[cell] = logp
        self.token[:rows] = drawn
        self.position[:rows] += alive
        count += alive
        alive &= ~((drawn[:, None] == self.ends).any(1) | (count == self.limit))

    def look(self) -> None:
        """See who still writes."""
        alive, position, count = torch.stack([self.alive, self.position, self.count]).tolist()
        live = [slot for slot in range(self.slots) if alive[slot]]
        self.live = len(live)
        self.free = [slot for slot in range(self.slots) if not alive[slot]]
        self.longest = max((position[slot] for slot in live), default=0)
        self.longest_left = max((self.limit - count[slot] for slot in live), default=0)

    def shrink(self, by: float) -> Tensor:
        """Move the slots that write to the front, and decode fewer rows.

        Args:
            by: the rows become so many of before, again and again while all that write have a place.

        Returns:
            The slots that are now the first, [rows].
        """
        while self.live <= (fewer := int(by * self.rows)) and fewer > 0:
            self.rows = fewer
        front = torch.cat([self.alive.nonzero().squeeze(1), (~self.alive).nonzero().squeeze(1)])[: self.rows]
        for held in (*self.written, self.request):
            held[: self.rows] = held[front]
        self.alive[self.rows :] = False
        self.look()
        return front

    def result(self, requests: int, end: int) -> tuple[Tensor, Tensor]:
        """Tokens and log-probabilities, [requests, T] each, with an end token behind what has ended."""
        tokens = self.tokens[:-1].view(self.requests, self.limit)[:requests]
        written = tokens >= 0
        longest = int(written.sum(1).max())
        tokens = torch.where(written, tokens, end)[:, :longest]
        return tokens.clone(), self.logp[:-1].view(self.requests, self.limit)[:requests, :longest].clone()
