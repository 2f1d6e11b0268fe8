"""Futures: what would follow an action in each member of the dynamics, and how dangerous the blockers find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heed.guard.models.blockers import DangerJudge
from heed.guard.models.dynamics import Dynamics
from heed.guard.models.support import Range
from heed.guard.planning.risk import RiskStrategy

Controller = Callable[[Tensor], Tensor]
"""States [N, S] to action vectors [N, A]: a policy, a brake."""


Following = dict[int, tuple[int, Controller]]
"""By a plan's number: from which step on, and which controller."""


@dataclass(frozen=True)
class Futures:
    """What follows C plans in E members with P particles each, over H steps.

    Args:
        states: [H + 1, E, C, P, S]; the first is where all begin.
        actions: [H, E, C, P, A].
        rewards: predicted, 0 once a future has ended, [H, E, C, P].
        danger: of each step, 1 where the state is not finite or far out of range, 0 once a future has ended,
            [H, E, C, P].
        alive: whether a future had not ended after the last step, bool [E, C, P].
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    danger: Tensor
    alive: Tensor

    def risk(self, strategy: RiskStrategy) -> Tensor:
        """Each plan's risk [C]: that of the first step, or the largest danger on the way from there, combined.

        Of the first step it is the mean over members and particles, by which the threshold is calibrated; what comes
        later is combined by the strategy.
        """
        if len(self.danger) == 1:
            return self._now
        later = self.danger[1:].amax(0)  # [E, C, P]
        return torch.maximum(self._now, strategy.combine(later.transpose(0, 1).flatten(1)))

    def dangers(self, strategy: RiskStrategy) -> Tensor:
        """Each plan's danger at each step, combined over members and particles as in its risk: [H, C]."""
        later = strategy.combine(self.danger[1:].transpose(1, 2).flatten(2))
        return torch.cat([self._now[None], later])

    def member_risk(self) -> Tensor:
        """The largest danger on the way of any of each member's futures: [C, E]."""
        return self.danger.amax(0).amax(-1).T

    def first_unsafe(self, threshold: float, strategy: RiskStrategy) -> Tensor:
        """The first step at which the combined danger reaches the threshold, [C]; H where it never does."""
        unsafe = self.dangers(strategy) >= threshold
        steps = torch.arange(len(unsafe), device=unsafe.device)[:, None].expand_as(unsafe)
        return torch.where(unsafe, steps, len(unsafe)).amin(0)

    @property
    def _now(self) -> Tensor:
        return self.danger[0].mean((0, 2))

    def returns(self, gamma: float = 1.0) -> Tensor:
        """Mean predicted return of each plan, discounted, [C]; minus infinity where it is not finite."""
        discounts = gamma ** torch.arange(len(self.rewards), dtype=self.rewards.dtype, device=self.rewards.device)
        result = (self.rewards * discounts[:, None, None, None]).sum(0).mean((0, 2))
        return torch.where(result.isfinite(), result, -torch.inf)


class Imagination:
    """Rolls plans forward in the dynamics and has the blockers judge every step (docs/methods.md, section 6).

    All C plans are rolled at once, with E members and P particles of each; a particle keeps its member, so that each
    future is one consistent story (TS-infinity, Chua et al. 2018).

    Args:
        dynamics: the model.
        judge: the blockers.
        policy: what acts after a plan's own steps.
        particles: P, of each member.
        reach: the states that were seen; None believes all that is finite.
        wary: danger of steps beyond it, as the judge's most alarmed part tells it; without it all beyond is dangerous.
        belief: by what the danger of the first, second, ... imagined step is multiplied, [n], from there on by the last
            (`belief_by_step`); None believes it as it is told. Where the models are lost, it is 1 all the same.
        termination: which states [N, S] end an episode: bool [N]; what would follow does not count.
        generator: of the model's noise.
        beyond: danger of what follows after the states [..., S] where futures end, whatever is done then; None knows
            of none.
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
        beyond: Callable[[Tensor], Tensor] | None = None,
        wary: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        belief: Tensor | None = None,
    ) -> None:
        self.beyond, self.wary, self.belief = beyond, wary, belief
        self.dynamics, self.judge, self.policy = dynamics, judge, policy
        self.particles, self.reach, self.termination, self.generator = particles, reach, termination, generator

    @torch.no_grad()
    def roll(self, state: Tensor, plans: Tensor, controllers: Following | None = None) -> Futures:
        """The futures of plans from one state, or from one of each.

        Args:
            state: [S]; or one of each plan, [C, S], all of them known.
            plans: action vectors [C, H, A].
            controllers: plans, by number, that a controller takes over at a step (1 or later): from there on it chooses
                in the state that it meets.

        Returns:
            Of all plans.
        """
        C, H, _ = plans.shape
        E, P = self.dynamics.members, self.particles
        states = state.expand(C, -1)[:, None].expand(E, C, P, -1)
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
        steps = torch.arange(H)[:, None, None, None]
        danger = torch.where(
            alive_before, self.danger(path[:-1], actions, path[1:], steps, state if state.dim() == 1 else None), 0.0
        )
        if self.beyond is not None:
            later = torch.where(alive, self.beyond(path[-1]), 0.0)
            danger[-1] = torch.maximum(danger[-1], later)
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

    def danger(
        self,
        states: Tensor,
        actions: Tensor,
        following: Tensor,
        steps: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Of steps from states [..., S] to those that follow, [...]: the judge's, and 1 where the models are lost.

        Beyond what was seen, a step is as dangerous as the most alarmed finds it, or the nearest state that was seen.

        Args:
            states: [..., S].
            actions: [..., A].
            following: [..., S].
            steps: see `unknown`.
            start: see `unknown`.
        """
        danger = self.believed(self.judge.danger(states, actions, following), steps)
        danger = torch.where(danger.isfinite(), danger, 1.0)
        beyond = self.unknown(following, steps, start).any(-1)
        if self.wary is None or self.reach is None:
            return torch.where(beyond, 1.0, danger)
        if not bool(beyond.any()):
            return danger
        reach = self._reach(start)
        came, acted = following[beyond], actions[beyond]
        near = reach.nearest(came)
        told = torch.maximum(self.wary(came, acted, came), self.wary(near, acted, near))  # whichever state it judges
        after = None if steps is None else steps.expand(beyond.shape)[beyond]
        told = torch.maximum(danger[beyond], self.believed(told, after))
        danger[beyond] = torch.where(reach.lost(came, after).any(-1) | ~told.isfinite(), 1.0, told)
        return danger

    def believed(self, danger: Tensor, steps: Tensor | None) -> Tensor:
        """Danger [...] that was told so many ``steps`` ahead, less one, as far as it is believed."""
        if self.belief is None or steps is None:
            return danger
        return danger * self.belief[steps.clamp(max=len(self.belief) - 1)]

    def unknown(self, states: Tensor, steps: Tensor | None = None, start: Tensor | None = None) -> Tensor:
        """Which parts of imagined states [..., S] lie where nothing is known, or are no numbers.

        Args:
            states: [..., S].
            steps: how many steps ahead each is imagined, less one, broadcast against [...]; None trusts least.
            start: the real state [S] from which they are imagined, which is known wherever it is; None says nothing.
        """
        if self.reach is None:
            return ~states.isfinite()
        return self._reach(start).beyond(states, steps)

    def _reach(self, start: Tensor | None) -> Range:
        assert self.reach is not None
        return self.reach if start is None else self.reach.including(start)
