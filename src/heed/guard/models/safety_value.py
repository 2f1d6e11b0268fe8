"""Beyond the horizon: from which states every way leads into danger, learnt in the imagined world."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.guard.models.config import BatchConfig
from heed.guard.models.dynamics import Dynamics
from heed.guard.models.ensemble import Normaliser, StackedMLP, learn_members, shuffled

logger = logging.getLogger(__name__)

Unsafe = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Which steps from states [N, S] by action vectors [N, A] to next states [N, S] are dangerous: bool [N]."""
Controller = Callable[[Tensor], Tensor]
"""States [N, S] to action vectors [N, A]."""
VALUE_FIT = BatchConfig(updates=120, batch_size=256, learning_rate=3e-3, weight_decay=1e-5)
"""How the value is fitted in each sweep, from where the sweep before left it."""
STATES, WAYS, HELD, SWEEPS = 500, 5, 5, 8
"""States that are imagined from, ways out of each that are tried, steps for which a way is held, and sweeps: so danger
is told that comes within ``HELD * SWEEPS`` steps whatever is done."""
ALPHA, LOWEST_BAR = 0.02, 0.2
"""Share of the states that were survived and yet may count as lost, and the lowest value that makes a state lost."""


class SafetyValue(nn.Module):
    """Whether danger can still be avoided from a state: 1 where no way out is known, 0 where there is one.

    The safety Bellman equation, ``V(s) = max(danger(s), min over ways of V(s'))`` (Fisac et al. 2019), without a
    discount and over so many sweeps, by fitted iteration in the learnt dynamics: in each sweep several ways are held
    for a few steps from every state, and the value is fitted to whether the best of them met danger or ended where the
    sweep before saw no way out. Ways are constant actions, drawn anew each time, and the controllers that are given.

    The best of several ways looks better than it is, as it is the one that was lucky in its member of the dynamics: so
    the way is chosen by one imagination and judged by another (as in double Q-learning; van Hasselt 2010).

    From which value on a state counts as lost is found out from what happened: states that were survived in truth for
    as long as the value looks ahead are no lost ones. The ``bar`` is as low as leaves at most a share of 2% of those
    above it, and no lower than .2; where no bar does, no state is lost.

    Args:
        state_size: S.
        hidden: units of each of two hidden layers.
        seed: of the first weights.

    Attributes:
        bar: value from which a state is lost; infinite as long as none is.
    """

    def __init__(self, state_size: int, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.normaliser = Normaliser(state_size)
        self.network = StackedMLP([state_size, hidden, hidden, 1], 1, seed)
        self.bar = math.inf

    @torch.no_grad()
    def forward(self, states: Tensor) -> Tensor:
        """The value of states [..., S] in [0, 1]: [...]; 1 of what is not finite."""
        rows = states.reshape(1, -1, states.shape[-1])
        value = self.network(self.normaliser(rows)).sigmoid().view(states.shape[:-1])
        return torch.where(value.isfinite(), value, 1.0)

    def danger(self, states: Tensor, threshold: float) -> Tensor:
        """The same as a danger, [...] of states [..., S]: below the bar less than half the threshold, from there on 1.

        So that what is not lost is never near the threshold: a bar that most survivors come close to would else keep an
        agent blocked, once it is, as it is let go only well below the threshold.
        """
        value = self(states) if self.bar < math.inf else torch.zeros(states.shape[:-1])
        return torch.where(value >= self.bar, 1.0, value * 0.4 * threshold)

    def fit(
        self,
        states: Tensor,
        survived: Tensor,
        dynamics: Dynamics,
        unsafe: Unsafe,
        constants: Tensor,
        controllers: Sequence[Controller],
        generator: torch.Generator,
        config: BatchConfig = VALUE_FIT,
    ) -> float:
        """Learn from imagined ways out of states that happened; what was learnt before is forgotten.

        Args:
            states: that happened, finite, [N, S].
            survived: those after which nothing dangerous happened for as long as the value looks ahead, [M, S].
            dynamics: fitted.
            unsafe: which steps are dangerous.
            constants: action vectors to hold, [n, A].
            controllers: states [N, S] to action vectors [N, A]: a policy, a brake.
            generator: of draws, weights and noise.
            config: of each sweep's fit.

        Returns:
            Share of the survived states that half a value would call lost.
        """
        self.bar = math.inf
        self.normaliser.fit(states)
        self.network.reset(generator)
        drawn = states[torch.randint(len(states), (STATES,), generator=generator)]
        ways = max(WAYS, len(controllers) + 1)
        for sweep in range(SWEEPS):
            held = constants[torch.randint(len(constants), (ways - len(controllers), len(drawn)), generator=generator)]
            met, ends = self._ways(drawn, held, controllers, dynamics, unsafe, generator)
            lost = met if sweep == 0 else torch.maximum(met, self(ends))  # [K, N]
            targets = self._judged_again(drawn, lost, held, controllers, dynamics, unsafe, generator, sweep == 0)
            self._learn(drawn, targets, generator, config)
            if sweep == 0:  # where ways lead belongs to what is imagined from
                reached = ends.flatten(0, 1)
                reached = reached[reached.isfinite().all(1)]
                if len(reached):
                    drawn = torch.cat(
                        [drawn, reached[torch.randint(len(reached), (STATES // 2,), generator=generator)]]
                    )
        return self._set_bar(survived)

    @torch.no_grad()
    def _ways(
        self,
        states: Tensor,
        held: Tensor,
        controllers: Sequence[Controller],
        dynamics: Dynamics,
        unsafe: Unsafe,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Whether ways from states [N, S] meet danger, as 0 or 1, [K, N], and where they end, [K, N, S].

        The first ways are held [K', N, A], the others the controllers'. Each row has a member of its own.
        """
        at = states.expand(len(held) + len(controllers), -1, -1)
        met = torch.zeros(at.shape[:2], dtype=torch.bool)
        rows, members = at.shape[0] * at.shape[1], dynamics.members
        each = -(-rows // members)
        padded = torch.randperm(rows, generator=generator)[torch.arange(each * members) % rows]
        by_member = (members, each, -1)
        for _ in range(HELD):
            led = [controller(at[len(held) + number])[None] for number, controller in enumerate(controllers)]
            flat, acts = at.flatten(0, 1), torch.cat([held, *led]).flatten(0, 1)
            following, _ = dynamics.step(flat[padded].view(by_member), acts[padded].view(by_member), generator)
            after = torch.empty_like(flat)
            after[padded] = following.flatten(0, 1)
            met |= unsafe(flat, acts, after).view(met.shape)
            at = after.view(at.shape)
        return met.float(), at

    @torch.no_grad()
    def _judged_again(
        self,
        states: Tensor,
        lost: Tensor,
        held: Tensor,
        controllers: Sequence[Controller],
        dynamics: Dynamics,
        unsafe: Unsafe,
        generator: torch.Generator,
        first: bool,
    ) -> Tensor:
        """How lost the least lost way of each state is when it is imagined anew, [N]."""
        best = lost.argmin(0)  # [N]
        chosen = held[best.clamp(max=len(held) - 1), torch.arange(len(states))][None]
        met, ends = self._ways(states, chosen, (), dynamics, unsafe, generator)
        result = met[0] if first else torch.maximum(met[0], self(ends[0]))
        for number, controller in enumerate(controllers):
            taken = best == len(held) + number
            if bool(taken.any()):
                met, ends = self._ways(states[taken], held[:0, taken], (controller,), dynamics, unsafe, generator)
                result[taken] = met[0] if first else torch.maximum(met[0], self(ends[0]))
        return result

    def _learn(self, states: Tensor, targets: Tensor, generator: torch.Generator, config: BatchConfig) -> None:
        x = self.normaliser(states)[None]

        def loss(batch: Tensor) -> Tensor:
            logits = self.network(x[0][batch]).squeeze(-1)
            return functional.binary_cross_entropy_with_logits(logits, targets[batch], reduction="none").mean(1)

        weights = [(weight, config.weight_decay) for weight in self.network.weights]
        biases = [(bias, 0.0) for bias in self.network.biases]
        rows = torch.arange(len(states))[None]
        learn_members([*weights, *biases], loss, shuffled(rows, config.batch_size, generator), config)

    def _set_bar(self, survived: Tensor) -> float:
        """Set the bar by the survived states; the share of them that half a value would call lost."""
        values = self(survived).sort().values if len(survived) else torch.ones(1)
        rank = math.ceil((len(values) + 1) * (1 - ALPHA))
        highest = float(values[rank - 1]) if rank <= len(values) else 1.0
        self.bar = max(LOWEST_BAR, highest) if highest < 0.99 else math.inf
        lost = float((values >= 0.5).float().mean())
        logger.info("of %d survived states %.1f%% look lost; lost is from %.2f on", len(survived), 100 * lost, self.bar)
        return lost
