"""Which learner proposes actions, and what it learns from, as one declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heed.runs.bounds import ANY, COUNT, PART, POSITIVE, PRICE, SHARE, WHOLE, Bounds

LearnsFrom = Literal["executed", "both", "proposed"]


@dataclass(frozen=True)
class LearnerConfig:
    """Which learner proposes actions, and what it learns from.

    Args:
        learner: auto, sac, td3, dqn or ppo.
        learns_from: executed, both or proposed (see the docs, "Learners"); None takes both, proposed for ppo, and
            executed where return and safety are balanced.
        block_penalty: price of a blocked proposal, where both are learnt from.
        block_ends: a blocked proposal is learnt as the end of an episode, with the price as its reward; else as leading
            where what was executed led, for that reward and the price.
        demonstration_weight: of imitating what people showed when they took over, or gave an action with a block; 0
            leaves it out, None takes 0.4 for sac and td3 and 1 for dqn. Not for ppo.
        balance: of return and safety as two objectives of sac's actor: none, gapo or pgapo.
        preference: of pgapo: weights of return and safety that sum to 1.
        imagined: rows imagined for each step of autonomy, for the learner to learn from; 0 imagines none.
        imagined_horizon: steps of an imagined rollout.
        imagined_penalty: reward of an imagined step into danger, which ends the rollout.
        real_share: of each batch that the learner learns from, where rows are imagined.
        gradient_steps: of the learner for each step of the environment.
        rollout_steps: of ppo between its updates.
        learning_rate: of the learner.
        learning_starts: steps of random proposals.
        batch_size: of the learner.
        entropy: sac's first weight of entropy, which it tunes from there; 1, as is usual, drowns small rewards for
            long.
        gamma: the learner's discount.
        hidden: units of each of the learner's two hidden layers.
    """

    learner: str = "auto"
    learns_from: LearnsFrom | None = None
    block_penalty: float = -0.2
    block_ends: bool = False
    demonstration_weight: float | None = None
    balance: Literal["none", "gapo", "pgapo"] = "none"
    preference: list[float] | None = None
    imagined: int = 0
    imagined_horizon: int = 3
    imagined_penalty: float = -5.0
    real_share: float = 0.5
    gradient_steps: int = 1
    rollout_steps: int = 512
    learning_rate: float = 1e-3
    learning_starts: int = 500
    batch_size: int = 128
    entropy: float = 0.1
    gamma: float = 0.98
    hidden: int = 128


LEARNER_BOUNDS = {
    "block_penalty": PRICE, "demonstration_weight": WHOLE, "imagined": WHOLE, "imagined_horizon": COUNT,
    "imagined_penalty": ANY, "real_share": PART, "gradient_steps": COUNT, "rollout_steps": Bounds(2),
    "learning_rate": POSITIVE, "learning_starts": WHOLE, "batch_size": COUNT,
    "entropy": POSITIVE, "gamma": SHARE, "hidden": COUNT,
}  # fmt: skip
