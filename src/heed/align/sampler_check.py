"""Whether a sampler draws from the model that is trained: which loops a model takes, and a comparison by value."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor
from transformers import PreTrainedModel

from heed.align.models.policy import Policy
from heed.align.models.pretrained import rounding
from heed.align.models.sequences import Sequences

CHECKED_SEQUENCES = 4
"""Sequences of a first rollout that are compared, from the shortest prompt to the longest."""

CHECKED_TOKENS = 64
"""Tokens of each that are drawn anew where the loop records no log-probabilities: their logits are all held."""


def why_not_static(model: PreTrainedModel) -> str | None:
    """What makes a model unable to use a static cache; None if nothing does that can be told beforehand."""
    config = model.config.get_text_config()
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return "its forward takes no past_key_values"
    if getattr(config, "alibi", config.model_type == "bloom"):
        return "ALiBi's biases are as long as the tokens seen, not as the cache"
    return None


def spread(attention: Tensor) -> Tensor:
    """Rows of a batch of prompts to compare, from the shortest to the longest.

    >>> spread(torch.tensor([[1, 1, 1], [0, 0, 1], [0, 1, 1]])).tolist()
    [1, 2, 0]
    """
    order = attention.sum(1).argsort()
    few = min(len(order), CHECKED_SEQUENCES)
    return order[torch.linspace(0, len(order) - 1, few).long().to(order.device)]


def mismatch(policy: Policy, sequences: Sequences, logp: Tensor, temperature: float) -> str | None:
    """How far a sampler's log-probabilities are from the model's own; None within the dtype's tolerance.

    Args:
        policy: whose `logp` is what is trained.
        sequences: what was drawn, B sequences; one at a time is compared.
        logp: as the sampler has them, [B, T].
        temperature: of sampling.
    """
    with torch.no_grad():
        own = torch.cat([policy.logp(sequences.rows(slice(b, b + 1)), temperature) for b in range(len(sequences))])
    mask = sequences.mask.bool()
    difference = float((own - logp)[mask].abs().mean())
    if difference <= rounding(policy.causal_lm.dtype):
        return None
    return f"its log-probabilities are {difference:.2g} nats a token from the model's own"
