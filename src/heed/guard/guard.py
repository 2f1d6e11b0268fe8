"""The guard: a Gymnasium wrapper that looks before it leaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym

from heed.errors import HeedError
from heed.guard.decisions import Decision, Step
from heed.guard.intervention import Decider, Mode
from heed.guard.planning.imagination import Controller
from heed.guard.planning.lookahead import Look, Lookout
from heed.guard.planning.planner import SafePlanner
from heed.oversight.overseers.base import Overseer


class Guard(Decider, gym.Wrapper[Any, Any, Any, Any]):
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
        gym.Wrapper.__init__(self, env)
        judging = (overseer, lookout, planner, safe_action, policy, brake, mode, penalty, ask, observer)
        Decider.__init__(self, env.observation_space, env.action_space, [env], *judging)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the planner forgets the last one's plans."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.begin(self.situations[0], observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Judge the action, execute it or a safe one, and tell which in ``info["guard"]``."""
        if self.observation is None:
            raise HeedError("the guard has not seen where the agent is", "Guard.step", "call reset first")
        here = self.situations[0]
        decision, state = self.decide(action), self.state_of(here)
        observation, reward, terminated, truncated, info = self.env.step(decision.executed)
        reward = self.go_on(here, state, decision, observation, float(reward), terminated, truncated, info)
        return observation, reward, terminated, truncated, info | {"guard": decision.info()}

    def decide(self, proposed: Any) -> Decision:
        """The decision on an action in the present state."""
        return self.decide_in(self.situations[0], proposed)

    @property
    def observation(self) -> Any:
        """The last one; None before the first reset."""
        return self.situations[0].observation

    @property
    def episode(self) -> int:
        """Number of the present episode, from 0; -1 before the first reset."""
        return self.situations[0].episode

    @property
    def moment(self) -> int:
        """Steps taken in the present episode."""
        return self.situations[0].moment
