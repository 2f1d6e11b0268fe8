"""What an off-policy learner keeps of a guarded step: what was proposed, what was executed, what was blocked."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor

from heed.guard.learners.attached import check_actions_between
from heed.guard.learners.config import LearnsFrom
from heed.guard.learners.demonstrations import KEPT, Demonstrations, cloning_loss


@dataclass(frozen=True, eq=False)
class ExecutedStep:
    """One step of N environments, as replays keep it.

    Args:
        before: [N, S], as the environments gave it: what `VecNormalize` makes of it changes with its statistics.
        proposed: actions in the replay's units, [N, A] or choices [N].
        executed: the same of what was done.
        after: where that led, [N, S], likewise; where an episode ended, its last state and not the next one's first.
        rewards: that the environments paid, [N].
        ended: bool [N].
        blocked: bool [N].
        infos: what each environment said.
    """

    before: NDArray[Any]
    proposed: NDArray[Any]
    executed: NDArray[Any]
    after: NDArray[Any]
    rewards: NDArray[Any]
    ended: NDArray[np.bool_]
    blocked: NDArray[np.bool_]
    infos: list[dict[str, Any]]

    def add_blocked(self, buffer: ReplayBuffer, price: float, ends: bool) -> None:
        """Add each blocked proposal to a replay, with a price.

        A replay takes one row for each environment: those that were not blocked add what was executed, with its
        reward.

        Args:
            buffer: the replay.
            price: of a blocked proposal, in units of the rewards.
            ends: the proposal is the end of an episode, with the price as its reward; else it led where what was
                executed in its place led, for that reward and the price.
        """
        if not self.blocked.any():
            return
        actions, after, ended = np.array(self.executed), np.array(self.after), np.array(self.ended)
        actions[self.blocked] = self.proposed[self.blocked]
        priced = self.rewards + price * self.blocked
        told = list(self.infos)
        if ends:
            after[self.blocked], ended[self.blocked], priced[self.blocked] = self.before[self.blocked], True, price
            told = [{} if blocked else info for blocked, info in zip(self.blocked, self.infos, strict=True)]
        buffer.add(self.before, after, actions, priced, ended, told)


class GuardAware:
    """Puts the guard's decision into the replay of an off-policy learner of Stable-Baselines3.

    Mix it in front: ``class GuardedSAC(GuardAware, SAC)``. The choice is explicit, as `learns_from`:

    - ``executed``: the executed action with the real outcome, so that critic and model see the truth.
    - ``both``: that, and for each blocked step also the proposed action at the price of ``block_penalty``, so that the
      policy becomes safe without the guard.
    - ``proposed``: the proposed action with the executed one's outcome, as a learner that knows of no guard stores it.

    Whatever it learns from, steps in which an overseer's own action was executed (`Decision.demonstrated`) are kept as
    demonstrations as well. Each step of the policy's optimiser then follows the learner's own loss and, times
    ``demonstration_weight``, that of `imitation` on as many of them as a batch has. Before the first one nothing is
    drawn or added.

    Attributes:
        learns_from: one of these.
        block_penalty: the price of a proposal that was blocked, where both are learnt from.
        block_ends: such a proposal is the end of an episode, with the price as its reward; else it led where what was
            executed in its place led, for that reward and the price.
        demonstration_weight: of the loss of `imitation`; 0 leaves it out.
        demonstrations: so far.
    """

    learns_from: LearnsFrom = "both"
    block_penalty: float = -0.2
    block_ends: bool = False
    demonstration_weight: float = 0.4

    def _setup_model(self) -> None:
        """Refuse what stands between the learner and its guard and changes actions."""
        check_actions_between(self.env)  # type: ignore[attr-defined] # the learner's own
        super()._setup_model()  # type: ignore[misc] # mixed in
        self.demonstrations = Demonstrations(min(KEPT, self.buffer_size))  # type: ignore[attr-defined] # the learner's own
        self._policy_optimizer.register_step_pre_hook(lambda *_: self._imitate())

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, where nothing changes actions between the learner and its guard.

        Raises:
            HeedError: names the wrapper that does.
        """
        check_actions_between(env)
        super().set_env(env, force_reset)  # type: ignore[misc] # mixed in

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
        taken = self._taken(buffer_action, new_obs, reward, dones, infos)
        stored = taken.proposed if self.learns_from == "proposed" else taken.executed
        super()._store_transition(replay_buffer, stored, new_obs, reward, dones, infos)  # type: ignore[misc] # mixed in
        if self.learns_from == "both":
            taken.add_blocked(replay_buffer, self.block_penalty, self.block_ends)
        for number, info in enumerate(infos):
            told = info.get("guard", {})
            if told.get("demonstrated", False):
                self.demonstrations.add(taken.before[number], taken.executed[number], told["key"])
        self._learn_of(taken)

    def figures(self) -> dict[str, float]:
        """What a learner tells of itself beside its actions, for a run's metrics; nothing by default."""
        return {}

    def imitation(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The loss of a policy that does not do what was shown: `cloning_loss` of its deterministic actions.

        Args:
            observations: [N, S].
            actions: that were shown there, as the replay holds them: [N, A], or choices [N].
        """
        learner: Any = self
        actions = actions.float()
        with torch.no_grad():
            values = learner.critic.q1_forward(observations, actions)
        return cloning_loss(learner.policy._predict(observations, deterministic=True), actions, values)

    @property
    def _policy_optimizer(self) -> torch.optim.Optimizer:
        """Whose steps move the policy."""
        return self.actor.optimizer  # type: ignore[attr-defined] # the learner's own

    def _imitate(self) -> None:
        """Add the gradient of `imitation` to that of the learner's own loss, where the policy is about to move."""
        if not self.demonstrations or not self.demonstration_weight:
            return
        learner: Any = self
        shown = self.demonstrations.sample(learner.batch_size, learner.device, learner._vec_normalize_env)
        learning = learner.policy.training
        learner.policy.set_training_mode(False)  # statistics of batch norm are of the replay's batches, not of these
        loss = self.imitation(*shown)
        learner.policy.set_training_mode(learning)
        (self.demonstration_weight * loss).backward()
        learner.logger.record_mean("train/imitation_loss", loss.item())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "demonstrations"]  # type: ignore[misc] # mixed in

    def _learn_of(self, taken: ExecutedStep) -> None:
        """For learners that keep more of a step than its reward."""

    def _taken(
        self,
        buffer_action: NDArray[Any],
        new_obs: Any,
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> ExecutedStep:
        learner: Any = self
        before, after, normalises = learner._last_obs, new_obs, learner._vec_normalize_env
        if normalises is not None:  # replays keep what the environments gave, and normalise what they draw
            before, after = learner._last_original_obs, normalises.get_original_obs()
            reward = normalises.get_original_reward()
        executed, after = np.array(buffer_action), np.array(after)
        stopped = [info.get("guard", {}).get("decision") == "block" for info in infos]
        blocked = np.array([stop and _was_kept_from(info["guard"]) for stop, info in zip(stopped, infos, strict=True)])
        for row, info in enumerate(infos):
            if stopped[row]:
                executed[row] = self._in_buffer(info["guard"]["executed"])
            if "terminal_observation" in info:
                last = info["terminal_observation"]
                after[row] = last if normalises is None else normalises.unnormalize_obs(last)
        return ExecutedStep(
            deepcopy(before), buffer_action, executed, after, reward, dones.astype(bool), blocked, infos
        )

    def _in_buffer(self, action: Any) -> Any:
        """An environment's action as the replay holds it: boxes scaled to [-1, 1]."""
        if isinstance(self.action_space, gym.spaces.Discrete):  # type: ignore[attr-defined] # the learner's own
            return action
        return self.policy.scale_action(np.asarray(action))  # type: ignore[attr-defined] # the learner's own


def _was_kept_from(told: dict[str, Any]) -> bool:
    """Whether a judge kept the learner from its action; not where nobody judged, or where a shadow only watched."""
    return bool(told["judged"]) and not np.array_equal(told["proposed"], told["executed"])
