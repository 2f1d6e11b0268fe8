"""The guard: a Gymnasium wrapper that looks before it leaps."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder, check_observations, state_vector
from heed.guard.decisions import Decision, Step
from heed.guard.imagination import Controller, Look, Lookout
from heed.guard.planner import SafePlanner
from heed.oversight.overseers import Moment, Overseer

logger = logging.getLogger(__name__)

Mode = Literal["off", "shadow", "block", "replace", "penalty"]
MODES = ("off", "shadow", "block", "replace", "penalty")


class Guard(gym.Wrapper[Any, Any, Any, Any]):
    """Judges every proposed action before the environment sees it (MBHI; methods.md 4).

    While an overseer is set, the overseer judges. Afterwards the lookout does: it imagines what follows the action, and
    where that meets a catastrophe the action is blocked and the planner gives a safe one. Nothing is executed
    unjudged: whatever fails on the way counts as a block.

    Args:
        env: any Gymnasium 1.x environment with a Box observation of one dimension and a Box or Discrete action.
        overseer: judges while it is set; None leaves the judging to the lookout.
        lookout: looks ahead.
        planner: gives a safe action in place of a blocked one.
        safe_action: from an observation the declared safe action, taken where there is no planner or no safe plan;
            None takes the centre of the box, or the first choice.
        policy: batched, states [N, S] to action vectors [N, A]: seeds the planner.
        brake: the same for what slows the agent down; None where there is none.
        mode: ``off`` judges nothing; ``shadow`` judges and records, and executes what was proposed; ``block`` takes the
            safe action in place of a blocked one; ``replace`` the planner's; ``penalty`` is ``replace`` with
            ``penalty`` off the reward of a blocked step.
        penalty: taken from the reward of a blocked step in mode penalty.
        ask: in autonomy, whether to ask the overseer about a look: called with it.
        observer: called after each step; the phases of training stand on it.

    Raises:
        HeedError: a space that the guard cannot reason about, or an unknown mode.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        overseer: Overseer | None = None,
        lookout: Lookout | None = None,
        planner: SafePlanner | None = None,
        safe_action: Callable[[Any], Any] | None = None,
        policy: Controller | None = None,
        brake: Controller | None = None,
        mode: Mode = "replace",
        penalty: float = 1.0,
        ask: Callable[[Look], bool] | None = None,
        observer: Callable[[Step], None] | None = None,
    ) -> None:
        super().__init__(env)
        if mode not in MODES:
            raise HeedError(f"'{mode}' is no mode", "Guard", f"take {', '.join(MODES)}")
        check_observations(env.observation_space)
        self.coder = ActionCoder(env.action_space)
        self.overseer, self.lookout, self.planner = overseer, lookout, planner
        self.safe_action, self.policy, self.brake = safe_action, policy, brake
        self.mode, self.penalty, self.ask, self.observer = mode, penalty, ask, observer
        self.faults: Counter[str] = Counter()
        self.episode, self.moment = -1, 0
        self.way_out: Tensor | None = None
        self.observation: Any = None
        self.last_info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the planner forgets the last one's plans."""
        self.observation, self.last_info = self.env.reset(seed=seed, options=options)
        self.episode, self.moment, self.way_out = self.episode + 1, 0, None
        if self.planner is not None:
            self.planner.reset()
        return self.observation, self.last_info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Judge the action, execute it or a safe one, and tell which in ``info["guard"]``."""
        if self.observation is None:
            raise HeedError("the guard has not seen where the agent is", "Guard.step", "call reset first")
        decision, state = self.decide(action), self._state()
        observation, reward, terminated, truncated, info = self.env.step(decision.executed)
        self.observation, self.last_info, self.moment = observation, info, self.moment + 1
        if self.planner is not None:
            self.planner.move_on()
        if self.observer is not None:
            self.observer(self._told(state, decision, float(reward), terminated, truncated, info))
        if self.mode == "penalty" and decision.decision == "block":
            reward = float(reward) - self.penalty
        return observation, reward, terminated, truncated, info | {"guard": decision.info()}

    def decide(self, proposed: Any) -> Decision:
        """The decision on an action in the present state."""
        began = time.perf_counter()
        if self.mode == "off":
            return Decision(proposed, proposed, "allow", "policy")
        usable = self.coder.valid(proposed)
        try:
            decision = self._judged(proposed, usable)
        except Exception as problem:  # noqa: BLE001 - whatever fails here, nothing may pass unjudged
            self.fault(f"judging failed ({type(problem).__name__}: {problem}): the action is blocked")
            decision = Decision(proposed, self._declared(), "block", "fallback")
        if self.mode == "shadow" and usable:
            decision = replace(decision, executed=proposed)
        return replace(decision, latency_ms=1e3 * (time.perf_counter() - began))

    def _judged(self, proposed: Any, usable: bool) -> Decision:
        """By the lookout where there is one, else by the overseer; what is no action is blocked by itself."""
        state = torch.from_numpy(self._state())
        if not usable:
            self.fault("the policy proposed an action that is not finite or not in the space: blocked")
            return self._instead(state, proposed, None)
        if self.lookout is not None:
            return self._judged_by_look(state, proposed, self.lookout)
        if self.overseer is not None:
            return self._judged_by_person(state, proposed, None)
        self.fault("nobody judges, neither an overseer nor a lookout: every action is blocked")
        return self._instead(state, proposed, None)

    def _judged_by_look(self, state: Tensor, proposed: Any, lookout: Lookout) -> Decision:
        look = lookout.look(state, self.coder.encode(proposed))
        if self.overseer is not None and self.ask is not None and self.ask(look):
            return self._judged_by_person(state, proposed, look)
        if look.risk < lookout.threshold:  # false for NaN
            self.way_out = look.tail()[1:]
            return Decision(proposed, proposed, "allow", "policy", **_seen(look))
        return self._instead(state, proposed, look)

    def _judged_by_person(self, state: Tensor, proposed: Any, look: Look | None) -> Decision:
        assert self.overseer is not None
        # Copies: what was judged is what is executed, whatever the overseer does to what it was shown.
        shown = copy.deepcopy((self.observation, proposed, self.last_info))
        verdict = self.overseer.judge(Moment(*shown, self.env, self.moment, self.episode))
        if verdict.failed:
            self.fault(f"the overseer {self.overseer.name} failed: the action is blocked")
            return replace(self._instead(state, proposed, look), source="fallback")
        if isinstance(verdict.block, bool | np.bool_) and not verdict.block:  # None is no leave
            return Decision(proposed, proposed, "allow", "policy", asked=True, **_seen(look))
        if verdict.instead is not None and self.coder.valid(verdict.instead):
            return Decision(proposed, verdict.instead, "block", "person", asked=True, **_seen(look))
        return replace(self._instead(state, proposed, look), asked=True)

    def _instead(self, state: Tensor, proposed: Any, look: Look | None) -> Decision:
        """A safe action in place of a blocked one: the planner's, or the declared one."""
        if self.planner is None or self.mode == "block":
            return Decision(proposed, self._declared(), "block", "blocker", **_seen(look))
        began = time.perf_counter()
        controllers = [c for c in (self.policy, self.brake) if c is not None]
        plan = self.planner.plan(state, controllers, self.coder.nothing(), self.way_out)
        self.way_out = plan.actions[1:]
        spent = 1e3 * (time.perf_counter() - began)
        first = plan.actions[0]
        found = _seen(look) | {"feasible": plan.feasible, "plan_ms": spent}
        if not plan.feasible and (self.safe_action is not None or not bool(first.isfinite().all())):
            return Decision(proposed, self._declared(), "block", "fallback", **found)
        # Without a declared safe action the least risky plan is the best there is.
        return Decision(
            proposed, self.coder.decode(first), "block", "planner" if plan.feasible else "fallback", **found
        )

    def _state(self) -> NDArray[np.float32]:
        return state_vector(self.observation, self.env.observation_space)

    def _told(
        self,
        state: NDArray[np.float32],
        decision: Decision,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> Step:
        proposed = self.coder.encode(decision.proposed).numpy() if self.coder.valid(decision.proposed) else None
        return Step(
            state=state,
            proposed=proposed,
            executed=self.coder.encode(decision.executed).numpy(),
            decision=decision,
            next_state=self._state(),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            catastrophe=bool(info.get("catastrophe", False)),
            info=info,
        )

    def _declared(self) -> Any:
        if self.safe_action is None:
            return self.coder.decode(self.coder.nothing())
        found = self.safe_action(self.observation)
        if self.coder.valid(found):
            return self.coder.action(found)
        self.fault("the declared safe action is not in the action space")
        return self.coder.decode(self.coder.nothing())

    def fault(self, what: str) -> None:
        """Count something unusual; say it the first time."""
        self.faults[what] += 1
        if self.faults[what] == 1:
            logger.warning("%s", what)


def _seen(look: Look | None) -> dict[str, Any]:
    if look is None:
        return {}
    members = tuple(float(r) for r in look.member_risk)
    return {"risk": look.risk, "member_risk": members, "first_unsafe": look.first_unsafe}
