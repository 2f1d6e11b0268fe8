"""Looking before the leap: what imagined futures say of a proposed action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.planning.imagination import Controller, Following, Futures, Imagination
from heed.guard.planning.risk import RiskStrategy, Worst


@dataclass(frozen=True)
class Look:
    """What the guard saw when it looked.

    Args:
        risk: of the proposed action, followed by what is least risky after it.
        member_risk: the largest danger of any of each member's futures, [E].
        first_unsafe: the first unsafe step of the policy's own future, from 0, or None.
        futures: that the risk is of.
        continuation: number of the least risky among them.
        own: the policy's own future, one plan, from which first_unsafe is; the same as futures where that is the least
            risky, or nothing else was tried.
        threshold: danger from which a step counted as unsafe.
        limit: the risk below which the action is let pass: the threshold, or less after a block.
        cause: why it may not be let pass; "" where it may.
        unknown: numbers of the parts of the state that are unknown, where that is the cause.
    """

    risk: float
    member_risk: Tensor
    first_unsafe: int | None
    futures: Futures
    continuation: int
    own: Futures
    threshold: float
    limit: float
    cause: Cause = ""
    unknown: tuple[int, ...] = ()

    @property
    def safe(self) -> bool:
        """Whether the action may be let pass; never where the risk is no number."""
        return self.risk < self.limit

    def tail(self) -> Tensor:
        """The least risky continuation as a plan, [H, A]: the actions of its first future."""
        return self.futures.actions[:, 0, self.continuation, 0]


Cause = Literal["", "danger", "no way out", "unknown"]
"""Why a look lets nothing pass: the very next step is dangerous; what follows is, whatever is done; or the futures lead
where the models know nothing."""

BLOCK_WHEN = ("policy_fails", "no_way_out", "no_plan")


def check_block_when(block_when: str) -> None:
    """Refuse what is no rule of blocking.

    Args:
        block_when: see `Lookout`.

    Raises:
        HeedError: an unknown rule.

    >>> check_block_when("no_plan")
    """
    if block_when not in BLOCK_WHEN:
        raise HeedError(
            f"'{block_when}' is no rule of blocking", "--block-when", f"take {', '.join(('auto', *BLOCK_WHEN))}"
        )


class Lookout:
    """Looks before the leap: imagines the proposed action followed by the policy, or by a way out.

    Args:
        imagination: rolls the futures.
        horizon: H, steps; 0 asks the blockers about the present state and action alone, which is HIRL.
        threshold: danger from which a step is unsafe.
        block_when: ``policy_fails`` judges the policy's own future (our reading of the paper); ``no_way_out``
            blocks only where brake and every swerve fail too, so that a policy which can still be saved is left alone
            (ours). A swerve is held for a third of the horizon and then braked, where there is a brake. ``no_plan`` is
            the same here; before a block the guard asks its planner, where it has one, for a way on from the action
            (`SafePlanner.plan_after`).
        risk: how the futures' risks are combined.
        brake: what slows the agent down, or None.
        swerves: constant actions to try as ways out, [n, A].
        release: after a block an action is let pass only if its risk is below this share of the threshold: near the
            threshold block and leave would take turns, and each leave bring the agent nearer.
    """

    def __init__(
        self,
        imagination: Imagination,
        horizon: int,
        threshold: float,
        block_when: str = "no_way_out",
        risk: RiskStrategy | None = None,
        brake: Controller | None = None,
        swerves: Tensor | None = None,
        release: float = 0.8,
    ) -> None:
        self.imagination, self.horizon, self.threshold = imagination, horizon, threshold
        self.block_when, self.risk = block_when, Worst() if risk is None else risk
        self.brake, self.swerves, self.release = brake, swerves, release

    def look(self, state: Tensor, proposed: Tensor, stepped_in: bool = False) -> Look:
        """Imagine what follows the proposed action [A] from the state [S].

        The policy's own future is imagined alone; the ways out only where it is unsafe.

        Args:
            state: [S].
            proposed: [A].
            stepped_in: the last action was blocked, so that this one is let pass only well below the threshold.
        """
        limit = self.threshold * (self.release if stepped_in else 1.0)
        if self.horizon == 0:
            return self._judged(self.imagination.glance(state, proposed), 0, limit)
        first = proposed.expand(1, self.horizon, -1)
        own = self._judged(self.imagination.roll(state, first, {0: (1, self.imagination.policy)}), 0, limit)
        if self.block_when == "policy_fails" or own.safe or self.horizon == 1:
            return own
        plans, controllers = self._ways_out(proposed)
        if not len(plans):
            return own
        out = self.imagination.roll(state, plans, controllers)
        best = int(out.risk(self.risk).argmin())
        result = self._judged(out, best, limit)
        return replace(result, first_unsafe=own.first_unsafe, own=own.futures) if result.risk < own.risk else own

    def follow(self, state: Tensor, plan: Tensor, look: Look) -> Look:
        """The same look with a plan as the way out, imagined anew.

        A search picks the least of many risks, which flatters what it picks: futures that it has not chosen by judge it
        again. They reach as far as the look at least: behind a shorter plan the brake goes on, or else the policy.

        Args:
            state: [S].
            plan: [n, A]; the first is the action that was looked at.
            look: what was seen of that action.
        """
        missing = max(0, self.horizon - len(plan))
        after = self.imagination.policy if self.brake is None else self.brake
        whole = torch.cat([plan, plan[-1:].expand(missing, -1)])[None]
        result = self._judged(self.imagination.roll(state, whole, {0: (len(plan), after)}), 0, look.limit)
        return replace(result, first_unsafe=look.first_unsafe, own=look.own)

    def _ways_out(self, proposed: Tensor) -> tuple[Tensor, Following]:
        plans, following = [], {}
        if self.brake is not None:
            following[0] = (1, self.brake)
            plans.append(proposed.expand(self.horizon, -1))
        for swerve in self.swerves if self.swerves is not None else ():
            plan = swerve.expand(self.horizon, -1).clone()
            plan[0] = proposed
            if self.brake is not None:
                following[len(plans)] = (1 + self.horizon // 3, self.brake)
            plans.append(plan)
        return (torch.stack(plans) if plans else proposed.new_zeros(0, self.horizon, len(proposed))), following

    def _judged(self, futures: Futures, number: int, limit: float) -> Look:
        risk = float(futures.risk(self.risk)[number])
        first = int(futures.first_unsafe(self.threshold, self.risk)[number])
        unsafe = first if first < len(futures.danger) else None
        why = ("", ()) if risk < limit else self._cause(futures, number, limit)
        return Look(risk, futures.member_risk()[number], unsafe, futures, number, futures, self.threshold, limit, *why)

    def _cause(self, futures: Futures, number: int, limit: float) -> tuple[Cause, tuple[int, ...]]:
        """Why a plan's futures are not safe, by their first step that is not; and which parts are unknown.

        What is unknown is the cause where that step leads beyond what was seen in all futures that are not safe, and
        is not dangerous otherwise.
        """
        combined, unsafe = futures.dangers(self.risk)[:, number], ~(futures.danger[:, :, number] < limit)  # [H, E, P]
        over = ~(combined < limit)
        step = int(over.int().argmax() if bool(over.any()) else combined.argmax())
        left, came = (futures.states[at, :, number][unsafe[step]] for at in (step, step + 1))  # [n, S]
        beyond = self.imagination.unknown(came, torch.tensor(step), futures.states[0, 0, number, 0])
        if len(beyond) and bool(beyond.any(-1).all()):
            told = self.imagination.judge.danger(left, futures.actions[step, :, number][unsafe[step]], came)
            if not bool((self.imagination.believed(told, torch.tensor(step)) >= limit).any()):
                return "unknown", tuple(beyond.any(0).nonzero()[:, 0].tolist())
        return ("danger" if bool(over[0]) or self.block_when == "policy_fails" else "no way out"), ()
