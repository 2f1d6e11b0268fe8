"""Log-probabilities of given tokens, without the logits of all tokens at once.

With a vocabulary of 150,000 the logits [B, T, V] in float32, their softmax and its gradient are larger than all else
that a step holds. A token's log-probability is one number and hangs on one hidden state h, so that its gradient is one
vector: with logits ``z = W h``, ``dlogp/dh = W^T (onehot - softmax(z))``. Both are taken in the forward, for a few
tokens at a time; a backward only multiplies. This is exact, costs no product more than the usual way, and several
backwards through one graph (K objectives, two cotangents) cost the head nothing. A batch whose logits are few is
computed whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from heed.align.models.sequences import Sequences, positions

logger = logging.getLogger(__name__)

LOGITS_BUDGET = 1 << 24
"""Logits held at once, 64 MiB in float32; a batch with fewer is computed whole. Products are as fast as larger ones."""

SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")
"""Names in configurations of a factor (or divisor) between a head and its logits: Cohere, Granite, Falcon-H1."""

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Names of a bound of the logits: Gemma 2, RecurrentGemma, xLSTM."""


@dataclass(frozen=True)
class LogitMap:
    """What a model does to the head's product: ``cap * tanh(scale * x / cap)``, or ``scale * x`` without a cap.

    Args:
        scale: a factor.
        cap: bound of the logits (Gemma 2's), or None.

    >>> LogitMap(0.5)(torch.tensor([2.0])).item()
    1.0
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, product: Tensor) -> Tensor:
        """Logits of a product."""
        logits = product if self.scale == 1 else product * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def pull_back(self, logits: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of the product, from the logits and their gradient."""
        if self.cap is not None:
            gradient = gradient * (1 - (logits / self.cap).square())
        return gradient if self.scale == 1 else gradient * self.scale


