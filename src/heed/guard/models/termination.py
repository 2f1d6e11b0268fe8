"""Where an episode ends without harm, learnt from the episodes that did."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.models.blockers import Blockers
from heed.guard.models.config import BLOCKERS_FIT, BatchConfig, TerminationChoice
from heed.guard.models.support import Range
from heed.guard.models.transitions import Transitions
from heed.runs.state import State

logger = logging.getLogger(__name__)

LEAST_ENDS = 5
"""Harmless ends without which nothing is learnt, and known unseen without which no fit is accepted."""
MARGIN = 0.02
"""How far beyond the harmless ends is still within their range, in widths of what was seen of all states."""


@dataclass(frozen=True)
class TerminationReport:
    """How a fit went, as each step is recognised by the member that did not learn from it.

    Args:
        ends: harmless ends among the steps.
        recognised: those of them that would count as ends.
        mistaken: other steps that would.
    """

    ends: int
    recognised: int
    mistaken: int

    @property
    def precision(self) -> float:
        """Share of ends among the steps that would count as one; 0 where none would."""
        return self.recognised / max(1, self.recognised + self.mistaken)


class LearntTermination:
    """Which states end an episode harmlessly, learnt from the steps that did: terminated, and no catastrophe.

    An ensemble of classifiers of next states, as the blockers are (`Blockers`), fitted from fresh weights each time.
    What follows an end does not count, so that a wrong end would hide the danger behind it. A state is therefore an end
    only where every member says so with a probability of ``bar`` or more, in the frequencies of what happened, and
    within the range of the harmless ends seen. A fit is accepted only if at least the share ``bar`` of what would count
    as an end was one, as told by members that had not learnt from it. Otherwise, and with fewer than `LEAST_ENDS`
    harmless ends, nothing is an end, and futures go on.

    Args:
        state_size: S.
        members: of the ensemble.
        bar: in [.5, 1).
        seed: of the weights before the first fit.

    Attributes:
        reach: the range of the harmless ends; None as long as nothing is an end.

    Raises:
        HeedError: a bar outside its range.

    >>> x = torch.linspace(-1, 1, 400)[:, None]
    >>> seen = Transitions(state_size=1, action_size=1)
    >>> seen.add(x, torch.zeros(400, 1), x, torch.zeros(400), terminated=x[:, 0] > 0.8)
    >>> ends = LearntTermination(state_size=1)
    >>> ends.fit(seen, torch.Generator().manual_seed(0), BatchConfig(updates=400, learning_rate=1e-2)).ends
    40
    >>> ends(torch.tensor([[0.95], [0.5], [1.5], [float("nan")]])).tolist()
    [True, False, False, False]
    """

    def __init__(self, state_size: int, members: int = 5, bar: float = 0.9, seed: int = 0) -> None:
        if not 0.5 <= bar < 1:
            raise HeedError(f"the bar is {bar}", "LearntTermination", "give a probability from 0.5 to below 1")
        self.blockers = Blockers(state_size, members=members, seed=seed)
        self.bar = bar
        self.reach: Range | None = None
        self._said = False

    @torch.no_grad()
    def __call__(self, states: Tensor) -> Tensor:
        """Which states [..., S] end an episode harmlessly, bool [...]; none of those that are not finite."""
        if self.reach is None:
            return torch.zeros(states.shape[:-1], dtype=torch.bool)
        near = ~self.reach.outside(states)
        if not bool(near.any()):  # most looks meet no end
            return near
        return near & self._likely(self.blockers.logits(states).amin(0))

    def fit(
        self, transitions: Transitions, generator: torch.Generator, config: BatchConfig = BLOCKERS_FIT
    ) -> TerminationReport:
        """Learn from all that happened; a fit before this one is forgotten, also where nothing can be learnt now.

        Args:
            transitions: those whose next state is not finite are left out.
            generator: of weights, folds, bootstrap and batches.
            config: how; its weight decay is of no concern here, as rare ends need large log-odds.

        Returns:
            What the members say of steps that they did not learn from.
        """
        self.reach = None
        seen = transitions.tensors()
        usable = seen.next_states.isfinite().all(1)
        states, ended = seen.next_states[usable], (seen.terminated & ~seen.catastrophe)[usable]
        ends = int(ended.sum())
        if min(ends, len(states) - ends) < LEAST_ENDS:
            if not self._said:
                least = f"{ends} harmless ends in {len(states)} steps, {LEAST_ENDS} of each are the least to learn from"
                logger.info("no imagined future ends yet: %s", least)
                self._said = True
            return TerminationReport(ends, 0, 0)
        fit = self.blockers.fit(states, ended, generator, replace(config, weight_decay=0.0))
        slack = MARGIN * (states.amax(0) - states.amin(0))
        low, high = states[ended].amin(0), states[ended].amax(0)
        reach = Range(low - slack, high + slack, high - low)
        recognised = self._likely(fit.unseen.logit()) & ~reach.outside(states)
        report = TerminationReport(ends, int((recognised & ended).sum()), int((recognised & ~ended).sum()))
        accepted = report.recognised >= LEAST_ENDS and report.precision >= self.bar
        if accepted:
            self.reach = reach
        result = (
            f"{report.recognised} of {ends} harmless ends known unseen, {report.mistaken} other steps taken for one"
        )
        logger.info("%s: %s", "imagined futures may end" if accepted else "no imagined future ends", result)
        return report

    def state(self) -> State:
        """All that fits change."""
        return {"blockers": dict(self.blockers.state_dict()), "reach": self.reach, "said": self._said}

    def restore(self, state: State) -> None:
        """Become as the termination was that gave this state."""
        self.blockers.load_state_dict(state["blockers"])
        self.reach, self._said = state["reach"], state["said"]

    def _likely(self, logits: Tensor) -> Tensor:
        """Which log-odds [...], as the classifiers tell them, mean a probability of at least the bar: bool [...].

        They tell them as if ends were as frequent as other steps, which raises the odds by (1 - q) / q, q being the
        ends' share; NaN is not likely.
        """
        return logits >= math.log(self.bar / (1 - self.bar)) + math.log(float(self.blockers.positive_weight))


def choose_termination(
    choice: str,
    given: Callable[[Tensor], Tensor] | None,
    state_size: int,
    members: int = 5,
    seed: int = 0,
) -> Callable[[Tensor], Tensor] | None:
    """What ends an imagined future harmlessly: states [..., S] to bool [...]; None where nothing does.

    Args:
        choice: one of `TerminationChoice`.
        given: what is known of the environment; None where nothing is.
        state_size: S.
        members: of a learnt one.
        seed: of a learnt one.

    Raises:
        HeedError: an unknown choice, or given where nothing is.
    """
    if choice not in get_args(TerminationChoice):
        choices = ", ".join(get_args(TerminationChoice))
        raise HeedError(f"'{choice}' ends no future", "--termination", f"take {choices}")
    if choice == "given" and given is None:
        raise HeedError(
            "nothing is known of which states end an episode harmlessly", "--termination", "take learnt or none"
        )
    if choice == "none":
        return None
    if given is not None and choice != "learnt":
        return given
    return LearntTermination(state_size, members, seed=seed)
