"""The stream of prompts: every epoch a new order that depends on the seed and the step alone."""

from __future__ import annotations

from typing import Any

import torch

from heed.align.config import AlignConfig
from heed.align.conversations import prompt_ids
from heed.align.policy import Policy
from heed.errors import HeedError


class PromptStream:
    """Prompts of a dataset, a batch a step, each repeated for its completions.

    Which prompts a step gets follows from the seed and the step, so there is no position to save.

    Args:
        dataset: a datasets.Dataset or a list of dicts with a column ``prompt``.
        policy: whose context the prompts and completions must fit.
        config: the run's.

    Raises:
        HeedError: no dataset, no column ``prompt``, or a prompt longer than the context.
    """

    def __init__(self, dataset: Any, policy: Policy, config: AlignConfig) -> None:
        self.config = config
        self.rows: list[dict[str, Any]] = [dict(row) for row in dataset or ()]
        if not self.rows:
            raise HeedError("there are no prompts", "dataset", "give a dataset with a column 'prompt'")
        if "prompt" not in self.rows[0]:
            columns = ", ".join(self.rows[0])
            raise HeedError("the dataset has no column 'prompt'", f"its columns: {columns}", "rename one to 'prompt'")
        room = policy.context - config.max_completion_tokens
        for i, row in enumerate(self.rows):
            tokens = len(prompt_ids(row["prompt"], policy.tokenizer))
            if tokens > room:
                raise HeedError(
                    f"prompt {i} has {tokens} tokens, but the model's context of {policy.context} leaves {room} beside "
                    f"completions of {config.max_completion_tokens}",
                    "dataset",
                    "shorten it, or lower --max_completion_tokens",
                )

    def draw(self, step: int) -> tuple[list[Any], dict[str, list[Any]]]:
        """Prompts and the other columns of a step (counted from 0), each prompt repeated for its completions."""
        config = self.config
        first = step * config.prompts_per_step
        chosen = [self._at(first + i) for i in range(config.prompts_per_step)]
        rows = [row for row in chosen for _ in range(config.completions_per_prompt)]
        columns = {name: [row[name] for row in rows] for name in self.rows[0] if name != "prompt"}
        return [row["prompt"] for row in rows], columns

    def first(self, count: int) -> list[Any]:
        """The first prompts of the dataset."""
        return [row["prompt"] for row in self.rows[:count]]

    def _at(self, position: int) -> dict[str, Any]:
        epoch, place = divmod(position, len(self.rows))
        return self.rows[self._order(epoch)[place]]

    def _order(self, epoch: int) -> list[int]:
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
            self._epoch, self._permutation = epoch, torch.randperm(len(self.rows), generator=generator).tolist()
        return self._permutation