class TokenLogp:
    """A causal model's log-probabilities of the tokens of completions.

    Whether the logits are the head's product with the backbone's last hidden states, and up to which factor or cap, is
    tried on a few tokens when it first matters. A model of which it is not so holds the logits of a whole batch, which
    is logged.

    Args:
        model: the transformers model, with or without adapters in its layers.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @cached_property
    def logit_map(self) -> LogitMap | None:
        """How the logits come from the head's product; None where that is not known."""
        found = _logit_map(self.model)
        if found is None:
            logger.warning("%s holds the logits of a whole batch at once", type(self.model).__name__)
        return found

    def __call__(self, batch: Sequences, temperature: float = 1.0) -> Tensor:
        """Log-probabilities [B, T] at a temperature, with graph; 0 off the mask."""
        targets = batch.ids[:, -batch.width :]
        vocabulary = self.model.config.get_text_config().vocab_size
        if targets.numel() * vocabulary <= LOGITS_BUDGET or self.logit_map is None:
            return self._whole(batch, targets, temperature)
        states = hidden_states(self.model.base_model, batch)
        head = self.model.get_output_embeddings()
        if type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters()):
            kept = batch.mask.flatten().nonzero().squeeze(1)
            logp, _ = FrozenHeadLogp.apply(
                states.flatten(0, 1).index_select(0, kept),
                targets.flatten()[kept],
                head.weight,
                head.bias,
                self.logit_map,
                temperature,
                max(1, LOGITS_BUDGET // vocabulary),
                torch.is_grad_enabled() and states.requires_grad,
            )
            return logp.new_zeros(targets.numel()).index_copy(0, kept, logp).view_as(targets)
        tokens = max(1, LOGITS_BUDGET // (len(targets) * vocabulary))
        return self.by_columns(head, states, targets, temperature, tokens) * batch.mask

    def _whole(self, batch: Sequences, targets: Tensor, temperature: float) -> Tensor:
        logits = self.model(
            input_ids=batch.ids,
            attention_mask=batch.attention,
            position_ids=positions(batch.attention),
            use_cache=False,
            logits_to_keep=batch.width + 1,
        ).logits[:, :-1]
        logp = whole(logits).div(temperature).log_softmax(-1)
        return logp.gather(-1, targets[..., None]).squeeze(-1) * batch.mask

    def by_columns(self, head: nn.Module, states: Tensor, targets: Tensor, temperature: float, tokens: int) -> Tensor:
        """With a head that is trained or has an adapter: some tokens of all sequences at a time, each recomputed."""
        to_logits = self.logit_map
        assert to_logits is not None

        def logp(states: Tensor, targets: Tensor) -> Tensor:
            scaled = whole(to_logits(head(states))).div(temperature).log_softmax(-1)
            return scaled.gather(-1, targets[..., None]).squeeze(-1)

        parts = zip(states.split(tokens, 1), targets.split(tokens, 1), strict=True)
        return torch.cat([checkpoint(logp, *part, use_reentrant=False) for part in parts], 1)


def hidden_states(backbone: nn.Module, batch: Sequences) -> Tensor:
    """Last hidden states at the positions from which the completions' tokens are chosen, [B, T, hidden]."""
    states: Tensor = backbone(
        input_ids=batch.ids,
        attention_mask=batch.attention,
        position_ids=positions(batch.attention),
        use_cache=False,
    ).last_hidden_state
    return states[:, -batch.width - 1 : -1]


def whole(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 where they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


@torch.no_grad()
def _logit_map(model: PreTrainedModel) -> LogitMap | None:
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    ids = torch.linspace(0, config.vocab_size - 1, 9, device=next(model.parameters()).device).long()[None]
    batch = Sequences(ids, torch.ones_like(ids), torch.ones_like(ids[:, 1:]))
    try:
        product = head(hidden_states(model.base_model, batch))
        logits = model(
            input_ids=ids, attention_mask=batch.attention, position_ids=positions(batch.attention), use_cache=False
        ).logits[:, :-1]
    except (TypeError, AttributeError):  # no head, or a backbone that takes or gives something else
        return None
    if product.shape != logits.shape or not bool(logits.isfinite().all()):
        return None
    # By the largest difference: a cap bends the largest logits only, which are those that are drawn.
    tolerance = max(2 * torch.finfo(logits.dtype).eps, 1e-5) * float(logits.abs().max())
    factors = [float(value) for name in SCALES if (value := getattr(config, name, None))]
    cap = next((float(value) for name in CAPS if (value := getattr(config, name, None))), None)
    for scale in (1.0, *factors, *(1 / factor for factor in factors)):
        if float((LogitMap(scale, cap)(product) - logits).abs().max()) <= tolerance:
            return LogitMap(scale, cap)
    return None


class FrozenHeadLogp(torch.autograd.Function):
    """``log softmax(map(states W^T + b) / temperature)`` at the targets, for weights that are not trained."""

    @staticmethod
    def forward(
        states: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        to_logits: LogitMap,
        temperature: float,
        rows: int,
        differentiable: bool,
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities [n] and their gradients by the states [n, hidden], some rows of logits at a time."""
        logp, slopes = [], []
        for part, ids in zip(states.split(rows), targets.split(rows), strict=True):
            logits = whole(to_logits(F.linear(part, weight, bias)))
            scaled = logits.div(temperature)
            normaliser = scaled.logsumexp(-1, keepdim=True)
            logp.append((scaled.gather(-1, ids[:, None]) - normaliser).squeeze(-1))
            if differentiable:
                by_scaled = scaled.sub_(normaliser).exp_().neg_()
                by_scaled.scatter_add_(1, ids[:, None], torch.ones_like(normaliser))
                by_product = to_logits.pull_back(logits, by_scaled.div_(temperature))
                slopes.append(by_product.to(part.dtype) @ weight.to(part.dtype))
        return torch.cat(logp), torch.cat(slopes) if slopes else states.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, _inputs: Any, output: Any) -> None:
        """Keep the gradients by the states."""
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # zeros for the second output, as large as the hidden states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The log-probabilities' gradients times those."""
        (slopes,) = ctx.saved_tensors
        towards = (gradients[0][:, None] * slopes).to(slopes.dtype)
        return towards, None, None, None, None, None, None, None
