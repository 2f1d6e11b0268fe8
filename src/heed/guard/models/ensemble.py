"""Ensembles as stacks of weights: E small networks in one matrix product, trained side by side and each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.errors import HeedError
from heed.guard.models.config import BatchConfig, FitConfig


@dataclass(frozen=True)
class Progress:
    """How a fit went.

    Args:
        held_out: each member's held-out loss at the weights that it kept, [E]; not finite if none was.
        updates: done.
        stopped_early: no member got better for as long as the patience lasts.
    """

    held_out: Tensor
    updates: int
    stopped_early: bool


class StackedMLP(nn.Module):
    """E multi-layer perceptrons with SiLU between their layers, as stacked weights [E, out, in].

    Row n of member e sees the weights of member e alone.

    Args:
        sizes: of the layers, input and output included.
        members: E.
        seed: of the first weights.

    >>> network = StackedMLP([3, 8, 2], members=4, seed=0)
    >>> network(torch.zeros(4, 10, 3)).shape
    torch.Size([4, 10, 2])
    """

    def __init__(self, sizes: Sequence[int], members: int, seed: int) -> None:
        super().__init__()
        if members < 1 or min(sizes) < 1:
            raise HeedError(f"{members} members of sizes {list(sizes)}", fix="give at least one of each")
        self.members = members
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList([torch.empty(members, out, inside) for inside, out in pairs])
        self.biases = nn.ParameterList([torch.empty(members, 1, out) for _, out in pairs])
        self._layers = tuple(zip(self.weights, self.biases, strict=True))  # a list of parameters is slow to go through
        self.reset(torch.Generator().manual_seed(seed))

    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew from a normal of deviation ``1 / sqrt(in)``, cut at two; biases are 0.

        PETS draws half as wide and then learns kinks, such as a speed cap, at half the pace.
        """
        for weight, bias in zip(self.weights, self.biases, strict=True):
            deviation = 1 / weight.shape[2] ** 0.5
            drawn = torch.empty(weight.shape)
            nn.init.trunc_normal_(drawn, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator)
            with torch.no_grad():
                weight.copy_(drawn)
                bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Rows [E, N, in] to outputs [E, N, out]."""
        overwrite = not torch.is_grad_enabled()
        last = len(self._layers) - 1
        for layer, (weight, bias) in enumerate(self._layers):
            x = torch.baddbmm(bias, x, weight.mT)
            if layer < last:
                x = functional.silu(x, inplace=overwrite)
        return x

    @torch.no_grad()
    def absorb_input(self, scale: Tensor, shift: Tensor) -> None:
        """Keep the function while its input x changes to z, x = scale z + shift, [in] each."""
        first, bias = self.weights[0], self.biases[0]
        bias.add_((first @ shift)[:, None, :])
        first.mul_(scale)

    @torch.no_grad()
    def absorb_output(self, scale: Tensor, shift: Tensor) -> None:
        """Let the output y become scale y + shift, [out] each."""
        self.weights[-1].mul_(scale[:, None])
        self.biases[-1].mul_(scale).add_(shift)


class Normaliser(nn.Module):
    """Column-wise mean and standard deviation of what was fitted, as buffers.

    A column that never varies has deviation 1, so that it is only centred, and ``varies`` tells it apart.

    Args:
        size: columns, D.

    >>> normaliser = Normaliser(2)
    >>> normaliser.fit(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    >>> normaliser(torch.tensor([[5.0, 8.0]]))
    tensor([[3., 1.]])
    """

    mean: Tensor
    std: Tensor
    varies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.register_buffer("varies", torch.ones(size, dtype=torch.bool))

    def fit(self, values: Tensor, rounding: Tensor | float = 0.0) -> None:
        """Take mean and deviation of the rows [N, D]; a deviation up to the rounding, [D], is none."""
        exact = values.double()
        mean, std = exact.mean(0), exact.std(0, correction=0)
        varies = std > 1e-12 + 1e-7 * mean.abs() + rounding  # below that, float32 itself is coarser
        self.mean.copy_(mean)
        self.std.copy_(torch.where(varies, std, 1.0))
        self.varies.copy_(varies)

    def forward(self, values: Tensor) -> Tensor:
        """Rows [..., D] in deviations from the mean."""
        return (values - self.mean) / self.std


def learn_members(
    network: Sequence[tuple[Tensor, float]],
    loss: Callable[[Tensor], Tensor],
    batches: Iterator[Tensor],
    config: BatchConfig,
) -> None:
    """Fit all members at once, by all updates; no member's gradient touches another's weights.

    Args:
        network: the parameters [E, ...], each with its weight decay.
        loss: row numbers [E, B] to each member's loss, [E].
        batches: row numbers [E, B] for each member's updates, without end: `shuffled`, `balanced`.
        config: how.
    """
    update = _updating(network, loss, config)
    for _, batch in zip(range(config.updates), batches, strict=False):
        update(batch)


def fit_members(
    network: Sequence[tuple[Tensor, float]],
    loss: Callable[[Tensor], Tensor],
    held_out: Callable[[], Tensor],
    batches: Iterator[Tensor],
    config: FitConfig,
) -> Progress:
    """Fit all members at once; each keeps the weights with which its held-out loss was least.

    No member's gradient touches another's weights, so each is fitted as if it were alone. The weights at the start
    count too: a warm-started refit never ends worse on the held-out rows than it began. A member whose loss is no
    longer finite goes back to its best weights at the end.

    Args:
        network: the parameters [E, ...], each with its weight decay.
        loss: row numbers [E, B] to each member's loss, [E].
        held_out: each member's held-out loss, [E].
        batches: row numbers [E, B] for each member's updates, without end: `shuffled`, `balanced`.
        config: how.
    """
    update, parameters = _updating(network, loss, config), [parameter for parameter, _ in network]
    best = _measured(held_out)
    mark, kept = best.clone(), [parameter.detach().clone() for parameter in parameters]
    waited, done = 0, 0
    for batch in batches:
        update(batch)
        done += 1
        if done % config.check_every and done < config.updates:
            continue
        result = _measured(held_out)
        better = result < best
        best = torch.where(better, result, best)
        for parameter, saved in zip(parameters, kept, strict=True):
            saved[better] = parameter.detach()[better]
        progressed = best < mark - config.improvement
        mark = torch.where(progressed, best, mark)
        waited = 0 if bool(progressed.any()) else waited + 1
        if waited >= config.patience or done >= config.updates:
            break
    with torch.no_grad():
        for parameter, saved in zip(parameters, kept, strict=True):
            parameter.copy_(saved)
    return Progress(best, done, waited >= config.patience)


def _updating(
    network: Sequence[tuple[Tensor, float]], loss: Callable[[Tensor], Tensor], config: BatchConfig
) -> Callable[[Tensor], None]:
    """What makes one update after another, from row numbers [E, B]."""
    groups = [{"params": [parameter], "weight_decay": decay} for parameter, decay in network]
    optimizer = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.updates)

    def update(batch: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(batch).sum().backward()
        optimizer.step()
        schedule.step()

    return update


def _measured(held_out: Callable[[], Tensor]) -> Tensor:
    """The held-out loss [E]; what is not finite counts as infinite, so that anything finite is better."""
    with torch.no_grad():
        result = held_out()
    return torch.where(result.isfinite(), result, torch.inf)


def shuffled(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers [E, B] without end: each member's rows [E, n] in an order of its own, anew when they are used up.

    What does not fill a batch at the end of a shuffle is left out of it: a batch of few rows would count as much as
    a whole one.
    """
    size = min(size, rows.shape[1])
    whole = rows.shape[1] // size
    while True:
        order = torch.rand(rows.shape, generator=generator, device=rows.device).argsort(1)
        yield from rows.gather(1, order).split(size, dim=1)[:whole]


def balanced(classes: Sequence[Tensor], size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers [E, B] without end, in each batch as many of every class; a small class is drawn more often.

    In expectation the same as to weigh classes by the inverse of their share, but no batch goes without the rare one,
    and none meets it by chance several times over.

    Args:
        classes: each member's rows of each class, [E, n] each.
        size: B; rounded down to a multiple of the classes, though at least one row of each.
        generator: of the draws.

    >>> rows = torch.arange(100).expand(3, -1)
    >>> batch = next(balanced([rows[:, :2], rows[:, 2:]], 10, torch.Generator().manual_seed(0)))
    >>> batch.shape, (batch < 2).sum(1).tolist()
    (torch.Size([3, 10]), [5, 5, 5])
    """
    share = max(1, size // len(classes))
    while True:
        drawn = [torch.randint(rows.shape[1], (len(rows), share), generator=generator) for rows in classes]
        yield torch.cat([rows.gather(1, chosen) for rows, chosen in zip(classes, drawn, strict=True)], dim=1)
