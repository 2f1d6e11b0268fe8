"""A look at the next round's replies: where every objective is worse beyond chance, the round before is undone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from heed.align import distributed


class FallCheck:
    """Keeps the policy as it was before a round's updates, until the replies of the policy after them are known.

    How far a round moves the policy on its own replies says nothing of replies that it did not draw. Those of the next
    round do: where not one objective has gained and each has lost more than chance explains, nothing speaks for the
    round. The policy and the optimiser's moments go back to before it, and the updates that follow are half as long;
    each round that stands doubles them again, up to the planned length.

    Args:
        optimizer: AdamW over ``parameters``.
        parameters: what it trains.
        max_fall: standard errors by which every objective must have fallen, as of many prompts; 0 never looks.

    Attributes:
        share: of the planned learning rate.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> check = FallCheck(torch.optim.AdamW([weight]), [weight], max_fall=3.0)
    >>> check.keep(torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]))
    >>> _ = weight.data.fill_(9.0)
    >>> check.fell(torch.tensor([[-9.0, -8.0, -7.0], [5.0, 6.0, 7.0]]))
    False
    >>> check.fell(torch.tensor([[-9.0, -8.0, -7.0], [-5.0, -6.0, -7.0]]))
    True
    >>> check.go_back()
    >>> weight.item(), check.share
    (0.0, 0.5)
    """

    def __init__(
        self, optimizer: torch.optim.AdamW, parameters: Sequence[torch.nn.Parameter], max_fall: float = 0.0
    ) -> None:
        self.optimizer, self.parameters, self.max_fall = optimizer, list(parameters), max_fall
        self.share = 1.0
        self._kept: dict[str, Any] | None = None

    def fell(self, values: Tensor) -> bool:
        """Whether every objective is worse than in the round before, beyond chance.

        Args:
            values: of the fresh replies, [K, prompts] (a prompt's mean; NaN where it is not scored), of all processes.
                An objective that was not scored twice in both rounds, or that is the same constant in both, has no say.
        """
        if self.max_fall <= 0 or self._kept is None:
            return False
        losses = []
        for before, now in zip(self._kept["values"], values.cpu(), strict=True):
            if (loss := _loss(before, now)) is not None:
                losses.append(loss > self.max_fall)
        return bool(losses) and all(losses)

    def keep(self, values: Tensor) -> None:
        """Remember the policy that drew replies of these values [K, prompts], and the moments, before it is updated."""
        if self.max_fall <= 0:
            return
        moments = [
            {name: value.clone() for name, value in self.optimizer.state.get(p, {}).items()} for p in self.parameters
        ]
        weights = [p.detach().clone() for p in self.parameters]
        self._kept = {"values": values.cpu().clone(), "weights": weights, "moments": moments}

    def stands(self) -> None:
        """The round before is left as it is."""
        self.share = min(1.0, 2 * self.share)

    @torch.no_grad()
    def go_back(self) -> None:
        """To the policy and the moments that were kept, and on with steps of half the length."""
        assert self._kept is not None
        for parameter, weight, moments in zip(
            self.parameters, self._kept["weights"], self._kept["moments"], strict=True
        ):
            parameter.copy_(weight)
            if moments:
                self.optimizer.state[parameter].update({name: value.clone() for name, value in moments.items()})
            else:
                self.optimizer.state.pop(parameter, None)
        self.share /= 2

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        return {"share": self.share, "kept": self._kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.share, kept = state["share"], state["kept"]
        if kept is not None:  # a checkpoint is read on the CPU, where Adam's count of steps stays
            moments = [
                {name: value if name == "step" else value.to(parameter.device) for name, value in held.items()}
                for parameter, held in zip(self.parameters, kept["moments"], strict=True)
            ]
            kept = {**kept, "moments": moments}
        self._kept = kept


def by_prompt(values: Tensor, group: int) -> Tensor:
    """Means over the completions of each prompt, of all processes.

    Args:
        values: [K, B], a prompt's completions beside each other; NaN where not scored.
        group: completions of a prompt.

    Returns:
        [K, prompts].

    >>> by_prompt(torch.tensor([[1.0, 3.0, 5.0, float("nan")]]), group=2)
    tensor([[2., 5.]])
    """
    means = values.detach().unflatten(1, (-1, group)).nanmean(2)
    return torch.cat(distributed.gather(means.cpu()), dim=1)


def _loss(before: Tensor, now: Tensor) -> float | None:
    """By how many standard errors a mean has fallen; None where that is not known, or nothing ever changes.

    Of few prompts a mean strays further: a t statistic (Welch) is told as the normal one of the same probability.
    """
    known, known_now = (values[~values.isnan()].double() for values in (before, now))
    if min(len(known), len(known_now)) < 2:
        return None
    fall = float(known.mean() - known_now.mean())
    first, second = (float(values.var()) / len(values) for values in (known, known_now))
    if first + second == 0:
        return math.copysign(math.inf, fall) if fall else None
    freedom = (first + second) ** 2 / (first**2 / (len(known) - 1) + second**2 / (len(known_now) - 1))
    return float(stats.norm.isf(stats.t.sf(fall / (first + second) ** 0.5, freedom)))
