"""Ways to search plans: CEM, iCEM and MPPI over boxes, CEM over choices. Each proposes, and learns from utilities."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from heed.errors import HeedError


class Search(Protocol):
    """Proposes plans, is told how good they were, proposes better ones."""

    horizon: int
    size: int

    def reset(self) -> None:
        """Forget what earlier states taught, as at the start of an episode."""
        ...

    def begin(self) -> None:
        """Start at the next state: what was learnt, moved on by one step."""
        ...

    def propose(self, iteration: int, generator: torch.Generator | None = None) -> Tensor:
        """Plans [N, H, A] of an iteration, counted from 0 at each state."""
        ...

    def update(self, plans: Tensor, utility: Tensor) -> None:
        """Learn from plans [N, H, A] and how good each is [N]; minus infinity is worse than all and teaches nothing."""
        ...


def coloured_noise(count: int, horizon: int, size: int, exponent: float, generator: torch.Generator | None) -> Tensor:
    """Gaussian noise of unit variance whose power falls with frequency as ``f**-exponent`` (Timmer & Koenig 1995).

    Args:
        count: N.
        horizon: H.
        size: A.
        exponent: 0 is white, 1 pink, 2 red.
        generator: of the draws.

    Returns:
        [N, H, A], correlated along H.

    >>> noise = coloured_noise(4000, 12, 1, 2.0, torch.Generator().manual_seed(0))
    >>> round(float(noise.std()), 1), bool((noise[:, 1:] * noise[:, :-1]).mean() > 0.5)
    (1.0, True)
    """
    if exponent == 0 or horizon == 1:
        return torch.randn(count, horizon, size, generator=generator)
    frequencies = torch.fft.rfftfreq(horizon)
    frequencies[0] = 1 / horizon
    scale = frequencies ** (-exponent / 2)
    parts = torch.randn(2, count, size, len(scale), generator=generator) * scale
    parts[1, ..., 0] = 0  # the mean is real
    parts[0, ..., 0] *= math.sqrt(2)
    weights = torch.ones(len(scale)) * 2
    weights[0] = 1
    if horizon % 2 == 0:  # so is the fastest frequency
        parts[1, ..., -1] = 0
        parts[0, ..., -1] *= math.sqrt(2)
        weights[-1] = 1
    # Parseval: each frequency gives 2 scale^2, twice unless it is its own mirror.
    variance = (2 * weights * scale.square()).sum() / horizon**2
    noise = torch.fft.irfft(torch.complex(parts[0], parts[1]), n=horizon, dim=-1)
    return (noise / variance.sqrt()).transpose(1, 2)


class CEM:
    """Cross-entropy method: a Gaussian over plans, drawn, cut to the elites, fitted again (Rubinstein 1999).

    Args:
        horizon: H.
        size: A.
        samples: N, of the first iteration.
        elites: plans that the Gaussian is fitted to.
        deviation: of every action at first, in half-widths of the box.
        momentum: share of the old mean and deviation that stays.

    Raises:
        HeedError: fewer samples than elites, or too few of either.
    """

    exponent = 0.0

    def __init__(
        self,
        horizon: int,
        size: int,
        samples: int = 64,
        elites: int = 8,
        deviation: float = 0.7,
        momentum: float = 0.1,
    ) -> None:
        if not 2 <= elites <= samples:
            raise HeedError(f"{elites} elites of {samples} samples", "--plan-samples", "give at least two, at most all")
        self.horizon, self.size, self.samples, self.elites = horizon, size, samples, elites
        self.start, self.momentum = deviation, momentum
        self.reset()

    def reset(self) -> None:
        """Forget what earlier states taught."""
        self.mean = torch.zeros(self.horizon, self.size)
        self.deviation = torch.full_like(self.mean, self.start)

    def begin(self) -> None:
        """Move the mean on by one step; widen again."""
        self.mean = torch.cat([self.mean[1:], self.mean[-1:]])
        self.deviation = torch.full_like(self.mean, self.start)

    def count(self, iteration: int) -> int:  # noqa: ARG002 - for those that draw fewer each time
        """Plans drawn in an iteration."""
        return self.samples

    def propose(self, iteration: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the Gaussian, cut to the box, [N, H, A]."""
        noise = coloured_noise(self.count(iteration), self.horizon, self.size, self.exponent, generator)
        return (self.mean + self.deviation * noise).clamp(-1, 1)

    def update(self, plans: Tensor, utility: Tensor) -> None:
        """Fit the Gaussian to the elites among those that are not worse than all."""
        elites = self.best(plans, utility)
        if not len(elites):
            return
        keep = self.momentum
        self.mean = keep * self.mean + (1 - keep) * elites.mean(0)
        self.deviation = keep * self.deviation + (1 - keep) * elites.std(0, correction=0)

    def best(self, plans: Tensor, utility: Tensor) -> Tensor:
        """The elites [n, H, A], the best first."""
        order = utility.topk(min(self.elites, len(plans))).indices
        return plans[order[utility[order].isfinite()]]


