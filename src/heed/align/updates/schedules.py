"""What changes from round to round by plan: the learning rate and the entropy bonus."""

from __future__ import annotations

from heed.align.config import AlignConfig


def learning_rate(config: AlignConfig, step: int) -> float:
    """The learning rate of a round: a linear rise, a plateau, a linear fall to a tenth.

    >>> config = AlignConfig(steps=10, learning_rate=1.0, warmup_steps=2, cooldown_steps=3)
    >>> [round(learning_rate(config, step), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.4, 0.1]
    """
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    done = step + 1 - (config.steps - config.cooldown_steps)
    fall = 1 - 0.9 * done / config.cooldown_steps if done > 0 else 1.0
    return config.learning_rate * rise * fall


def entropy_weight(config: AlignConfig, step: int) -> float:
    """The weight of the entropy bonus in a round: falls linearly to nothing where the cooldown begins.

    What was kept open is decided in the end.

    >>> config = AlignConfig(steps=10, entropy_beta=0.8, cooldown_steps=2)
    >>> [round(entropy_weight(config, step), 2) for step in range(10)]
    [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0]
    """
    return config.entropy_beta * max(0.0, 1 - step / max(1, config.steps - config.cooldown_steps))
