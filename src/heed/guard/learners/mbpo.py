"""Imagined rollouts for a learner (MBPO), which end with a penalty where the blockers see danger (SMBPO)."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from heed.errors import HeedError
from heed.guard.labels import LabelCollector
from heed.guard.learners.sb3 import controller
from heed.guard.models.models import Models
from heed.guard.phases import Phase
from heed.guard.planning.imagination import Imagination
from heed.runs.state import State


class Rollouts:
    """What the policy meets in the model, as rows to learn from.

    Short rollouts from states that were really met keep the model's error small (MBPO, Janner et al. 2019). Each keeps
    its member of the model. A step that the blockers find dangerous, or on which the model is lost, is a rollout's last
    and brings ``penalty`` in place of its reward (SMBPO, Thomas et al. 2021): unsafe states absorb.

    SMBPO's absorbing state costs C in every step, so it is worth ``-C / (1 - gamma)``; from ``C > (r_max - r_min) /
    gamma^H - r_max`` on, with rewards in [r_min, r_max] and catastrophes that are settled at most H steps before they
    happen, whatever is best is also safe. ``penalty`` is that worth. In practice any value below what every harmless
    way can come to does it, and does not stretch the critics' scale so far.

    Args:
        imagination: the model, the blockers, what ends an episode harmlessly, and the policy to follow, which draws its
            actions as the learner does.
        threshold: danger from which a step is a rollout's last.
        penalty: the reward of such a step.
        horizon: steps of a rollout at most.

    Raises:
        HeedError: a horizon below 1.
    """

    def __init__(self, imagination: Imagination, threshold: float, penalty: float, horizon: int) -> None:
        if horizon < 1:
            raise HeedError(f"rollouts of {horizon} steps", "--imagined-horizon", "give at least 1")
        self.imagination, self.threshold, self.penalty, self.horizon = imagination, threshold, penalty, horizon

    @torch.no_grad()
    def rows(self, starts: Tensor) -> ReplayBufferSamples:
        """Roll the policy from states.

        Args:
            starts: [N, S].

        Returns:
            The n <= N x horizon steps, the first of every rollout in front: observations and next ones [n, S], action
            vectors [n, A], dones and rewards [n, 1].
        """
        seeing = self.imagination
        members, count = seeing.dynamics.members, len(starts)
        each = -(-count // members)
        states = starts[torch.arange(members * each) % count].view(members, each, -1)
        alive = (torch.arange(members * each) < count).view(members, each)
        rows: list[tuple[Tensor, ...]] = []
        for step in range(self.horizon):
            actions = seeing.policy(states.flatten(0, 1)).view(members, each, -1)
            following, rewards = seeing.dynamics.step(states, actions, seeing.generator)
            flagged = (
                seeing.danger(states, actions, following, torch.tensor(step)) >= self.threshold
            ) | ~rewards.isfinite()
            ended = flagged
            if seeing.termination is not None:
                ended = ended | seeing.termination(following.flatten(0, 1)).view(members, each)
            rewards = torch.where(flagged, self.penalty, rewards)
            following = torch.where(following.isfinite(), following, states)  # lost: what follows does not count
            columns = (states, actions, following, ended[..., None].float(), rewards[..., None])
            rows.append(tuple(column[alive] for column in columns))
            alive = alive & ~ended
            states = following
            if not bool(alive.any()):
                break
        return ReplayBufferSamples(*(torch.cat(column) for column in zip(*rows, strict=True)))


class MixedReplayBuffer(ReplayBuffer):
    """A replay whose batches hold a fixed share of what happened and the rest of what was imagined.

    For ``replay_buffer_class`` of an off-policy learner of Stable-Baselines3. While nothing has been imagined all of a
    batch is real.

    Args:
        arguments: as `stable_baselines3.common.buffers.ReplayBuffer` takes them.
        real_share: of each batch, rounded to rows, in (0, 1].
        kept: imagined rows; the oldest make room, as policy and model move on from them.
        settings: as `stable_baselines3.common.buffers.ReplayBuffer` takes them.

    Raises:
        HeedError: a share that is none, or no room.
    """

    def __init__(self, *arguments: Any, real_share: float = 0.5, kept: int = 100_000, **settings: Any) -> None:
        if not 0 < real_share <= 1:
            raise HeedError(f"the real share is {real_share}", "--real-share", "give a share in (0, 1]")
        if kept < 1:
            raise HeedError(f"room for {kept} imagined rows", "MixedReplayBuffer", "give at least 1")
        super().__init__(*arguments, **settings)
        self.real_share, self.kept = real_share, kept
        self.imagined: ReplayBufferSamples | None = None

    def imagine(self, rows: ReplayBufferSamples) -> None:
        """Add imagined rows, in the replay's units: boxes scaled to [-1, 1], choices as whole numbers [n, 1]."""
        columns = zip(*(part[:5] for part in (self.imagined, rows) if part is not None), strict=True)
        self.imagined = ReplayBufferSamples(*(torch.cat(column)[-self.kept :] for column in columns))

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """A batch: its real rows first, then the imagined ones."""
        if self.imagined is None:
            return super().sample(batch_size, env)
        real = max(1, round(self.real_share * batch_size))
        met = super().sample(real, env)
        chosen = torch.randint(len(self.imagined.rewards), (batch_size - real,))
        drawn = ReplayBufferSamples(*(column[chosen] for column in self.imagined[:5]))
        paid = self._normalize_reward(drawn.rewards.cpu().numpy(), env)  # as those that were met
        columns = zip(met[:5], drawn._replace(rewards=torch.as_tensor(paid))[:5], strict=True)
        return ReplayBufferSamples(*(torch.cat([seen, thought.to(seen)]) for seen, thought in columns))


