"""SMBPO: a learner that meets what is unsafe in its imagination, and nobody in front of it."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize

from heed.errors import HeedError
from heed.guard.decisions import Step
from heed.guard.labels import LabelCollector
from heed.guard.learners.mbpo import MixedReplayBuffer
from heed.guard.learners.sb3 import GuardedSAC
from heed.guard.models.models import Models, ModelsReport
from heed.guard.phases import Phase
from heed.guard.phases_config import PhasesConfig

logger = logging.getLogger(__name__)

ABSORBED = -math.inf
"""The reward of a step into an absorbing state, in the replay; it is what the penalty is once a batch is drawn."""


def absorbing_cost(least: float, most: float, gamma: float, horizon: int) -> float:
    """C, what each step in an absorbing unsafe state costs (Thomas et al. 2021).

    With rewards in [r_min, r_max], and catastrophes that are settled at most H steps before they happen, whatever is
    best is also safe from ``C > (r_max - r_min) / gamma^H - r_max`` on. It is taken at the bound, as the authors do.

    Args:
        least: r_min.
        most: r_max.
        gamma: the learner's discount, in (0, 1).
        horizon: H.

    >>> absorbing_cost(-1.0, 1.0, gamma=0.5, horizon=3)
    15.0
    """
    return (most - least) / gamma**horizon - most


class AbsorbingReplayBuffer(MixedReplayBuffer):
    """A replay in which catastrophes, real and imagined, lead to where every step costs C.

    Such a state is worth ``-C / (1 - gamma)`` for good: a step into it is kept as an end, and batches have that worth
    as its reward. C follows the least and the largest reward that harmless steps have brought so far, so that what was
    kept earlier is worth what is known now.

    Args:
        arguments: as `MixedReplayBuffer` takes them.
        gamma: the learner's discount.
        horizon: H of `absorbing_cost`.
        settings: as `MixedReplayBuffer` takes them.

    Raises:
        HeedError: a discount outside of (0, 1), or a horizon below 1.
    """

    def __init__(self, *arguments: Any, gamma: float, horizon: int, **settings: Any) -> None:
        if not 0 < gamma < 1 or horizon < 1:
            raise HeedError(
                f"a discount of {gamma}, catastrophes settled {horizon} steps before they happen",
                "--learner.gamma, --safe-horizon", "give a discount in (0, 1) and at least 1 step",
            )  # fmt: skip
        super().__init__(*arguments, **settings)
        self.discount, self.horizon = gamma, horizon
        self.bounds = (math.inf, -math.inf)

    @property
    def cost(self) -> float:
        """C; 0 before anything harmless was met."""
        least, most = self.bounds
        return absorbing_cost(least, most, self.discount, self.horizon) if most >= least else 0.0

    @property
    def penalty(self) -> float:
        """What an absorbing state is worth."""
        return -self.cost / (1 - self.discount)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add a step of each environment."""
        unsafe = np.array([bool(info.get("catastrophe", False)) for info in infos])
        harmless = np.asarray(reward, np.float64)[~unsafe]
        if harmless.size:
            self.bounds = (min(self.bounds[0], harmless.min()), max(self.bounds[1], harmless.max()))
        told = [{} if broken else info for broken, info in zip(unsafe, infos, strict=True)]  # absorbed, never cut off
        super().add(obs, next_obs, action, np.where(unsafe, ABSORBED, reward), np.asarray(done) | unsafe, told)

    def _normalize_reward(  # type: ignore[override] # a method here: it needs the penalty
        self, reward: NDArray[Any], env: VecNormalize | None = None
    ) -> NDArray[Any]:
        """Rewards of a batch, with what absorbing states are worth by now."""
        worth = np.where(reward == ABSORBED, self.penalty, reward).astype(reward.dtype)
        return super()._normalize_reward(worth, env)


class AbsorbingSAC(GuardedSAC):
    """SAC with an `AbsorbingReplayBuffer`."""

    def figures(self) -> dict[str, float]:
        """C as it is now."""
        return (
            {"absorbing_cost": self.replay_buffer.cost} if isinstance(self.replay_buffer, AbsorbingReplayBuffer) else {}
        )


class UnaskedModels:
    """Fits models to what happens to an agent that nobody guards; an observer, and where `ImaginedRollouts` looks.

    What is unsafe is known from catastrophes, and what is not from steps that came to no harm; labels of earlier runs
    may be added. The first fit is tried after ``oversight_steps``, when the others of a comparison are left alone.

    Args:
        models: are fitted.
        labels: are filled.
        config: when.
        seed: of the rollouts.

    Attributes:
        phase: autonomy once there are models.
        reports: of each fit.
        handed_over_at: None, as nothing ever is.
    """

    def __init__(self, models: Models, labels: LabelCollector, config: PhasesConfig, seed: int) -> None:
        self.models, self.labels, self.config, self.seed = models, labels, config, seed
        self.phase, self.steps, self.next_fit = Phase.OVERSIGHT, 0, config.oversight_steps
        self.reports: list[ModelsReport] = []
        self.handed_over_at: int | None = None

    def __call__(self, step: Step) -> None:
        """Take in a step; fit where it is time."""
        self.labels.add(step)
        self.steps += 1
        if self.steps >= self.next_fit:
            self._fit()

    def _fit(self) -> None:
        later = self.config.refit_every if self.reports else max(1, self.config.oversight_steps // 10)
        try:
            self.reports.append(self.models.fit(self.labels))
        except (HeedError, ValueError) as problem:
            logger.info("there is nothing new to imagine with for %d steps: %s", later, problem)
        else:
            self.phase, later = Phase.AUTONOMY, self.config.refit_every
        self.next_fit = self.steps + later
