"""The world as the guard knows it: an ensemble of probabilistic networks, or a function that is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.errors import HeedError
from heed.guard.models.config import FitConfig
from heed.guard.models.ensemble import Normaliser, StackedMLP, fit_members, shuffled
from heed.guard.models.transitions import Transitions
from heed.runs.state import State

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals at which calibration is told."""

_BOUND_PULL = 0.01  # on the sum of the log-variance bounds, as in PETS's code


class Dynamics(Protocol):
    """A model of the world with members that may disagree."""

    members: int

    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """States [E, N, S] and action vectors [E, N, A] to next states [E, N, S] and rewards [E, N].

        Row e is advanced by member e alone, so that a particle which keeps its row tells one consistent story
        (TS-infinity, Chua et al. 2018).
        """
        ...

    def mean(self, states: Tensor, actions: Tensor) -> Tensor:
        """Expected next states [N, S] of states [N, S] and action vectors [N, A]."""
        ...


@dataclass(frozen=True)
class FitReport:
    """How a fit went, as the rows tell that no member learnt from.

    Args:
        nll: each member's Gaussian negative log-likelihood, nats per predicted number in normalised units, [E].
        mse: each member's mean squared error, as a share of each predicted number's variance, [E].
        updates: batches learnt from.
        epochs: the same in passes over the rows.
        stopped_early: the patience ended the fit.
        rows: learnt from.
        held_out: rows that were not.
        left_out: rows that were of no use because something in them is not finite.
    """

    nll: Tensor
    mse: Tensor
    updates: int
    epochs: float
    stopped_early: bool
    rows: int
    held_out: int
    left_out: int


@dataclass(frozen=True)
class Calibration:
    """How often the truth lies in the model's central intervals.

    Args:
        levels: how often it should, [L].
        coverage: how often it does, for each of the S state variables and the reward, [L, S + 1].
        nll: Gaussian negative log-likelihood, nats per number in normalised units.
    """

    levels: Tensor
    coverage: Tensor
    nll: float

    @property
    def gap(self) -> float:
        """Mean distance between what should be and what is; 0 is perfect."""
        return float((self.coverage - self.levels[:, None]).abs().mean())


