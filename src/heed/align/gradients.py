"""The K gradients of one minibatch, micro-batch by micro-batch, and what their forward passes tell beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from heed.align import distributed
from heed.align.advantages import ScoredRollout, kl_row
from heed.align.conditioning.steering import Conditioning
from heed.align.config import AlignConfig
from heed.align.importance import Importance
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences, parts_of
from heed.align.surrogates import Surrogate, kl_cotangent
from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator


@dataclass(frozen=True)
class Pass:
    """What the forward passes over a minibatch tell.

    Args:
        clipped: share of the tokens that the surrogate clips for some sign of the advantage.
        moved: `divergence` of the policy from the one that drew the completions, nats a token, over all processes; 0
            where no ``max_kl`` asks for it.
    """

    clipped: float
    moved: float


class MinibatchGradients:
    """Takes the gradients of the K surrogates over a minibatch into a `JacobianAccumulator`.

    Args:
        policy: what is trained.
        jacobian: where the gradients go; a row beyond K is the KL's, counted once.
        surrogate: what each objective maximises.
        importance: measures the sampler against the policy while this is still the one that drew.
        config: the run's.
        objectives: gradients to take: K, or the one of a combination.
        conditioning: says which policy drew a minibatch.
    """

    def __init__(
        self,
        policy: Policy,
        jacobian: JacobianAccumulator,
        surrogate: Surrogate,
        importance: Importance,
        config: AlignConfig,
        objectives: int,
        conditioning: Conditioning,
    ) -> None:
        self.policy, self.jacobian, self.surrogate = policy, jacobian, surrogate
        self.conditioning = conditioning
        self.importance, self.config, self.K = importance, config, objectives

    def take(self, scored: ScoredRollout, advantages: Tensor, rows: Tensor, unmoved: bool = False) -> Pass:
        """Take the K gradients over a minibatch, of the policy that drew it.

        Args:
            scored: the rollout.
            advantages: [K, B] or [K, B, T].
            rows: of the rollout, int [b].
            unmoved: the policy is still the one that drew the completions.
        """
        self.jacobian.factors = self.conditioning.factors(self.jacobian.slices)
        with self.conditioning.acting():
            return self._take(scored, advantages, rows, unmoved)

    def _take(self, scored: ScoredRollout, advantages: Tensor, rows: Tensor, unmoved: bool) -> Pass:
        config, mask = self.config, scored.sequences.mask
        self.jacobian.zero()
        terms = mask[rows].sum() if config.average_over == "tokens" else torch.tensor(len(rows))
        count = float(distributed.mean(terms.double()))  # the same in all processes: theirs is one batch
        clipped, moved = 0.0, 0.0
        for part in parts_of(len(rows), config.micro_batch):
            index = rows[part]
            batch, old = scored.sequences.rows(index), scored.logp[index]
            weight = batch.mask.to(old.dtype) / count
            if scored.importance is not None:
                weight = weight * scored.importance[index]

            def forward(few: Tensor | None, batch: Sequences = batch) -> Tensor:
                return self.policy.logp(batch if few is None else batch.rows(few), config.temperature)

            def cotangents(
                logp: Tensor, index: Tensor = index, old: Tensor = old, weight: Tensor = weight
            ) -> Cotangents:
                before = logp if config.on_policy else old
                taken = self.surrogate.cotangents(logp, before, advantages[:, index], weight)
                if config.kl_beta > 0 and config.kl_place == "loss":
                    kl = kl_cotangent(logp, scored.reference_logp[index], weight)
                    known = ~scored.rewards[:, index].isnan()
                    taken = self._with_kl(taken, kl, known if len(known) == self.K else known.any(0, keepdim=True))
                return taken

            logp = self.jacobian.accumulate(forward, cotangents)
            if unmoved and scored.sampler_logp is not None:
                self.importance.measure(logp, scored.sampler_logp[index], batch.mask)
            if not config.on_policy:
                clipped += float((self.surrogate.clipped(logp, old) & batch.mask.bool()).sum())
            if config.max_kl > 0:
                moved += float(divergence(logp, old, batch.mask))
            if config.micro_batches > 1:
                self.jacobian.end_micro_batch()
        self.jacobian.all_reduce()
        tokens = float(mask[rows].sum())
        return Pass(clipped / tokens, _over_all(moved, tokens) if config.max_kl > 0 else 0.0)

    @torch.no_grad()
    def moved(self, scored: ScoredRollout, rows: Tensor) -> float:
        """`Pass.moved` over some rows of the rollout, by a forward pass of its own."""
        total = 0.0
        with self.conditioning.acting():
            for part in parts_of(len(rows), self.config.micro_batch):
                batch, old = scored.sequences.rows(rows[part]), scored.logp[rows[part]]
                total += float(divergence(self.policy.logp(batch, self.config.temperature), old, batch.mask))
        return _over_all(total, float(scored.sequences.mask[rows].sum()))

    def _with_kl(self, cotangents: Cotangents, kl: Tensor, known: Tensor) -> Cotangents:
        """Add the KL's cotangent [B, T], but not to objectives that did not score the completion; known is [K, B]."""
        shape = (cotangents.objectives, kl.shape[0])
        coefficients = torch.full(shape, self.config.kl_beta, dtype=kl.dtype, device=kl.device)
        if kl_row(self.config):
            coefficients[: self.K] = 0
        coefficients[: self.K] *= known
        return Cotangents((*cotangents.terms, Term(kl, coefficients)))


def divergence(logp: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """The KL of the policy that drew from the policy that is, summed over the drawn tokens: ``sum of r - 1 - ln r``.

    With ``r`` the ratio of the new probability to the old, no term is negative, and the mean over draws of the old
    policy is KL(old || new) (Schulman 2020, "Approximating KL divergence", k3).

    Args:
        logp: log-probabilities of the drawn tokens now, [B, T].
        old: those of the policy that drew them, [B, T].
        mask: 1 on the completion's tokens, [B, T].

    >>> half, quarter = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()
    >>> round(float(divergence(quarter, half, torch.ones(1, 1))), 3)
    0.193
    """
    change = (logp.detach() - old).float()
    return ((change.exp() - 1 - change) * mask).sum()


def minibatches_of(
    config: AlignConfig, generator: torch.Generator, device: torch.device, in_order: bool
) -> list[Tensor]:
    """Rows of each optimiser step of a round; the completions of a prompt stay together.

    Args:
        config: the run's.
        generator: shuffles the prompts, for each epoch anew.
        device: of the rows.
        in_order: not to shuffle them.
    """
    rows = torch.arange(config.prompts_per_step * config.completions_per_prompt)
    rows = rows.view(-1, config.completions_per_prompt)
    if config.on_policy:
        return [rows.flatten().to(device)]
    epochs = [
        rows if in_order else rows[torch.randperm(len(rows), generator=generator, device=generator.device).cpu()]
        for _ in range(config.epochs)
    ]
    return [part.flatten().to(device) for epoch in epochs for part in epoch.chunk(config.minibatches)]


def _over_all(total: float, tokens: float) -> float:
    """A mean over the tokens of all processes: the same number in each, so that all decide alike."""
    both = distributed.mean(torch.tensor([total, tokens], dtype=torch.float64))
    return float(both[0] / both[1])
