"""What is executed in place of a blocked action: the planner's, or the declared safe action."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from heed.guard.decisions import Decision
from heed.guard.planning.imagination import Controller
from heed.guard.planning.lookahead import Look
from heed.guard.planning.optimizers import Search
from heed.guard.planning.planner import Plan, SafePlanner
from heed.guard.situations import Situation
from heed.runs.state import Kept, State


class Planning:
    """A planner, the controllers that seed it, and each environment's own warm start.

    Args:
        planner: whose search is copied for every environment but the first that asks.
        controllers: policies and brakes, batched: states [N, S] to action vectors [N, A].
    """

    def __init__(self, planner: SafePlanner, controllers: Sequence[Controller] = ()) -> None:
        self.planner, self.controllers = planner, list(controllers)
        self._warm: WeakKeyDictionary[Situation, tuple[SafePlanner, int, int]] = WeakKeyDictionary()

    def plan(self, situation: Situation, spent: float = 0.0) -> Plan:
        """The best plan from where an environment stands; seconds of the deadline may be spent already."""
        idle = situation.actions.nothing()
        return self._at(situation).plan(situation.tensor, self.controllers, idle, situation.way_out, spent=spent)

    def plan_after(self, situation: Situation, proposed: Any, limit: float) -> Plan:
        """The best plan that begins with the proposed action, feasible below the limit of risk."""
        actions = situation.actions
        held = torch.stack([actions.nothing(), *actions.swerves()])
        known = (self.controllers, held, situation.way_out)
        return self._at(situation).plan_after(situation.tensor, actions.encode(proposed), limit, *known)

    def state(self) -> dict[int, State]:
        """Each environment's warm start, by its number."""
        return {
            here.number: {"episode": episode, "timestep": timestep, "search": search_state(planner.search)}
            for here, (planner, episode, timestep) in self._warm.items()
        }

    def restore(self, state: dict[int, State], situations: Sequence[Situation]) -> None:
        """Begin where these warm starts were."""
        self._warm.clear()
        for number, warm in state.items():
            planner = self.planner.apart() if self._warm else self.planner
            restore_search(planner.search, warm["search"])
            self._warm[situations[number]] = (planner, warm["episode"], warm["timestep"])

    def _at(self, situation: Situation) -> SafePlanner:
        """The environment's own planner, with its plans of earlier steps moved on to the present one."""
        planner, episode, timestep = self._warm.get(situation, (None, -1, 0))
        if planner is None:
            planner = self.planner.apart() if self._warm else self.planner
        if episode != situation.episode:
            planner.reset()
        else:
            planner.move_on(situation.timestep - timestep)
        self._warm[situation] = (planner, situation.episode, situation.timestep)
        return planner


def search_state(search: Search) -> State:
    """What a search has learnt: what it says itself, or else all tensors that it holds."""
    if isinstance(search, Kept):
        return search.state()
    return {name: value for name, value in vars(search).items() if isinstance(value, Tensor)}


def restore_search(search: Search, state: State) -> None:
    """Let a search know what it knew when it gave a state."""
    if isinstance(search, Kept):
        search.restore(state)
    else:
        vars(search).update(state)


class Replacement:
    """Chooses what is executed in place of a blocked action.

    Args:
        planning: plans; None takes the declared safe action.
    """

    def __init__(self, planning: Planning | None = None) -> None:
        self.planning = planning

    def choose(self, situation: Situation, proposed: Any, look: Look | None = None, spent: float = 0.0) -> Decision:
        """The decision that blocks a proposed action.

        A plan that is not feasible gives way to the declared safe action; where none is declared, the least risky plan
        is the best there is.

        Args:
            situation: of the environment.
            proposed: what is blocked.
            look: what the guard saw, where it looked.
            spent: seconds of the planner's deadline that are gone, on looking for a plan that saves the action.
        """
        if self.planning is None:
            return Decision.seen(look, proposed, situation.fallback(), "block", "blocker", plan_ms=1e3 * spent)
        began = time.perf_counter()
        plan = self.planning.plan(situation, spent)
        took = 1e3 * (spent + time.perf_counter() - began)
        result = {"feasible": plan.feasible, "plan_ms": took, "plan": plan, "way_out": plan.actions[1:]}
        first = plan.actions[0]
        if plan.feasible and bool(first.isfinite().all()):
            return Decision.seen(look, proposed, situation.actions.decode(first), "block", "planner", **result)
        declared = situation.safe_action is not None or not bool(first.isfinite().all())
        executed = situation.fallback() if declared else situation.actions.decode(first)
        return Decision.seen(look, proposed, executed, "block", "fallback", **result)
