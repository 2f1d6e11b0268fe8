"""The decision on one proposed action: what guards in front of one environment and of many have in common."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.errors import HeedError, Stopped
from heed.guard.actions import ActionCoder, check_observations, state_vector
from heed.guard.decisions import Decision, Step
from heed.guard.planning.imagination import Controller
from heed.guard.planning.lookahead import Look, Lookout, check_block_when
from heed.guard.planning.planner import SafePlanner
from heed.oversight.overseers.base import Overseer, Proposal

logger = logging.getLogger(__name__)

Mode = Literal["off", "shadow", "block", "replace", "penalty"]
MODES = ("off", "shadow", "block", "replace", "penalty")


@dataclass
class Situation:
    """Where one environment stands, as its guard knows it.

    Args:
        number: of the environment, from 0.
        env: for overseers that look into it; None where it is out of reach.
        observation: the last one; None before the first reset.
        info: what the environment said with it.
        episode: the present one's number, which no other episode of any environment has; -1 before the first.
        moment: steps taken in it.
        way_out: what made the last action safe, moved on by one step, [n, A].
        stepped_in: the last action was blocked.
        planner: with this environment's own warm start.
    """

    number: int
    env: gym.Env[Any, Any] | None
    observation: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    episode: int = -1
    moment: int = 0
    way_out: Tensor | None = None
    stepped_in: bool = False
    planner: SafePlanner | None = None


class Decider:
    """Decides on proposed actions (MBHI; methods.md 4). `Guard` and `VectorGuard` stand on it.

    Who judges, who plans and what is safe is the same for all environments; what was seen, the way out and the plan's
    warm start are each one's own.

    Args:
        observation_space: of one environment.
        action_space: of one environment.
        envs: each environment, or None where nobody can look into it.
        overseer: see `Guard`, as for all that follows.
        lookout: looks ahead.
        planner: gives a safe action in place of a blocked one.
        safe_action: the declared one.
        policy: seeds the planner.
        brake: seeds the planner.
        mode: what a decision does.
        penalty: the price of a blocked step in mode penalty.
        ask: whether to ask the overseer about a look.
        observer: called after each step.

    Attributes:
        faults: how often what went wrong.
        situations: of each environment.

    Raises:
        HeedError: a space that the guard cannot reason about, or an unknown mode.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        envs: Sequence[gym.Env[Any, Any] | None],
        overseer: Overseer | None,
        lookout: Lookout | None,
        planner: SafePlanner | None,
        safe_action: Callable[[Any], Any] | None,
        policy: Controller | None,
        brake: Controller | None,
        mode: Mode,
        penalty: float,
        ask: Callable[[Look], bool] | None,
        observer: Callable[[Step], None] | None,
    ) -> None:
        if mode not in MODES:
            raise HeedError(f"'{mode}' is no mode", type(self).__name__, f"take {', '.join(MODES)}")
        self.space, self.state_size = observation_space, check_observations(observation_space)
        self.coder = ActionCoder(action_space)
        if lookout is not None:
            check_block_when(lookout.block_when, lookout.horizon, planner is not None)
        self.overseer, self.lookout = overseer, lookout
        self.safe_action, self.policy, self.brake = safe_action, policy, brake
        self.mode, self.penalty, self.ask, self.observer = mode, penalty, ask, observer
        self.faults: Counter[str] = Counter()
        self.situations = [Situation(number, env) for number, env in enumerate(envs)]
        self.planner = planner
        self._episodes = 0

    @property
    def planner(self) -> SafePlanner | None:
        """Plans in place of what is blocked; each environment has a search of its own."""
        return self.situations[0].planner

    @planner.setter
    def planner(self, planner: SafePlanner | None) -> None:
        for here in self.situations:
            here.planner = planner if planner is None or here.number == 0 else planner.apart()

    def begin(self, here: Situation, observation: Any, info: dict[str, Any]) -> None:
        """An episode begins; the planner forgets the last one's plans."""
        here.observation, here.info, here.moment, here.way_out = observation, info, 0, None
        here.stepped_in = False
        here.episode, self._episodes = self._episodes, self._episodes + 1
        if here.planner is not None:
            here.planner.reset()

    def go_on(
        self,
        here: Situation,
        state: NDArray[np.float32],
        decision: Decision,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> float:
        """The decision was carried out in a state [S] and led to an observation: remember it, and tell the observer.

        Returns:
            The reward that the learner gets.
        """
        here.observation, here.info, here.moment = observation, info, here.moment + 1
        if here.planner is not None:
            here.planner.move_on()
        if self.observer is not None:
            usable = self.coder.valid(decision.proposed)
            step = Step(
                state=state,
                proposed=self.coder.encode(decision.proposed).numpy() if usable else None,
                executed=self.coder.encode(decision.executed).numpy(),
                decision=decision,
                next_state=self.state_of(here),
                reward=reward,
                terminated=terminated,
                truncated=truncated,
                catastrophe=bool(info.get("catastrophe", False)),
                info=info,
                stream=here.number,
                episode=here.episode,
            )
            self.observer(step)
        return reward - self.penalty if self.mode == "penalty" and decision.decision == "block" else reward

    def decide_in(self, here: Situation, proposed: Any) -> Decision:
        """The decision on an action in a situation."""
        began = time.perf_counter()
        if self.mode == "off":
            return Decision(proposed, proposed, "allow", "policy")
        usable = self.coder.valid(proposed)
        try:
            decision = self._judged(here, proposed, usable)
        except Stopped:  # a wish to stop while a person is waited for; nothing is executed
            raise
        except Exception as problem:  # noqa: BLE001 - whatever fails here, nothing may pass unjudged
            self.fault(f"judging failed ({type(problem).__name__}: {problem}): the action is blocked")
            decision = Decision(proposed, self._declared(here), "block", "fallback", judged=False)
        here.stepped_in = decision.decision == "block"
        if self.mode == "shadow" and usable:
            decision = replace(decision, executed=proposed)
        return replace(decision, latency_ms=1e3 * (time.perf_counter() - began))

    def state_of(self, here: Situation) -> NDArray[np.float32]:
        """The state that the guard reasons about, [S], a copy."""
        return state_vector(here.observation, self.space)

    def fault(self, what: str) -> None:
        """Count something unusual; say it the first time."""
        self.faults[what] += 1
        if self.faults[what] == 1:
            logger.warning("%s", what)

    def _judged(self, here: Situation, proposed: Any, usable: bool) -> Decision:
        """By the lookout where there is one, else by the overseer; what is no action is blocked by itself."""
        state = torch.from_numpy(self.state_of(here))
        if not bool(state.isfinite().all()):
            self.fault("the environment gave an observation that is not finite: the action is blocked")
            return Decision(proposed, self._declared(here), "block", "fallback", judged=False)
        if not usable:
            self.fault("the policy proposed an action that is not finite or not in the space: blocked")
            return replace(self._instead(here, state, proposed, None), judged=False)
        if self.lookout is not None:
            return self._judged_by_look(here, state, proposed, self.lookout)
        if self.overseer is not None:
            return self._judged_by_person(here, state, proposed, None)
        self.fault("nobody judges, neither an overseer nor a lookout: every action is blocked")
        return replace(self._instead(here, state, proposed, None), judged=False)

    def _judged_by_look(self, here: Situation, state: Tensor, proposed: Any, lookout: Lookout) -> Decision:
        look = lookout.look(state, self.coder.encode(proposed), here.stepped_in)
        if self.overseer is not None and self.ask is not None and self.ask(look):
            return self._judged_by_person(here, state, proposed, look)
        if look.safe:
            here.way_out = look.tail()[1:]
            return Decision(proposed, proposed, "allow", "policy", **_seen(look))
        if lookout.block_when == "no_plan" and here.planner is not None:
            return self._judged_by_plan(here, state, proposed, look, lookout, here.planner)
        return self._instead(here, state, proposed, look)

    def _judged_by_plan(
        self, here: Situation, state: Tensor, proposed: Any, look: Look, lookout: Lookout, planner: SafePlanner
    ) -> Decision:
        """Of an action after which the lookout found no way out: let pass where the planner finds one."""
        began = planner.clock()
        action, held = self.coder.encode(proposed), torch.stack([self.coder.nothing(), *self.coder.swerves()])
        plan = planner.plan_after(state, action, look.limit, self._controllers(), held, here.way_out)
        usable = plan.feasible and bool(plan.actions.isfinite().all())
        if usable and (found := lookout.follow(state, plan.actions, look)).safe:
            here.way_out = plan.actions[1:]
            told = {"feasible": True, "plan_ms": 1e3 * (planner.clock() - began), "plan": plan}
            return Decision(proposed, proposed, "allow", "policy", **_seen(found) | told)
        return self._instead(here, state, proposed, look, planner.clock() - began)

    def _judged_by_person(self, here: Situation, state: Tensor, proposed: Any, look: Look | None) -> Decision:
        assert self.overseer is not None
        # Copies: what was judged is what is executed, whatever the overseer does to what it was shown.
        shown = copy.deepcopy((here.observation, proposed, here.info))
        moment = Proposal(*shown, here.env, here.moment, here.episode, stream=here.number)
        if look is not None:
            own = look.own
            ways, risks = own.states[:, :, 0].flatten(1, 2).transpose(0, 1), own.danger[:, :, 0].amax(0).flatten()
            moment = replace(moment, risk=look.risk, futures=ways.numpy(), future_risks=risks.numpy())
        verdict = self.overseer.judge(moment)
        if verdict.failed:
            self.fault(f"the overseer {self.overseer.name} failed: the action is blocked")
            return replace(self._instead(here, state, proposed, look), source="fallback", judged=False)
        said: dict[str, Any] = {
            "asked": not verdict.acted,
            "judged": not verdict.acted,
            "key": verdict.key,
            "credit": verdict.credit,
            "struck": verdict.catastrophe,
        }
        if isinstance(verdict.block, bool | np.bool_) and not verdict.block:  # None is no leave
            return Decision(proposed, proposed, "allow", "policy", **said, **_seen(look))
        if verdict.instead is not None and self.coder.valid(verdict.instead):
            return Decision(proposed, self.coder.action(verdict.instead), "block", "person", **said, **_seen(look))
        return replace(self._instead(here, state, proposed, look), **said)

    def _controllers(self) -> list[Controller]:
        return [c for c in (self.policy, self.brake) if c is not None]

    def _instead(
        self, here: Situation, state: Tensor, proposed: Any, look: Look | None, spent: float = 0.0
    ) -> Decision:
        """A safe action in place of a blocked one: the planner's, or the declared one.

        Seconds of the deadline may be spent already, on looking for a plan that saves the action.
        """
        if here.planner is None or self.mode == "block":
            told = _seen(look) | {"plan_ms": 1e3 * spent}
            return Decision(proposed, self._declared(here), "block", "blocker", **told)
        began = time.perf_counter()
        plan = here.planner.plan(state, self._controllers(), self.coder.nothing(), here.way_out, spent=spent)
        here.way_out = plan.actions[1:]
        took = 1e3 * (spent + time.perf_counter() - began)
        first = plan.actions[0]
        found = _seen(look) | {"feasible": plan.feasible, "plan_ms": took, "plan": plan}
        if not plan.feasible and (self.safe_action is not None or not bool(first.isfinite().all())):
            return Decision(proposed, self._declared(here), "block", "fallback", **found)
        # Without a declared safe action the least risky plan is the best there is.
        return Decision(
            proposed, self.coder.decode(first), "block", "planner" if plan.feasible else "fallback", **found
        )

    def _declared(self, here: Situation) -> Any:
        if self.safe_action is None:
            return self.coder.decode(self.coder.nothing())
        try:
            found = self.safe_action(here.observation)
        except Exception as problem:  # noqa: BLE001 - it is foreign code, and the last line of defence
            self.fault(f"the declared safe action failed ({type(problem).__name__}: {problem})")
            return self.coder.decode(self.coder.nothing())
        if self.coder.valid(found):
            return self.coder.action(found)
        self.fault("the declared safe action is not in the action space")
        return self.coder.decode(self.coder.nothing())


def _seen(look: Look | None) -> dict[str, Any]:
    if look is None:
        return {}
    members = tuple(float(r) for r in look.member_risk)
    return {"risk": look.risk, "member_risk": members, "first_unsafe": look.first_unsafe, "look": look}
