"""Learners of Stable-Baselines3 that know what the guard did: what was proposed and what was executed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor

from heed.errors import HeedError
from heed.guard.imagination import Controller

LearnsFrom = Literal["executed", "both", "proposed"]


@dataclass(frozen=True, eq=False)
class Taken:
    """One step of N environments, as replays keep it.

    Args:
        before: [N, S].
        proposed: actions in the replay's units, [N, A] or choices [N].
        executed: the same of what was done.
        after: where that led, [N, S]; where an episode ended, its last state and not the next one's first.
        ended: bool [N].
        blocked: bool [N].
        infos: what each environment said.
    """

    before: NDArray[Any]
    proposed: NDArray[Any]
    executed: NDArray[Any]
    after: NDArray[Any]
    ended: NDArray[np.bool_]
    blocked: NDArray[np.bool_]
    infos: list[dict[str, Any]]

    def add_blocked(self, buffer: ReplayBuffer, rewards: NDArray[Any], price: float, ends: bool) -> None:
        """Add each blocked proposal to a replay, with a price.

        A replay takes one row for each environment: those that were not blocked add what was executed, with its
        reward.

        Args:
            buffer: the replay.
            rewards: of what was executed, [N].
            price: of a blocked proposal.
            ends: the proposal is the end of an episode, with the price as its reward; else it led where what was
                executed in its place led, for that reward and the price.
        """
        if not self.blocked.any():
            return
        actions, after, ended = np.array(self.executed), np.array(self.after), np.array(self.ended)
        actions[self.blocked] = self.proposed[self.blocked]
        priced = rewards + price * self.blocked
        told = list(self.infos)
        if ends:
            after[self.blocked], ended[self.blocked], priced[self.blocked] = self.before[self.blocked], True, price
            told = [{} if blocked else info for blocked, info in zip(self.blocked, self.infos, strict=True)]
        buffer.add(self.before, after, actions, priced, ended, told)


class KnowsTheGuard:
    """Puts the guard's decision into the replay of an off-policy learner of Stable-Baselines3.

    Mix it in front: ``class GuardedSAC(KnowsTheGuard, SAC)``. The choice is explicit, as `learns_from`:

    - ``executed``: the executed action with the real outcome, so that critic and model see the truth.
    - ``both``: that, and for each blocked step also the proposed action at the price of ``block_penalty``, so that the
      policy becomes safe without the guard.
    - ``proposed``: the proposed action with the executed one's outcome, as a learner that knows of no guard stores it.

    Attributes:
        learns_from: one of these.
        block_penalty: the price of a proposal that was blocked, where both are learnt from.
        block_ends: such a proposal is the end of an episode, with the price as its reward; else it led where what was
            executed in its place led, for that reward and the price.
    """

    learns_from: LearnsFrom = "both"
    block_penalty: float = -0.2
    block_ends: bool = False

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: NDArray[Any],
        new_obs: Any,
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store what `learns_from` says of one step of every environment."""
        taken = self._taken(buffer_action, new_obs, dones, infos)
        stored = taken.proposed if self.learns_from == "proposed" else taken.executed
        super()._store_transition(replay_buffer, stored, new_obs, reward, dones, infos)  # type: ignore[misc] # mixed in
        if self.learns_from == "both":
            taken.add_blocked(replay_buffer, reward, self.block_penalty, self.block_ends)
        self._learn_of(taken)

    def _learn_of(self, taken: Taken) -> None:
        """For learners that keep more of a step than its reward."""

    def _taken(
        self, buffer_action: NDArray[Any], new_obs: Any, dones: NDArray[Any], infos: list[dict[str, Any]]
    ) -> Taken:
        executed, after = np.array(buffer_action), np.array(new_obs)
        stopped = [info.get("guard", {}).get("decision") == "block" for info in infos]
        blocked = np.array([stop and _was_kept_from(info["guard"]) for stop, info in zip(stopped, infos, strict=True)])
        for row, info in enumerate(infos):
            if stopped[row]:
                executed[row] = self._in_buffer(info["guard"]["executed"])
            if "terminal_observation" in info:
                after[row] = info["terminal_observation"]
        before = deepcopy(self._last_obs)  # type: ignore[attr-defined] # the learner's own
        return Taken(before, buffer_action, executed, after, dones.astype(bool), blocked, infos)

    def _in_buffer(self, action: Any) -> Any:
        """An environment's action as the replay holds it: boxes scaled to [-1, 1]."""
        if isinstance(self.action_space, gym.spaces.Discrete):  # type: ignore[attr-defined] # the learner's own
            return action
        return self.policy.scale_action(np.asarray(action))  # type: ignore[attr-defined] # the learner's own