class EnsembleDynamics(nn.Module):
    """Probabilistic ensemble: E networks, each (state, action) -> Gaussian over (change of state, reward).

    PETS's model (Chua et al. 2018) with MBPO's fit (Janner et al. 2019): inputs and targets normalised, Gaussian
    negative log-likelihood, log-variance softly bounded by learnt bounds, bootstrapped members, early stopping on
    held-out rows. Members share nothing but the normalisers. Nothing is clamped: what is not finite stays so.

    The plain likelihood may never learn what is hard: it raises the variance there and with it silences the error
    (a speed cap was not learnt at all). So each number's loss is weighted by its variance to the power ``beta``, taken
    as a constant (beta-NLL, Seitzer et al. 2022); ``beta=0`` is PETS.

    Args:
        state_size: S.
        action_size: A, of action vectors.
        members: E.
        hidden: units of each hidden layer.
        layers: hidden layers.
        beta: power of the variance that weights the loss, in [0, 1].
        seed: of the first weights.

    Attributes:
        fitted_to: transitions that the last fit was given.

    >>> model = EnsembleDynamics(state_size=4, action_size=2, members=5, hidden=32)
    >>> states, rewards = model.step(torch.zeros(5, 10, 4), torch.zeros(5, 10, 2), torch.Generator().manual_seed(0))
    >>> states.shape, rewards.shape
    (torch.Size([5, 10, 4]), torch.Size([5, 10]))
    """

    fitted: Tensor

    def __init__(
        self,
        state_size: int,
        action_size: int,
        members: int = 5,
        hidden: int = 200,
        layers: int = 2,
        beta: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise HeedError(f"beta is {beta}", "EnsembleDynamics", "give a number in [0, 1]")
        self.state_size, self.action_size, self.members, self.beta = state_size, action_size, members, beta
        targets = state_size + 1
        sizes = [state_size + action_size, *[hidden] * layers, 2 * targets]
        self.network = StackedMLP(sizes, members, seed)
        self.max_logvar = nn.Parameter(torch.full((members, 1, targets), 0.5))
        self.min_logvar = nn.Parameter(torch.full((members, 1, targets), -10.0))
        self.inputs, self.targets = Normaliser(state_size + action_size), Normaliser(targets)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.fitted_to = 0

    @torch.no_grad()
    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw each row's next state and reward from its member's Gaussian.

        Args:
            states: [E, N, S].
            actions: vectors [E, N, A].
            generator: of the draws; torch's own if None.

        Returns:
            Next states [E, N, S] and rewards [E, N].
        """
        mean, logvar = self._gaussian(self.inputs(torch.cat([states, actions], dim=-1)))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        drawn = self._in_units(torch.addcmul(mean, noise, torch.exp(logvar / 2)))
        return states + drawn[..., :-1], drawn[..., -1]

    @torch.no_grad()
    def mean(self, states: Tensor, actions: Tensor) -> Tensor:
        """The members' mean of the expected next states.

        Args:
            states: [N, S].
            actions: vectors [N, A].

        Returns:
            [N, S].
        """
        return self._expected(states.expand(self.members, -1, -1), actions.expand(self.members, -1, -1)).mean(0)

    def fit(self, transitions: Transitions, config: FitConfig, generator: torch.Generator) -> FitReport:
        """Fit to the transitions, beginning with the weights as they are.

        A row that is held out once is held out in every later fit of the same growing transitions. When the
        normalisers follow the data, the weights are rescaled so that what was learnt stays: with warm-started
        weights a refit begins where the last fit ended.

        Args:
            transitions: at least 10.
            config: how.
            generator: of bootstrap and batches.

        Returns:
            Held-out errors and how long it took.

        Raises:
            HeedError: too few transitions, or of other sizes.
        """
        inputs, targets, left_out = self._rows(transitions)
        if len(inputs) < 10:
            raise HeedError(f"{len(inputs)} usable transitions", "EnsembleDynamics.fit", "gather at least 10")
        held = torch.from_numpy(np.random.default_rng(0).random(len(inputs)) < config.held_out)  # rows keep their draw
        held[0], held[1] = True, False
        learnt = (~held).nonzero().squeeze(1)
        self._renormalise(inputs[learnt], targets[learnt])
        x, y = self.inputs(inputs), self.targets(targets)
        if config.bootstrap:
            rows = learnt[torch.randint(len(learnt), (self.members, len(learnt)), generator=generator)]
        else:
            rows = learnt.expand(self.members, -1)

        def loss(batch: Tensor) -> Tensor:
            mean, logvar = self._gaussian(x[batch])
            nll = gaussian_nll(mean, logvar, y[batch]) * torch.exp(self.beta * logvar.detach())
            bounds = (self.max_logvar - self.min_logvar).sum((1, 2))
            return self._over_targets(nll).mean(1) + _BOUND_PULL / 2 * bounds / y.shape[1]

        def held_out() -> Tensor:
            mean, logvar = self._gaussian(x[held].expand(self.members, -1, -1))
            return self._over_targets(gaussian_nll(mean, logvar, y[held])).mean(1)

        decayed = [(weight, config.weight_decay) for weight in self.network.weights]
        others = [(bias, 0.0) for bias in (*self.network.biases, self.max_logvar, self.min_logvar)]
        batches = shuffled(rows, config.batch_size, generator)
        progress = fit_members([*decayed, *others], loss, held_out, batches, config)
        self.fitted.fill_(True)
        self.fitted_to = len(transitions)
        with torch.no_grad():
            mean, _ = self._gaussian(x[held].expand(self.members, -1, -1))
            mse = self._over_targets((mean - y[held]).square()).mean(1)
        epochs = progress.updates * min(config.batch_size, len(learnt)) / len(learnt)
        return FitReport(
            progress.held_out, mse, progress.updates, epochs, progress.stopped_early,
            len(learnt), int(held.sum()), left_out,
        )  # fmt: skip

    @torch.no_grad()
    def open_loop_error(self, trajectories: Transitions, k: int) -> Tensor:
        """How far imagination drifts from what happened, when it is told the actions but no state after the first.

        Every member follows its own expected states from the start of every stretch of k transitions.

        Args:
            trajectories: transitions in the order in which they came, best those that were not fitted to.
            k: steps.

        Returns:
            Root mean square error after 1, ..., k steps over stretches and members, in each state variable's own
            unit, [k, S].

        Raises:
            HeedError: no k transitions follow one another.
        """
        states, actions = trajectories.windows(k)
        if not len(states):
            raise HeedError(f"no {k} transitions follow one another", "open_loop_error", "give a smaller k")
        imagined = states[:, 0].expand(self.members, -1, -1)
        errors = []
        for t in range(k):
            imagined = self._expected(imagined, actions[:, t].expand(self.members, -1, -1))
            errors.append((imagined - states[:, t + 1]).square().mean((0, 1)).sqrt())
        return torch.stack(errors)

    @torch.no_grad()
    def calibration(self, transitions: Transitions) -> Calibration:
        """Whether the ensemble's uncertainty is as large as its error.

        The members' Gaussians are joined to the one with the mixture's mean and variance.

        Args:
            transitions: best those that were not fitted to.

        Returns:
            Coverage of central intervals, NaN for a number that never varied in the fit.

        Raises:
            HeedError: no usable transitions.
        """
        inputs, targets, _ = self._rows(transitions)
        if not len(inputs):
            raise HeedError("no usable transitions", "calibration", "give some")
        mean, logvar = self._gaussian(self.inputs(inputs).expand(self.members, -1, -1))
        joined = mean.mean(0)
        variance = logvar.exp().mean(0) + mean.var(0, correction=0)
        y = self.targets(targets)
        distance = (y - joined).abs() / variance.sqrt()
        levels = torch.tensor(LEVELS)
        reach = torch.special.ndtri((1 + levels) / 2)
        coverage = (distance <= reach[:, None, None]).float().mean(1)
        coverage = torch.where(self.targets.varies & distance.isfinite().all(0), coverage, torch.nan)
        nll = self._over_targets(gaussian_nll(joined, variance.log(), y)).mean()
        return Calibration(levels, coverage, float(nll))

    def state(self) -> State:
        """All that fits change."""
        return {"weights": dict(self.state_dict()), "fitted_to": self.fitted_to}

    def restore(self, state: State) -> None:
        """Become as the model was that gave this state."""
        self.load_state_dict(state["weights"])
        self.fitted_to = state["fitted_to"]

    def _gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [E, N, S + 1] of the normalised targets, from normalised inputs [E, N, S + A]."""
        mean, raw = self.network(x).chunk(2, dim=-1)
        below = self.max_logvar - functional.softplus(self.max_logvar - raw)
        return mean, self.min_logvar + functional.softplus(below - self.min_logvar)

    def _in_units(self, normalised: Tensor) -> Tensor:
        """Targets [..., S + 1] in their units; what never varied is predicted exactly (and NaN stays NaN)."""
        return normalised * (self.targets.std * self.targets.varies) + self.targets.mean

    def _expected(self, states: Tensor, actions: Tensor) -> Tensor:
        """Each member's expected next states [E, N, S]."""
        mean, _ = self._gaussian(self.inputs(torch.cat([states, actions], dim=-1)))
        return states + self._in_units(mean)[..., :-1]

    def _over_targets(self, values: Tensor) -> Tensor:
        """Mean [...] over the targets that vary, of [..., S + 1]."""
        varies = self.targets.varies
        return (values * varies).sum(-1) / varies.sum().clamp(min=1)

    def _rows(self, transitions: Transitions) -> tuple[Tensor, Tensor, int]:
        """Inputs [n, S + A], targets [n, S + 1] of the finite rows, and how many are not."""
        if (transitions.state_size, transitions.action_size) != (self.state_size, self.action_size):
            raise HeedError(
                f"transitions with states of {transitions.state_size} and actions of {transitions.action_size} numbers",
                "EnsembleDynamics",
                f"this model knows states of {self.state_size} and actions of {self.action_size}",
            )
        states, actions, next_states, rewards, *_ = transitions.tensors()
        inputs = torch.cat([states, actions], dim=1)
        targets = torch.cat([next_states - states, rewards[:, None]], dim=1)
        usable = inputs.isfinite().all(1) & targets.isfinite().all(1)
        return inputs[usable], targets[usable], int((~usable).sum())

    @torch.no_grad()
    def _renormalise(self, inputs: Tensor, targets: Tensor) -> None:
        """Fit the normalisers; once fitted, rescale the weights so that the model predicts what it did before."""
        before = [(part.mean.clone(), part.std.clone(), part.varies.clone()) for part in (self.inputs, self.targets)]
        self.inputs.fit(inputs)
        # A change is as coarse as the states between which it lies.
        size = inputs[:, : self.state_size].abs().amax(0)
        self.targets.fit(targets, rounding=1e-7 * functional.pad(size, (0, 1)))
        if not bool(self.fitted):
            return
        mean, std, _ = before[0]
        self.network.absorb_input(self.inputs.std / std, (self.inputs.mean - mean) / std)
        mean, std, varied = before[1]
        # A target that did not vary was not learnt: there is nothing to keep.
        scale = torch.where(varied, std / self.targets.std, 1.0)
        shift = torch.where(varied, (mean - self.targets.mean) / self.targets.std, 0.0)
        self.network.absorb_output(torch.cat([scale, torch.ones_like(scale)]), torch.cat([shift, 2 * scale.log()]))
        self.max_logvar.add_(2 * scale.log())
        self.min_logvar.add_(2 * scale.log())


class KnownDynamics:
    """The world by a function that is known, as a model whose members agree.

    Args:
        function: states [..., S] and action vectors [..., A] to next states [..., S] and rewards [...].
        members: E, as many rows as whoever imagines wants to roll.

    >>> drift = KnownDynamics(lambda states, actions: (states + actions, states.sum(-1)), members=2)
    >>> drift.step(torch.ones(2, 3, 1), torch.ones(2, 3, 1))[0].flatten().tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], members: int = 1) -> None:
        self.function, self.members = function, members

    def step(
        self,
        states: Tensor,
        actions: Tensor,
        generator: torch.Generator | None = None,  # noqa: ARG002 - other models draw
    ) -> tuple[Tensor, Tensor]:
        """Next states [E, N, S] and rewards [E, N]; the generator is not needed."""
        return self.function(states, actions)

    def mean(self, states: Tensor, actions: Tensor) -> Tensor:
        """Next states [N, S]."""
        return self.function(states, actions)[0]


def gaussian_nll(mean: Tensor, logvar: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian, in nats, elementwise.

    >>> gaussian_nll(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0))
    tensor(0.9189)
    """
    return ((target - mean).square() * torch.exp(-logvar) + logvar + math.log(2 * math.pi)) / 2
