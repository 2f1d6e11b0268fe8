"""Many guarded environments for learners of Stable-Baselines3, who have vector environments of their own kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from heed.errors import HeedError
from heed.guard.vector_guard import VectorGuard, info_of


class GuardedVecEnv(VecEnv):
    """The environments behind one `VectorGuard`, as a learner of Stable-Baselines3 takes them.

    One guard stands in front of all: one `Phases` learns from all of them, and hands all of them over. To run the
    environments in processes of their own, put `gymnasium.vector.AsyncVectorEnv` below the guard, with an overseer that
    judges by observation and action; guard and learner stay in this process.

    Args:
        guard: whose environments reset in the step in which they end (``autoreset_mode=AutoresetMode.SAME_STEP``), or
            when they are told to (``DISABLED``).

    Raises:
        HeedError: environments that lose a step to each reset, which the learner would take for one.

    >>> import gymnasium as gym
    >>> import heed.worlds
    >>> from heed.guard import GuardedSAC
    >>> from heed.oversight import local_overseer
    >>> make = lambda: gym.make("heed/PointHazard-v0")
    >>> envs = gym.vector.SyncVectorEnv([make, make], autoreset_mode=AutoresetMode.SAME_STEP)
    >>> guard = VectorGuard(envs, overseer_of=local_overseer)
    >>> learner = GuardedSAC("MlpPolicy", GuardedVecEnv(guard), device="cpu").learn(10)
    >>> learner.num_timesteps, learner.replay_buffer.actions.shape[1:]
    (10, (2, 2))
    """

    def __init__(self, guard: VectorGuard) -> None:
        mode = AutoresetMode(guard.metadata["autoreset_mode"])
        if mode is AutoresetMode.NEXT_STEP:
            raise HeedError(
                "these environments lose a step to each reset, and learners of Stable-Baselines3 know no such steps",
                "GuardedVecEnv",
                "make them with autoreset_mode=AutoresetMode.SAME_STEP",
            )
        self.guard, self._resets = guard, mode is AutoresetMode.DISABLED
        self._actions: NDArray[Any] = np.empty(0)
        super().__init__(guard.num_envs, guard.single_observation_space, guard.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observations, infos = self.guard.reset(seed=seeds)
        self.reset_infos = [info_of(infos, number) for number in range(self.num_envs)]
        self._reset_seeds()
        return np.array(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take in what is proposed, [N, A] or [N]."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Have it judged and take the step."""
        observations, rewards, terminated, truncated, infos = self.guard.step(self._actions)
        observations, ended = np.array(observations), np.logical_or(terminated, truncated)
        told = [info_of(infos, number) for number in range(self.num_envs)]
        for number in map(int, np.flatnonzero(ended)):
            info = told[number]
            last = observations[number].copy() if self._resets else info.pop("final_obs")
            if not self._resets:  # what is said beside is of the next episode
                guard, final = info.pop("guard"), info.pop("final_info", {})
                self.reset_infos[number] = info
                told[number] = {**final, "guard": guard}
            told[number]["terminal_observation"] = last
        for number, info in enumerate(told):
            info["TimeLimit.truncated"] = bool(truncated[number] and not terminated[number])
        if self._resets and ended.any():
            fresh, begun = self.guard.reset(options={"reset_mask": ended})
            observations[ended] = np.asarray(fresh)[ended]
            for number in map(int, np.flatnonzero(ended)):
                self.reset_infos[number] = info_of(begun, number)
        return observations, rewards.astype(np.float32), ended, told

    def close(self) -> None:
        """Close the environments."""
        self.guard.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of each environment."""
        values = self._below.get_attr(attr_name)
        return [values[number] for number in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of some environments."""
        values = list(self._below.get_attr(attr_name))
        for number in self._get_indices(indices):
            values[number] = value
        self._below.set_attr(attr_name, values)

    def env_method(
        self, method_name: str, *arguments: Any, indices: VecEnvIndices = None, **settings: Any
    ) -> list[Any]:
        """Call a method of every environment; the answers of some."""
        answers = self._below.call(method_name, *arguments, **settings)
        return [answers[number] for number in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:  # noqa: ARG002 - of none
        """Never: what is around an environment is below the guard."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """What each environment renders."""
        return list(self._below.call("render"))

    @property
    def _below(self) -> Any:
        """The vector environment itself: those of Gymnasium in one process and in many have the same methods."""
        return self.guard.env.unwrapped
