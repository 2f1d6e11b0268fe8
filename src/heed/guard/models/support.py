"""Where the models have seen data: beyond it, and what they usually miss it by, they are less and then not trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heed.guard.models.dynamics import Dynamics
from heed.guard.models.transitions import Transitions, real_windows


@dataclass(frozen=True)
class Range:
    """The states that were seen, beyond which the models say less, and far beyond which they say nothing.

    Args:
        low: [S]; minus infinity where a part of the state has no range.
        high: [S]; infinity there.
        width: of what was seen, [S].
        slack: how far beyond an imagined state may lie after 1, 2, ... steps, in widths, [H]; None allows nothing.
        further: how far beyond that it may lie before the models are lost, in widths.

    >>> reach = Range.around(torch.tensor([[0.0], [0.5], [1.0]]), margin=0.5)
    >>> reach.outside(torch.tensor([[1.4], [1.6], [float("nan")]])).tolist()
    [False, True, True]
    """

    low: Tensor
    high: Tensor
    width: Tensor
    slack: Tensor | None = None
    further: float = 0.0

    @classmethod
    def around(
        cls, states: Tensor, margin: float = 0.02, keys: Sequence[int] | None = None, further: float = 0.0
    ) -> Range:
        """The range of the states [N, S] seen, widened by ``margin`` of its width at each end.

        Parts of the state that are not among the keys have no range, as no danger depends on them; all have one if
        None. Neither has a part that was never seen with more than two values, such as whether a leg touches the
        ground: a model that is unsure predicts it in between and beyond.
        """
        low, high = states.amin(0), states.amax(0)
        width = (high - low).clamp(min=1e-3)
        free = ((states == low) | (states == high)).all(0)
        if keys is not None:
            free |= ~torch.isin(torch.arange(states.shape[1]), torch.tensor(keys))
        low, high = low - margin * width, high + margin * width
        return cls(torch.where(free, -torch.inf, low), torch.where(free, torch.inf, high), width, None, further)

    def including(self, state: Tensor) -> Range:
        """The range with a state [S] in it, but for what is not finite: where the agent is, has been seen now."""
        low, high = torch.minimum(self.low, state), torch.maximum(self.high, state)
        known = state.isfinite()
        return replace(self, low=torch.where(known, low, self.low), high=torch.where(known, high, self.high))

    def beyond(self, states: Tensor, steps: Tensor | None = None) -> Tensor:
        """Which parts of states [..., S] are beyond it or not finite: bool [..., S].

        Args:
            states: [..., S].
            steps: how many steps ahead each is imagined, less one, broadcast against [...]; None allows no slack.
        """
        return self._over(states, steps, 0.0)

    def lost(self, states: Tensor, steps: Tensor | None = None) -> Tensor:
        """Which parts of states [..., S] are so far beyond it that the models are lost there: see `beyond`."""
        return self._over(states, steps, self.further)

    def nearest(self, states: Tensor) -> Tensor:
        """The states in the range that are nearest to these, part by part: [..., S]."""
        return states.clamp(self.low, self.high)

    def _over(self, states: Tensor, steps: Tensor | None, further: float) -> Tensor:
        allowed = further * self.width
        if steps is not None and self.slack is not None:
            allowed = allowed + self.slack[steps.clamp(max=len(self.slack) - 1)][..., None] * self.width
        return ~((states >= self.low - allowed) & (states <= self.high + allowed) & states.isfinite())

    def outside(self, states: Tensor, steps: Tensor | None = None) -> Tensor:
        """Which states [..., S] are beyond it in any part, or not finite: bool [...]."""
        return self.beyond(states, steps).any(-1)

    def excess(self, states: Tensor) -> Tensor:
        """How far states [..., S] lie beyond it in their furthest part, in widths, [...]; infinite if not finite."""
        over = torch.maximum(self.low - states, states - self.high) / self.width
        return torch.where(states.isfinite().all(-1), over.clamp(min=0).amax(-1), torch.inf)

    @torch.no_grad()
    def calibrated(
        self, dynamics: Dynamics, states: Tensor, actions: Tensor, generator: torch.Generator, alpha: float = 0.02
    ) -> Range:
        """The range with the slack that imagination needs: so far does it leave the range where what happened did not.

        Windows of what really happened are imagined anew from their first states with their own actions, once by each
        member. At each step of the horizon the slack is the distance beyond the range that at most a share ``alpha`` of
        windows like these exceeds in any member (split conformal; Vovk et al. 2005), and never less than at the step
        before. With too few windows for that the largest distance is taken. Dynamics that have learnt from the windows
        stray less from them than from fresh ones, so that the slack is on the safe side.

        Args:
            dynamics: fitted.
            states: of the windows, [W, H + 1, S].
            actions: vectors [W, H, A].
            generator: of the dynamics' noise.
            alpha: share of the windows.
        """
        count = len(states)
        if not count:
            return self
        imagined = states[:, 0].expand(dynamics.members, -1, -1)
        distances = []
        for step in range(actions.shape[1]):
            imagined, _ = dynamics.step(imagined, actions[:, step].expand(dynamics.members, -1, -1), generator)
            distances.append(self.excess(imagined).amax(0).sort().values)  # [W]
        rank = min(count, math.ceil((count + 1) * (1 - alpha)))
        slack = torch.stack(distances)[:, rank - 1].cummax(0).values
        return replace(self, slack=slack.nan_to_num(posinf=0.0))  # of a model that is lost nothing is believed


def known_range(
    transitions: Transitions,
    keys: Sequence[int] | None,
    further: float,
    dynamics: Dynamics | None,
    generator: torch.Generator,
) -> Range:
    """The range of all states seen that are finite, with the slack that imagination in these dynamics needs.

    Args:
        transitions: what happened.
        keys: parts of the state that have a range; None for all.
        further: how far beyond it the models are lost, in widths.
        dynamics: fitted; None where they are known, which need no slack.
        generator: of their noise.
    """
    seen = transitions.tensors()
    states = torch.cat([seen.states, seen.next_states])
    reach = Range.around(states[states.isfinite().all(1)], keys=keys, further=further)
    return reach if dynamics is None else reach.calibrated(dynamics, *real_windows(transitions), generator)