def _was_kept_from(told: dict[str, Any]) -> bool:
    """Whether a judge kept the learner from its action; not where nobody judged, or where a shadow only watched."""
    return bool(told["judged"]) and not np.array_equal(told["proposed"], told["executed"])


class GuardedSAC(KnowsTheGuard, SAC):
    """Soft actor-critic (Haarnoja et al. 2018) that knows the guard."""


class GuardedTD3(KnowsTheGuard, TD3):
    """Twin delayed DDPG (Fujimoto et al. 2018) that knows the guard."""


class GuardedDQN(KnowsTheGuard, DQN):
    """Deep Q-learning (Mnih et al. 2015) that knows the guard."""


Learner = GuardedSAC | GuardedTD3 | GuardedDQN | PPO
"""PPO (Schulman et al. 2017) is Stable-Baselines3's own. On-policy learning needs the likelihood of what the policy
itself proposed: to it, guard and environment together are the world that a proposal acts in."""

LEARNERS: dict[str, type[Learner]] = {"sac": GuardedSAC, "td3": GuardedTD3, "dqn": GuardedDQN, "ppo": PPO}
_CHOOSE, _STEER = ("dqn", "ppo"), ("sac", "td3", "ppo")


def learner_class(name: str, space: gym.Space[Any]) -> type[Learner]:
    """A learner by its name, sac, td3, dqn or ppo; auto takes what the action space allows.

    Raises:
        HeedError: no such learner, or one that cannot act there.

    >>> learner_class("auto", gym.spaces.Discrete(3)).__name__
    'GuardedDQN'
    """
    able = _CHOOSE if isinstance(space, gym.spaces.Discrete) else _STEER
    chosen = able[0] if name == "auto" else name
    if chosen not in LEARNERS:
        raise HeedError(f"'{name}' is no learner", "--learner", f"take auto, {', '.join(LEARNERS)}")
    if chosen not in able:
        raise HeedError(f"{chosen} cannot act in {space}", "--learner", f"take auto, {', '.join(able)}")
    return LEARNERS[chosen]


def state_values(model: BaseAlgorithm) -> Callable[[Tensor], Tensor] | None:
    """What a learner thinks states are worth under its policy: states [N, S] to [N].

    Of an off-policy learner's critics the least, as its own targets take it. None for learners without any.
    """
    if isinstance(model, DQN):
        return torch.no_grad()(lambda states: model.q_net(states).amax(-1))
    if isinstance(model, PPO):
        return torch.no_grad()(lambda states: model.policy.predict_values(states).squeeze(-1))
    if not isinstance(model, SAC | TD3):
        return None

    def value(states: Tensor) -> Tensor:
        actions = model.policy._predict(states, deterministic=True)
        return torch.cat(model.critic(states, actions), dim=1).amin(1)

    return torch.no_grad()(value)


def controller(model: BaseAlgorithm, deterministic: bool = True) -> Controller:
    """A learner's policy for imagined states: [N, S] to action vectors [N, A] (boxes in [-1, 1], choices one-hot).

    The learner's weights are read at each call, so the imagination always follows the present policy.

    Raises:
        HeedError: a policy that wants its observations normalised, which imagined states are not.
    """
    if model.get_vec_normalize_env() is not None:
        raise HeedError(
            "the policy sees normalised observations, and the guard imagines plain ones",
            "VecNormalize",
            "normalise below the guard, with gymnasium.wrappers.NormalizeObservation or TransformObservation",
        )
    space = model.action_space
    if isinstance(space, gym.spaces.Discrete):

        def choose(states: Tensor) -> Tensor:
            chosen = model.policy._predict(states.to(model.device), deterministic)
            return torch.nn.functional.one_hot(chosen.flatten(), int(space.n)).float().to(states.device)

        return torch.no_grad()(choose)

    low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)  # type: ignore[attr-defined] # a Box

    def act(states: Tensor) -> Tensor:
        found = model.policy._predict(states.to(model.device), deterministic).to(states.device)
        # SAC's and TD3's policies speak in [-1, 1]; PPO's in the environment's own units.
        return found if model.policy.squash_output else (2 * (found - low) / (high - low) - 1).clamp(-1, 1)

    return torch.no_grad()(act)
