"""How the risks of many imagined futures become one number: strategies with one method each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from heed.errors import HeedError


class RiskStrategy(Protocol):
    """Combines the risks of one plan's futures."""

    def combine(self, risks: Tensor) -> Tensor:
        """Risks [..., N] of N futures to one risk [...]."""
        ...


@dataclass(frozen=True)
class Worst:
    """``max_n r_n``: one bad future is enough."""

    def combine(self, risks: Tensor) -> Tensor:
        """Risks [..., N] to [...]."""
        return risks.amax(-1)


@dataclass(frozen=True)
class Mean:
    """``mean_n r_n``: risk-neutral."""

    def combine(self, risks: Tensor) -> Tensor:
        """Risks [..., N] to [...]."""
        return risks.mean(-1)


@dataclass(frozen=True)
class CVaR:
    """Conditional value at risk: the mean of the worst ``ceil(alpha N)`` futures (Rockafellar & Uryasev 2000).

    Args:
        alpha: share of the futures that counts, in (0, 1]; 1 is the mean.

    >>> import torch
    >>> CVaR(0.5).combine(torch.tensor([0.0, 0.2, 0.4, 1.0])).item()
    0.699999988079071
    """

    alpha: float = 0.25

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.alpha <= 1:
            raise HeedError(f"alpha is {self.alpha}", "--risk cvar", "give a share in (0, 1]")

    def combine(self, risks: Tensor) -> Tensor:
        """Risks [..., N] to [...]."""
        worst = math.ceil(self.alpha * risks.shape[-1] - 1e-9)
        return risks.topk(worst, dim=-1).values.mean(-1)


def risk_strategy(text: str) -> RiskStrategy:
    """A strategy by its name: max, mean, cvar or cvar:ALPHA.

    Raises:
        HeedError: no such strategy.

    >>> risk_strategy("cvar:0.1")
    CVaR(alpha=0.1)
    """
    name, _, rest = text.partition(":")
    try:
        if name == "cvar":
            return CVaR(float(rest)) if rest else CVaR()
        named: dict[str, RiskStrategy] = {"max": Worst(), "mean": Mean()}
        return named[text]
    except (KeyError, ValueError):
        raise HeedError(f"'{text}' is no way to combine risks", "--risk", "take max, mean or cvar:SHARE") from None
