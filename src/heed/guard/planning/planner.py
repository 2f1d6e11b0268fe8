"""A safe action by model-predictive control: plans are searched, imagined, and the feasible ones come first."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heed.guard.planning.imagination import Controller, Following, Futures, Imagination
from heed.guard.planning.optimizers import Search
from heed.guard.planning.risk import RiskStrategy, Worst


@dataclass(frozen=True)
class Plan:
    """What the planner found.

    Args:
        actions: the best plan, [H, A].
        risk: of it.
        feasible: whether that is below the threshold.
        value: its predicted return.
        iterations: of the search.
        evaluated: plans imagined.
        late: whether the deadline ended the search.
        states: where it leads in each member and particle, [H + 1, E, P, S].
    """

    actions: Tensor
    risk: float
    feasible: bool
    value: float
    iterations: int
    evaluated: int
    late: bool
    states: Tensor


ALIKE = 0.1
"""What the mean danger counts beside the risk where the next step is dangerous whatever is done: it tells apart plans
that are nearly as risky, and excuses no risk."""


def shortfall(risk: Tensor, dangers: Tensor, threshold: float) -> Tensor:
    """How bad plans are that are not to be chosen by their value: by risk, and by how long they are in danger.

    Where the very next step is dangerous in every plan, risk tells little apart, and of plans that are nearly as risky
    the one that leaves danger soonest is the best.

    Args:
        risk: of each plan, [N].
        dangers: of each of its steps, [H, N].
        threshold: danger from which a step is unsafe.

    Returns:
        [N]: the risk, or with it a tenth of the mean danger.

    >>> risk, soon, late = torch.tensor([0.9, 0.9]), torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
    >>> shortfall(risk, torch.stack([soon, late]), 0.5)
    tensor([0.9000, 0.9000])
    >>> shortfall(risk, torch.stack([torch.tensor([0.9, 0.9]), late]), 0.5)
    tensor([0.9500, 0.9900])
    """
    lost = bool((dangers[0] >= threshold).all())
    return risk + ALIKE * dangers.mean(0) if lost else risk


def utilities(shortfall: Tensor, value: Tensor, safe: Tensor) -> Tensor:
    """Safe plans by value; below them all the others, by how bad they are; what is not finite last.

    Args:
        shortfall: see there, [N].
        value: [N].
        safe: which plans are, bool [N].

    Returns:
        [N].

    >>> short, value = torch.tensor([0.9, 0.1, 0.2, float("nan"), 0.6]), torch.tensor([9.0, 1.0, 3.0, 99.0, 0.0])
    >>> utilities(short, value, short < 0.5)
    tensor([-0.9000,  1.0000,  3.0000,    -inf, -0.6000])
    """
    finite = shortfall.isfinite() & value.isfinite()
    chosen = finite & safe
    floor = value[chosen].amin() if bool(chosen.any()) else value.new_zeros(())
    return torch.where(chosen, value, torch.where(finite, floor - 1 - shortfall, -torch.inf))


class SafePlanner:
    """Plans where the guard has blocked (MBHI's "efficient MPC"; docs/methods.md, section 6).

    The first population is joined by seeds: what the policy would do, what the brake would do, idling, the way out
    that was known a step ago. The search stops when enough plans are feasible or the deadline has passed; the best plan
    of all iterations is returned, feasible or not: the caller decides what an infeasible one is worth.

    Plans compete by what they are worth only well below the threshold: a search that is let up to it ends just below
    it, wherever the learnt danger is wrong.

    Args:
        search: proposes plans.
        imagination: judges them.
        threshold: risk from which a plan is not feasible.
        risk: how a plan's futures are combined.
        iterations: of the search at most.
        enough: feasible plans in one population that end the search.
        deadline: seconds after which no further iteration is begun; with a bound a seed no longer fixes a run.
        gamma: discount of predicted rewards.
        terminal_value: of the states [N, S] where plans end: [N]; None counts nothing beyond the horizon.
        clock: tells seconds.
        margin: share of the threshold below which plans compete by value; above it the least risky comes first.
    """

    def __init__(
        self,
        search: Search,
        imagination: Imagination,
        threshold: float,
        risk: RiskStrategy | None = None,
        iterations: int = 3,
        enough: int = 16,
        deadline: float = math.inf,
        gamma: float = 1.0,
        terminal_value: Callable[[Tensor], Tensor] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        margin: float = 0.5,
    ) -> None:
        self.search, self.imagination, self.threshold = search, imagination, threshold
        self.risk, self.iterations, self.enough = Worst() if risk is None else risk, iterations, enough
        self.deadline, self.gamma, self.terminal_value, self.clock = deadline, gamma, terminal_value, clock
        self.margin = margin

    @property
    def safe(self) -> float:
        """Risk below which plans compete by what they are worth."""
        return self.margin * self.threshold

    def reset(self) -> None:
        """Forget what was learnt, as at the start of an episode."""
        self.search.reset()

    def move_on(self, steps: int = 1) -> None:
        """The environment made so many steps: what was learnt moves on with it, until nothing of it is left."""
        for _ in range(min(steps, self.search.horizon)):
            self.search.begin()

    def apart(self) -> SafePlanner:
        """The same planner for another environment: its search has learnt nothing, and learns by itself."""
        other = copy.copy(self)
        other.search = copy.deepcopy(self.search)
        other.search.reset()
        return other

    @torch.no_grad()
    def plan(
        self,
        state: Tensor,
        controllers: list[Controller],
        held: Tensor,
        known: Tensor | None = None,
        first: Tensor | None = None,
        spent: float = 0.0,
    ) -> Plan:
        """The best plan from a state.

        Args:
            state: [S].
            controllers: policies and brakes whose own futures seed the search.
            held: actions that seed the search held throughout, such as doing nothing: [A] or [n, A].
            known: a plan that was safe a step ago, moved on: [n, A] with n at most H; its last action is held.
            first: the action that every plan begins with, [A]; None leaves it free.
            spent: seconds of the deadline that are gone already.

        Returns:
            Feasible if any was found.
        """
        began = self.clock() - spent
        best: Plan | None = None
        best_rank, evaluated = (False, -math.inf), 0
        for iteration in range(self.iterations):
            plans = self.search.propose(iteration, self.imagination.generator)
            following: Following = {}
            if iteration == 0:
                plans, following = self._seeded(state, plans, controllers, held, known)
            if first is not None:
                plans = torch.cat([first.expand(len(plans), 1, -1), plans[:, 1:]], dim=1)
            futures = self.imagination.roll(state, plans, following)
            for number in following:  # a controller's plan is what it did in its first future
                plans[number] = futures.actions[:, 0, number, 0]
            risk, value = futures.risk(self.risk), self._value(futures)
            short = shortfall(risk, futures.dangers(self.risk), self.threshold)
            utility = utilities(short, value, risk < self.safe)
            evaluated += len(plans)
            number = int(utility.argmax())
            least = float(risk[number])
            feasible, safe = least < self.threshold and bool(value[number].isfinite()), least < self.safe
            rank = (safe, _order(safe, float(short[number]), float(value[number])))
            late = self.clock() - began > self.deadline
            if best is None or rank > best_rank:
                best_rank = rank
                result = (plans[number].clone(), least, feasible, float(value[number]))
                best = Plan(*result, 0, 0, late, futures.states[:, :, number].clone())
            self.search.update(plans, utility)
            if late or int((risk < self.safe).sum()) >= self.enough:
                break
        assert best is not None
        return replace(best, iterations=iteration + 1, evaluated=evaluated, late=late)

    def plan_after(
        self,
        state: Tensor,
        action: Tensor,
        limit: float,
        controllers: list[Controller],
        held: Tensor,
        known: Tensor | None = None,
    ) -> Plan:
        """The best plan that begins with a proposed action: whether a safe way goes on from it.

        It takes half the deadline, so that what is put in place of the action has the rest; and what the search learns
        is forgotten, as all its plans begin with an action that is perhaps not to be taken.

        Args:
            state: [S].
            action: [A].
            limit: risk from which the plan is not feasible, where that is below the threshold.
            controllers: see `plan`, as for what follows.
            held: actions.
            known: a plan.

        Returns:
            Feasible if any was found.
        """
        other = copy.copy(self)
        other.search, other.deadline = copy.deepcopy(self.search), self.deadline / 2
        other.threshold = min(self.threshold, limit)
        return other.plan(state, controllers, held, known, action)

    def _seeded(
        self, state: Tensor, plans: Tensor, controllers: list[Controller], held: Tensor, known: Tensor | None
    ) -> tuple[Tensor, Following]:
        """The first population with its seeds in front, and which of them a controller goes on with."""
        horizon = plans.shape[1]
        seeds = [controller(state[None])[0].expand(horizon, -1) for controller in controllers]
        seeds += [action.expand(horizon, -1) for action in held.reshape(-1, held.shape[-1])]
        if known is not None and len(known):
            last = known[-1:].expand(max(0, horizon - len(known)), -1)
            seeds.append(torch.cat([known[:horizon], last]))
        following: Following = {number: (1, controller) for number, controller in enumerate(controllers)}
        return torch.cat([torch.stack(seeds), plans]), following

    def _value(self, futures: Futures) -> Tensor:
        value = futures.returns(self.gamma)
        if self.terminal_value is None:
            return value
        last = futures.states[-1]  # [E, C, P, S]
        terminal = self.terminal_value(last.flatten(0, 2)).view(last.shape[:3])
        terminal = torch.where(futures.alive, terminal, 0.0).mean((0, 2))
        terminal = torch.where(terminal.isfinite(), terminal, -torch.inf)
        return value + self.gamma ** len(futures.rewards) * terminal


def _order(safe: bool, short: float, value: float) -> float:
    """By value among safe plans, by how bad they are among the others; what is not finite last."""
    result = value if safe else -short
    return result if math.isfinite(result) else -math.inf