class Imaginable(Protocol):
    """What rollouts are imagined with; `heed.guard.Phases` is one."""

    models: Models
    labels: LabelCollector
    phase: Phase
    seed: int


class ImaginedRollouts(BaseCallback):
    """Feeds imagined rollouts to an off-policy learner, once there are models to imagine with.

    The learner needs a `MixedReplayBuffer`; give this as ``callback`` to its ``learn``. Rollouts begin in states that
    the learner has been in.

    Args:
        phases: the models, and whether they are in force, which is autonomy.
        per_step: imagined rows for each step of the environment, at most (rollouts may end early).
        penalty: see `Rollouts`.
        horizon: steps of a rollout.
        every: steps of the environment between two rounds.

    Raises:
        HeedError: numbers below 1; once learning starts, a learner without such a replay.
    """

    def __init__(self, phases: Imaginable, per_step: int, penalty: float, horizon: int = 3, every: int = 50) -> None:
        super().__init__()
        if min(per_step, horizon, every) < 1:
            raise HeedError(f"{per_step} rows, {horizon} steps, every {every}", "--imagined", "give at least 1 of each")
        self.phases, self.per_step, self.penalty = phases, per_step, penalty
        self.horizon, self.every = horizon, every
        self.generator = torch.Generator().manual_seed(phases.seed + 2)

    def _on_training_start(self) -> None:
        replay = self.model.replay_buffer if isinstance(self.model, OffPolicyAlgorithm) else None
        if not isinstance(replay, MixedReplayBuffer):
            raise HeedError(
                "the learner has no room for what is imagined",
                "ImaginedRollouts",
                "give replay_buffer_class=MixedReplayBuffer",
            )
        self.replay = replay

    def _on_step(self) -> bool:
        if self.phases.phase is Phase.AUTONOMY and self.n_calls % self.every == 0:
            rows = self.rows()
            if isinstance(self.model.action_space, gym.spaces.Discrete):
                rows = rows._replace(actions=rows.actions.argmax(-1, keepdim=True))
            self.replay.imagine(rows)
        return True

    def state(self) -> State:
        """When the next round is due, and its chance."""
        return {"calls": self.n_calls, "generator": self.generator.get_state()}

    def restore(self, state: State) -> None:
        """Go on from where this state was given."""
        self.n_calls = state["calls"]
        self.generator.set_state(state["generator"])

    def rows(self) -> ReplayBufferSamples:
        """One round of rollouts under the present policy and models."""
        models, policy = self.phases.models, controller(self.model, deterministic=False)
        where = (models.reach, models.termination, self.generator)
        rollouts = Rollouts(
            Imagination(models.dynamics, models, policy, 1, *where, wary=models.most_alarmed),
            models.threshold,
            self.penalty,
            self.horizon,
        )
        states = self.phases.labels.transitions.tensors().states
        states = states[states.isfinite().all(1)]
        count = -(-self.per_step * self.every // self.horizon)
        return rollouts.rows(states[torch.randint(len(states), (count,), generator=self.generator)])
