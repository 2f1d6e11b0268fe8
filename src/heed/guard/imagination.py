"""Futures: what would follow an action in each member of the dynamics, and how dangerous the blockers find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.dynamics import Dynamics
from heed.guard.risk import RiskStrategy, Worst

Controller = Callable[[Tensor], Tensor]
"""States [N, S] to action vectors [N, A]: a policy, a brake."""
Following = dict[int, tuple[int, Controller]]
"""By a plan's number: from which step on, and which controller."""


class DangerJudge(Protocol):
    """What finds a step dangerous: learnt blockers, or a known rule."""

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of the steps from states [..., S] by actions [..., A] to next states [..., S]: [...]."""
        ...


@dataclass(frozen=True)
class Futures:
    """What follows C plans in E members with P particles each, over H steps.

    Args:
        states: [H + 1, E, C, P, S]; the first is where all begin.
        actions: [H, E, C, P, A].
        rewards: predicted, 0 once a future has ended, [H, E, C, P].
        danger: of each step, 1 where the state is not finite or out of range, 0 once a future has ended,
            [H, E, C, P].
        alive: whether a future had not ended after the last step, bool [E, C, P].
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    danger: Tensor
    alive: Tensor

    def risk(self, strategy: RiskStrategy) -> Tensor:
        """Each plan's risk [C]: the largest danger on the way, combined over members and particles."""
        worst = self.danger.amax(0)  # [E, C, P]
        return strategy.combine(worst.permute(1, 0, 2).flatten(1))

    def member_risk(self) -> Tensor:
        """The largest danger on the way as each member tells it, over its particles: [C, E]."""
        return self.danger.amax(0).amax(-1).T

    def first_unsafe(self, threshold: float) -> Tensor:
        """The first step at which any future reaches the threshold, [C]; H where none does."""
        unsafe = (self.danger >= threshold).flatten(3).any(-1).any(1)  # [H, C]
        steps = torch.arange(len(unsafe), device=unsafe.device)[:, None].expand_as(unsafe)
        return torch.where(unsafe, steps, len(unsafe)).amin(0)

    def returns(self, gamma: float = 1.0) -> Tensor:
        """Mean predicted return of each plan, discounted, [C]; minus infinity where it is not finite."""
        discounts = gamma ** torch.arange(len(self.rewards), dtype=self.rewards.dtype, device=self.rewards.device)
        found = (self.rewards * discounts[:, None, None, None]).sum(0).mean((0, 2))
        return torch.where(found.isfinite(), found, -torch.inf)


@dataclass(frozen=True)
class Range:
    """Where states are believed, [S] each; what leaves it has left the model's knowledge and counts as dangerous.

    >>> reach = Range.around(torch.tensor([[0.0], [0.5], [1.0]]), margin=0.5)
    >>> reach.outside(torch.tensor([[1.4], [1.6], [float("nan")]])).tolist()
    [False, True, True]
    """

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, states: Tensor, margin: float = 0.02) -> Range:
        """The range of the states [N, S] seen, widened by ``margin`` of its width at each end.

        A part that was never seen with more than two values, such as whether a leg touches the ground, has no range: a
        model that is unsure predicts it in between and beyond.
        """
        low, high = states.amin(0), states.amax(0)
        slack = margin * (high - low).clamp(min=1e-3)
        flags = ((states == low) | (states == high)).all(0)
        return cls(torch.where(flags, -torch.inf, low - slack), torch.where(flags, torch.inf, high + slack))

    def outside(self, states: Tensor) -> Tensor:
        """Which states [..., S] are beyond it or not finite: bool [...]."""
        return ~((states >= self.low) & (states <= self.high) & states.isfinite()).all(-1)


