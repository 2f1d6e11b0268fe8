"""The prompts that a policy is trained on."""

from __future__ import annotations

from pathlib import Path

import datasets

from heed.align.data.conversations import is_messages
from heed.align.data.tables import read_table
from heed.errors import HeedError


def load_prompts(path: str | Path, split: str | None = None) -> datasets.Dataset:
    """Load prompts in TRL's form: a column ``prompt`` of texts or of message lists.

    Args:
        path: a ``.jsonl`` or ``.parquet`` file, a folder written by ``save_to_disk``, or a hub id.
        split: which split, where there are several; "train" if there is one of that name. A file has none.

    Returns:
        A dataset with ``prompt``; the other columns are kept for the reward functions.

    Raises:
        HeedError: nothing to read, a malformed line, no column ``prompt``, or a prompt that is empty or neither text
            nor messages.
    """
    table = read_table(path, split)
    if "prompt" not in table.columns:
        raise HeedError(
            "the data have no column 'prompt'",
            where=str(path),
            fix=f"rename the column that holds the prompts; the columns are {', '.join(table.columns)}",
        )
    for index, prompt in enumerate(table.data["prompt"]):
        if not (is_messages(prompt) or (isinstance(prompt, str) and prompt.strip())):
            raise HeedError(
                f"the prompt is {prompt!r}"[:80],
                where=table.location(index),
                fix='give a text, or messages [{"role": "user", "content": "..."}]',
            )
    return table.data
