"""How pairs for people to compare are sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heed.errors import HeedError, flag_of


@dataclass(frozen=True, kw_only=True)
class PairSampling:
    """How pairs are sampled: from which models, with which settings.

    Args:
        model: a model folder or hub id.
        adapter: an adapter on it, merged before sampling.
        against: what the second completion of each pair is sampled from: another model, or another adapter of
            ``model``; the same as the first if None.
        template_arguments: variables of the model's chat template, such as {"enable_thinking": false}.
        pairs_per_prompt: how many pairs of each prompt.
        max_completion_tokens: longest completion, tokens.
        temperature: of sampling.
        top_p: nucleus of sampling; 1 keeps all tokens.
        top_k: likeliest tokens kept in sampling; 0 keeps all.
        seed: of the sampling.

    Raises:
        HeedError: a number out of its range.
    """

    model: str
    adapter: str | None = None
    against: str | None = None
    template_arguments: dict[str, Any] | None = None
    pairs_per_prompt: int = 1
    max_completion_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be sampled."""
        for name, right, wanted in (
            ("pairs_per_prompt", self.pairs_per_prompt >= 1, "at least 1"),
            ("max_completion_tokens", self.max_completion_tokens >= 1, "at least 1"),
            ("temperature", self.temperature > 0, "a positive number"),
            ("top_p", 0 < self.top_p <= 1, "a number above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not right:
                raise HeedError(f"{name} is {getattr(self, name)}", flag_of(name), f"give {wanted}")