class Imagination:
    """Rolls plans forward in the dynamics and has the blockers judge every step (MBHI's look; methods.md 4).

    All C plans are rolled at once, with E members and P particles of each; a particle keeps its member, so that each
    future is one consistent story (TS-infinity, Chua et al. 2018).

    Args:
        dynamics: the model.
        judge: the blockers.
        policy: what acts after a plan's own steps.
        particles: P, of each member.
        reach: states beyond it are dangerous; None believes all that is finite.
        termination: which states [N, S] end an episode: bool [N]; what would follow does not count.
        generator: of the model's noise.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        judge: DangerJudge,
        policy: Controller,
        particles: int = 4,
        reach: Range | None = None,
        termination: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dynamics, self.judge, self.policy = dynamics, judge, policy
        self.particles, self.reach, self.termination, self.generator = particles, reach, termination, generator

    @torch.no_grad()
    def roll(self, state: Tensor, plans: Tensor, controllers: Following | None = None) -> Futures:
        """The futures of plans from one state.

        Args:
            state: [S].
            plans: action vectors [C, H, A].
            controllers: plans, by number, that a controller takes over at a step (1 or later): from there on it chooses
                in the state that it meets.

        Returns:
            Of all plans.
        """
        C, H, _ = plans.shape
        E, P = self.dynamics.members, self.particles
        states = state.expand(E, C, P, -1)
        alive = torch.ones(E, C, P, dtype=torch.bool, device=state.device)
        told, acted, rewarded, lived = [states], [], [], []
        for t in range(H):
            actions = plans[:, t].expand(E, P, C, -1).transpose(1, 2)
            if t and controllers:
                actions = actions.clone()
                for number, (start, controller) in controllers.items():
                    if t >= start:
                        actions[:, number] = controller(states[:, number].flatten(0, 1)).view(E, P, -1)
            following, rewards = self.dynamics.step(states.flatten(1, 2), actions.flatten(1, 2), self.generator)
            following = following.view(E, C, P, -1)
            lived.append(alive)
            acted.append(actions)
            rewarded.append(rewards.view(E, C, P))
            if self.termination is not None:
                following = torch.where(alive[..., None], following, states)
                alive = alive & ~self.termination(following.flatten(0, 2)).view(E, C, P)
            states = following
            told.append(states)
        # A future that has ended stays where it ended, harmless and unrewarded. All steps are judged at once.
        path, actions, alive_before = torch.stack(told), torch.stack(acted), torch.stack(lived)
        danger = torch.where(alive_before, self.danger(path[:-1], actions, path[1:]), 0.0)
        return Futures(path, actions, torch.where(alive_before, torch.stack(rewarded), 0.0), danger, alive)

    @torch.no_grad()
    def glance(self, state: Tensor, action: Tensor) -> Futures:
        """No future at all: the blockers' word on a state [S] and an action [A] (HIRL, Saunders et al. 2018).

        Told as a future of one step that goes nowhere.
        """
        states, actions = state.expand(1, 1, 1, -1), action.expand(1, 1, 1, -1)
        danger = self.judge.danger(states, actions, states)
        danger = torch.where(danger.isfinite(), danger, 1.0)
        still, nothing = states.expand(2, 1, 1, 1, -1), torch.zeros_like(danger)[None]
        return Futures(still, actions[None], nothing, danger[None], torch.ones_like(danger, dtype=torch.bool))

    def danger(self, states: Tensor, actions: Tensor, following: Tensor) -> Tensor:
        """Of steps from states [..., S] to those that follow, [...]: the judge's, and 1 where the model is lost."""
        danger = self.judge.danger(states, actions, following)
        lost = ~following.isfinite().all(-1) if self.reach is None else self.reach.outside(following)
        return torch.where(lost | ~danger.isfinite(), 1.0, danger)


@dataclass(frozen=True)
class Look:
    """What the guard saw when it looked.

    Args:
        risk: of the proposed action, followed by what is least risky after it.
        member_risk: the same as each member tells it, [E].
        first_unsafe: the first unsafe step of the policy's own future, from 0, or None.
        futures: that the risk is of.
        continuation: number of the least risky among them.
        own: the policy's own future, one plan, from which first_unsafe is; the same as futures where that is the least
            risky, or nothing else was tried.
        threshold: danger from which a step counted as unsafe.
        limit: the risk below which the action is let pass: the threshold, or less after a block.
    """

    risk: float
    member_risk: Tensor
    first_unsafe: int | None
    futures: Futures
    continuation: int
    own: Futures
    threshold: float
    limit: float

    @property
    def safe(self) -> bool:
        """Whether the action may be let pass; never where the risk is no number."""
        return self.risk < self.limit

    def tail(self) -> Tensor:
        """The least risky continuation as a plan, [H, A]: the actions of its first future."""
        return self.futures.actions[:, 0, self.continuation, 0]


BLOCK_WHEN = ("policy_fails", "no_way_out", "no_plan")


def check_block_when(block_when: str, horizon: int, plans: bool) -> None:
    """Refuse a rule of blocking that is none, or that nothing could follow.

    Args:
        block_when: see `Lookout`.
        horizon: of the look, steps.
        plans: whether there is a planner.

    Raises:
        HeedError: an unknown rule; no_plan without a planner or without looking ahead.

    >>> check_block_when("no_plan", horizon=20, plans=True)
    """
    if block_when not in BLOCK_WHEN:
        raise HeedError(f"'{block_when}' is no rule of blocking", "--block_when", f"take {', '.join(BLOCK_WHEN)}")
    if block_when == "no_plan" and not plans:
        raise HeedError("no_plan asks a planner, and there is none", "--block_when", "take no_way_out, or a --planner")
    if block_when == "no_plan" and horizon == 0:
        raise HeedError("no_plan needs a look ahead", "--block_when", "take no_way_out, or a --horizon above 0")


class Lookout:
    """Looks before the leap: imagines the proposed action followed by the policy, or by a way out.

    Args:
        imagination: rolls the futures.
        horizon: H, steps; 0 asks the blockers about the present state and action alone, which is HIRL.
        threshold: danger from which a step is unsafe.
        block_when: ``policy_fails`` judges the policy's own future (the paper); ``no_way_out`` blocks only where
            brake and every swerve fail too, so that a policy which can still be saved is left alone (ours). A swerve
            is held for a third of the horizon and then braked, where there is a brake. ``no_plan`` is the same here;
            before a block the guard asks its planner for a way on from the action (`SafePlanner.plan_after`).
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
        release: float = 0.5,
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
        found = self._judged(out, best, limit)
        return replace(found, first_unsafe=own.first_unsafe, own=own.futures) if found.risk < own.risk else own

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
        found = self._judged(self.imagination.roll(state, whole, {0: (len(plan), after)}), 0, look.limit)
        return replace(found, first_unsafe=look.first_unsafe, own=look.own)

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
        first = int(futures.first_unsafe(self.threshold)[number])
        unsafe = first if first < len(futures.danger) else None
        return Look(risk, futures.member_risk()[number], unsafe, futures, number, futures, self.threshold, limit)