class ICEM(CEM):
    """Improved CEM (Pinneri et al. 2020): coloured noise, elites kept and moved on, fewer draws each iteration.

    Args:
        horizon: H.
        size: A.
        samples: N, of the first iteration.
        elites: plans that the Gaussian is fitted to.
        deviation: of every action at first, in half-widths of the box.
        momentum: share of the old mean and deviation that stays.
        exponent: of the noise's colour; 2 makes plans that keep their course.
        kept: share of the elites that stays for the next iteration, and, moved on, for the next state.
        decay: each iteration draws this many times fewer plans, though never fewer than twice the elites.
    """

    def __init__(
        self,
        horizon: int,
        size: int,
        samples: int = 64,
        elites: int = 8,
        deviation: float = 0.7,
        momentum: float = 0.1,
        exponent: float = 2.0,
        kept: float = 0.3,
        decay: float = 1.25,
    ) -> None:
        self.exponent, self.kept, self.decay = exponent, kept, decay
        super().__init__(horizon, size, samples, elites, deviation, momentum)

    def reset(self) -> None:
        """Forget what earlier states taught, the elites too."""
        super().reset()
        self.elite_plans = torch.zeros(0, self.horizon, self.size)

    def begin(self) -> None:
        """Move mean and kept elites on by one step; widen again."""
        super().begin()
        self.elite_plans = torch.cat([self.elite_plans[:, 1:], self.elite_plans[:, -1:]], dim=1)

    def count(self, iteration: int) -> int:
        """Plans drawn in an iteration."""
        return max(2 * self.elites, round(self.samples / self.decay**iteration))

    def propose(self, iteration: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the Gaussian, the kept elites, and after the first iteration the mean itself, [N, H, A]."""
        drawn = super().propose(iteration, generator)
        return torch.cat([drawn, self.elite_plans, *([self.mean[None]] if iteration else [])])

    def update(self, plans: Tensor, utility: Tensor) -> None:
        """Fit the Gaussian to the elites, and keep the best of them."""
        super().update(plans, utility)
        self.elite_plans = self.best(plans, utility)[: max(1, int(self.kept * self.elites))]


class MPPI:
    """Model-predictive path integral control: the mean of all plans, weighted by ``exp(utility / temperature)``.

    Williams et al. 2017. The utilities are taken in their own deviations, so that the temperature has no unit.

    Args:
        horizon: H.
        size: A.
        samples: N.
        deviation: of the noise, in half-widths of the box.
        temperature: in deviations of the utilities; smaller follows the best more closely.
        exponent: of the noise's colour.

    Raises:
        HeedError: a temperature or a deviation that is not positive.
    """

    def __init__(
        self,
        horizon: int,
        size: int,
        samples: int = 64,
        deviation: float = 0.7,
        temperature: float = 0.2,
        exponent: float = 1.0,
    ) -> None:
        if temperature <= 0 or deviation <= 0:
            raise HeedError(f"temperature {temperature}, deviation {deviation}", "MPPI", "give positive numbers")
        self.horizon, self.size, self.samples = horizon, size, samples
        self.deviation, self.temperature, self.exponent = deviation, temperature, exponent
        self.reset()

    def reset(self) -> None:
        """Forget what earlier states taught."""
        self.mean = torch.zeros(self.horizon, self.size)

    def begin(self) -> None:
        """Move the mean on by one step."""
        self.mean = torch.cat([self.mean[1:], self.mean[-1:]])

    def propose(self, iteration: int, generator: torch.Generator | None = None) -> Tensor:
        """The mean with noise, cut to the box, and after the first iteration the mean itself, [N, H, A]."""
        noise = coloured_noise(self.samples, self.horizon, self.size, self.exponent, generator)
        plans = (self.mean + self.deviation * noise).clamp(-1, 1)
        return torch.cat([plans, self.mean[None]]) if iteration else plans

    def update(self, plans: Tensor, utility: Tensor) -> None:
        """The weighted mean becomes the mean."""
        usable = utility.isfinite()
        if not bool(usable.any()):
            return
        plans, utility = plans[usable], utility[usable]
        spread = utility.std(correction=0).clamp(min=1e-6)
        weights = torch.softmax((utility - utility.amax()) / (self.temperature * spread), dim=0)
        self.mean = (weights[:, None, None] * plans).sum(0)


class ChoiceCEM:
    """CEM over discrete actions: at each step of the plan the probability of each choice.

    Where all plans of the horizon are no more than N, they are enumerated instead of drawn.

    Args:
        horizon: H.
        size: A, number of choices.
        samples: N.
        elites: plans that the probabilities are fitted to.
        momentum: share of the old probabilities that stays.
        least: probability that every choice keeps.
    """

    def __init__(
        self,
        horizon: int,
        size: int,
        samples: int = 64,
        elites: int = 8,
        momentum: float = 0.1,
        least: float = 0.02,
    ) -> None:
        if not 1 <= elites <= samples or not 0 <= least * size < 1:
            raise HeedError(f"{elites} elites of {samples}, least {least}", "--plan-samples", "give fewer elites")
        self.horizon, self.size, self.samples, self.elites = horizon, size, samples, elites
        self.momentum, self.least = momentum, least
        self.reset()

    def reset(self) -> None:
        """Forget what earlier states taught: every choice is as likely."""
        self.probabilities = torch.full((self.horizon, self.size), 1 / self.size)

    def begin(self) -> None:
        """Move the probabilities on by one step; the last is open again."""
        last = torch.full((1, self.size), 1 / self.size)
        self.probabilities = torch.cat([self.probabilities[1:], last])

    def propose(self, iteration: int, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002 - as all do
        """One-hot plans [N, H, A]: all there are, or draws."""
        if self.size**self.horizon <= self.samples:
            each = torch.cartesian_prod(*[torch.arange(self.size)] * self.horizon).view(-1, self.horizon)
        else:
            each = torch.multinomial(self.probabilities, self.samples, replacement=True, generator=generator).T
        return torch.nn.functional.one_hot(each, self.size).float()

    def update(self, plans: Tensor, utility: Tensor) -> None:
        """The elites' frequencies become the probabilities."""
        order = utility.topk(min(self.elites, len(plans))).indices
        elites = plans[order[utility[order].isfinite()]]
        if not len(elites):
            return
        result = self.momentum * self.probabilities + (1 - self.momentum) * elites.mean(0)
        self.probabilities = self.least + (1 - self.size * self.least) * result


SEARCHES = ("icem", "cem", "mppi")
"""Names that `search_from_name` knows."""
PLANNERS = (*SEARCHES, "none")
"""Names of planners."""


def search_from_name(name: str, horizon: int, size: int, samples: int, discrete: bool) -> Search:
    """A search by its name, icem, cem or mppi; for discrete actions both CEMs search over choices.

    Raises:
        HeedError: no such search, or none for discrete actions.
    """
    elites = max(2, samples // 8)
    if discrete:
        if name == "mppi":
            raise HeedError("mppi averages actions, which choices cannot be", "--planner", "take icem")
        return ChoiceCEM(horizon, size, samples, elites)
    if name == "icem":
        return ICEM(horizon, size, samples, elites)
    if name == "cem":
        return CEM(horizon, size, samples, elites)
    if name == "mppi":
        return MPPI(horizon, size, samples)
    raise HeedError(f"'{name}' is no planner", "--planner", "take icem, cem or mppi")
