"""The stream of prompts: every epoch a new order that depends on the seed and the step alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from heed.align import distributed
from heed.align.config import AlignConfig
from heed.align.data.conversations import (
    is_messages,
    leaves_tools_out,
    located,
    prompt_ids,
    require_prompt_shown,
)
from heed.align.models.policy import Policy
from heed.align.models.pretrained import require_rows
from heed.errors import HeedError

logger = logging.getLogger(__name__)


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
        self.rows = checked_rows(dataset, policy, config.max_completion_tokens)
        if not self.rows:
            raise HeedError("there are no prompts", "dataset", "give a dataset with a column 'prompt'")
        self._epoch, self._permutation = -1, list[int]()

    def draw(self, step: int) -> tuple[list[Any], dict[str, list[Any]]]:
        """Prompts and the other columns of a step (counted from 0), each prompt repeated for its completions.

        Where there are several processes, each gets prompts of its own.
        """
        config = self.config
        first = (step * distributed.world_size() + distributed.rank()) * config.prompts_per_step
        chosen = [self._at(first + i) for i in range(config.prompts_per_step)]
        return split([row for row in chosen for _ in range(config.completions_per_prompt)])

    def first(self, count: int) -> list[dict[str, Any]]:
        """The first rows of the dataset."""
        return self.rows[:count]

    def _at(self, position: int) -> dict[str, Any]:
        epoch, place = divmod(position, len(self.rows))
        return self.rows[self._order(epoch)[place]]

    def _order(self, epoch: int) -> list[int]:
        if self._epoch != epoch:
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
            self._epoch, self._permutation = epoch, torch.randperm(len(self.rows), generator=generator).tolist()
        return self._permutation


def split(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], dict[str, list[Any]]]:
    """Rows to their prompts and their other columns; None where a row lacks a column.

    >>> split([{"prompt": "fever", "dose": 1}, {"prompt": "gout"}])
    (['fever', 'gout'], {'dose': [1, None]})
    """
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    return [row["prompt"] for row in rows], {name: [row.get(name) for row in rows] for name in names}


def checked_rows(dataset: Any, policy: Policy, max_completion_tokens: int) -> list[dict[str, Any]]:
    """The rows of a dataset, a list of dicts or a list of prompts.

    Raises:
        HeedError: a row without ``prompt``, a prompt that is empty, that the chat template refuses, whose tools it
            ignores, that has a token which the model does not know, or that leaves completions no room in the context;
            or a template that does not show the prompt, or that it is the assistant's turn.
    """
    rows = [dict(row) if isinstance(row, Mapping) else {"prompt": row} for row in dataset or ()]
    room = policy.context - max_completion_tokens
    texts = [i for i, row in enumerate(rows) if row.get("tools") and isinstance(row.get("prompt"), str)]
    if texts:
        logger.warning(
            "%d prompts with tools are texts (prompt %d, ...), in which the tools do not show; only messages go "
            "through the chat template",
            len(texts),
            texts[0],
        )
    bare = [i for i, row in enumerate(rows) if isinstance(row.get("prompt"), str)]
    if bare and policy.tokenizer.chat_template is not None:
        logger.warning(
            "%d prompts are texts (prompt %d, ...), continued as they stand, though the policy's tokenizer has a chat "
            "template; give messages, such as [{'role': 'user', 'content': ...}], if the model answers conversations",
            len(bare),
            bare[0],
        )
    chats = [i for i, row in enumerate(rows) if "prompt" in row and is_messages(row["prompt"])]
    for i, row in enumerate(rows):
        if "prompt" not in row:
            columns = ", ".join(row)
            where = f"row {i}, whose columns are {columns}"
            raise HeedError("the dataset has no column 'prompt'", where, "rename one to 'prompt'")
        with located(f"prompt {i}"):
            tools = row.get("tools") if not isinstance(row["prompt"], str) else None
            ids = prompt_ids(row["prompt"], policy.tokenizer, tools)
            if i in chats[:1]:  # one speaks for all
                require_prompt_shown(row["prompt"], policy.tokenizer, tools)
            if leaves_tools_out(row["prompt"], policy.tokenizer, tools):
                raise HeedError(
                    "the chat template ignores the prompt's tools",
                    "column tools",
                    "set a tokenizer.chat_template that writes them, or rename the column if the model is to have none",
                )
        tokens = len(ids)
        if tokens == 0:
            raise HeedError(f"prompt {i} has no tokens", "dataset", "leave it out")
        require_rows(ids, policy.causal_lm, policy.tokenizer, f"prompt {i}")
        if tokens > room:
            raise HeedError(
                f"prompt {i} has {tokens} tokens, but the model's context of {policy.context} leaves {room} beside "
                f"completions of {max_completion_tokens}",
                "dataset",
                "shorten it, or lower --max-completion-tokens",
            )
    return rows
