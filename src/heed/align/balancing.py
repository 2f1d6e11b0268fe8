"""From the K gradients of one optimiser step to the weights of their sum: which Gram matrix, one solve, a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.align import distributed
from heed.align.config import AlignConfig
from heed.align.journal import deviation_of
from heed.align.models.precision import REMEDY
from heed.balance import (
    GramAverage,
    ObservesSpreads,
    ObservesValues,
    TellsFigures,
    cosines,
    norms,
    predicted_change,
    signal_share,
    unbiased_gram,
)
from heed.balance.gramian import project_psd
from heed.balance.jacobian import JacobianAccumulator
from heed.errors import HeedError, RunFailed


@dataclass
class Balance:
    """The result of one solve.

    Args:
        gram: the Gram matrix that was passed to the weighting, [K, K].
        weights: of the raw gradients, [K].
        signal: unbiased over plain squared norm of each gradient, [K]; NaN with fewer than two micro-batches, or where
            these are not of one size.
        told: the weighting, where it has figures of its own.
    """

    gram: Tensor
    weights: Tensor
    signal: Tensor
    told: TellsFigures | None = None

    def record(self, step: int, names: tuple[str, ...]) -> dict[str, Any]:
        """One line of ``balance.jsonl``."""
        return {
            "step": step,
            "names": list(names),
            "gram": self.gram.tolist(),
            "weights": self.weights.tolist(),
            "norms": norms(self.gram).tolist(),
            "cosines": cosines(self.gram).tolist(),
            "predicted": predicted_change(self.gram, self.weights).tolist(),
            "signal": self.signal.tolist(),
        }

    def metrics(self, names: tuple[str, ...]) -> dict[str, float]:
        """The same as scalar metrics of the step."""
        cosine, length = cosines(self.gram), norms(self.gram)
        metrics = {f"weights/{name}": float(self.weights[k]) for k, name in enumerate(names)}
        metrics |= {f"norm/{name}": float(length[k]) for k, name in enumerate(names)}
        metrics |= {f"signal/{name}": float(s) for name, s in zip(names, self.signal, strict=True) if s.isfinite()}
        if self.told is not None:
            metrics |= self.told.figures(names)
        for i in range(len(names)):
            metrics |= {f"cosine/{names[i]}~{names[j]}": float(cosine[i, j]) for j in range(i + 1, len(names))}
        return metrics


class Balancer:
    """Takes the Gram matrix that the config names and solves the weighting on it.

    Args:
        weighting: Gram matrix [K, K] to weights [K].
        jacobian: where the gradients are; rows beyond K (the KL counted once) stay outside the balance.
        objectives: K.
        config: the run's.
        last_layer: the parameters of the paper's scope.
        last_checkpoint: gives the newest whole checkpoint, for errors.

    Raises:
        HeedError: the scope is the last layer, and nothing in it is trained.
    """

    def __init__(
        self,
        weighting: Weighting[PSDMatrix],
        jacobian: JacobianAccumulator,
        objectives: int,
        config: AlignConfig,
        last_layer: list[str],
        last_checkpoint: Callable[[], Path | None],
    ) -> None:
        self.weighting, self.jacobian, self.K, self.config = weighting, jacobian, objectives, config
        self.last_checkpoint = last_checkpoint
        if config.scope == "last_layer" and not last_layer:
            raise HeedError("no parameter of the last layer is trained", "--scope last_layer", "take --scope all")
        self.only = last_layer if config.scope == "last_layer" else None
        self.average = GramAverage(config.gram_memory) if config.gram_memory > 0 else None

    def observe(self, rewards: Tensor) -> None:
        """Show the objectives' rewards of a rollout, [K, B] (NaN: not scored), to a weighting that follows them."""
        if isinstance(self.weighting, ObservesValues):
            self.weighting.observe(distributed.mean_of_known(torch.nanmean(rewards, dim=1)))
        if isinstance(self.weighting, ObservesSpreads):
            means = distributed.mean_of_known(torch.nanmean(rewards, dim=1))
            self.weighting.observe_spreads(means, distributed.mean_of_known(torch.stack([*map(deviation_of, rewards)])))

    def solve(self, optimizer: torch.optim.AdamW) -> Balance:
        """The weights for this optimiser step.

        Raises:
            RunFailed: the gradients are not finite; nothing was changed.
        """
        K = self.K
        whole = self.jacobian.gram()[:K, :K].cpu()
        if not bool(whole.isfinite().all()):
            reason = f"a gradient is not finite, so no optimiser step was taken: {REMEDY}"
            raise RunFailed(reason, self.last_checkpoint())
        gram = whole if self.only is None else self.jacobian.gram(only=self.only)[:K, :K].cpu()
        signal = torch.full((K,), float("nan"), dtype=whole.dtype)
        if len(self.jacobian.micro_grams) > 1 and self.config.equal_micro_batches:
            unbiased = self.unbiased(whole)
            signal = signal_share(unbiased, whole)
            if self.config.gram == "unbiased":
                gram = unbiased
        if self.config.gram == "adam":
            gram = self.jacobian.gram(adam_metric(optimizer, self.jacobian), self.only)[:K, :K].cpu()
        if self.average is not None:
            gram = self.average.update(gram)
        if self.config.gram == "unbiased":
            gram = project_psd(gram)
        weights = self.weighting(gram)
        return Balance(gram, weights, signal, self.weighting if isinstance(self.weighting, TellsFigures) else None)

    def unbiased(self, whole: Tensor) -> Tensor:
        """The unbiased Gram matrix [K, K] from every process's equal micro-batches, on the scale of the whole batch."""
        K = self.K
        own = torch.stack([gram[:K, :K].cpu() for gram in self.jacobian.micro_grams])
        # The Jacobian is the mean over the processes, so that each micro-batch has 1 / world_size of its weight.
        micro = torch.cat(distributed.gather(own)) / distributed.world_size() ** 2
        return unbiased_gram(micro, whole) * len(micro) ** 2

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        average = None if self.average is None else self.average.state_dict()
        return {"weighting": self.weighting.state_dict(), "average": average}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.weighting.load_state_dict(state["weighting"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])


def adam_metric(optimizer: torch.optim.AdamW, jacobian: JacobianAccumulator) -> Tensor:
    """``1 / (sqrt(v_hat) + eps)`` of every column; ones before Adam's first step."""
    group = optimizer.param_groups[0]
    columns = []
    for parameter in jacobian.parameters.values():
        state = optimizer.state.get(parameter)
        if not state:
            columns.append(torch.ones(parameter.numel(), device=parameter.device))
            continue
        corrected = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
        columns.append(1 / (corrected.sqrt() + group["eps"]).flatten())
    return torch.cat(columns)
