"""Numbers between 0 and 1, one for each objective, written before a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from heed.align.data.conversations import Prompt, prompt_ids
from heed.align.models.policy import Policy
from heed.align.models.pretrained import require_rows
from heed.errors import HeedError

WriteTag: TypeAlias = Callable[[Sequence[str], Sequence[float]], str]
"""Objectives' names and their numbers in [0, 1] to the text that stands before a prompt."""


def write_tag(names: Sequence[str], shares: Sequence[float]) -> str:
    """The numbers in percent, as any tokenizer can write them.

    >>> write_tag(["help", "harmless"], [0.3, 0.7])
    '[help 30%, harmless 70%] '
    """
    return f"[{', '.join(f'{name} {share:.0%}' for name, share in zip(names, shares, strict=True))}] "


def tagged(prompt: Prompt, names: Sequence[str], shares: Sequence[float], write: WriteTag = write_tag) -> Any:
    """A prompt that carries numbers: before a text, and before what the user says last in a conversation.

    Args:
        prompt: a text or messages.
        names: of the objectives.
        shares: a number in [0, 1] for each.
        write: how they are written.

    Raises:
        HeedError: a conversation in which no user says a text.

    >>> tagged("Fever?", ["help", "harmless"], [0.3, 0.7])
    '[help 30%, harmless 70%] Fever?'
    >>> tagged([{"role": "user", "content": "Fever?"}], ["help"], [1.0])
    [{'role': 'user', 'content': '[help 100%] Fever?'}]
    """
    tag = write(names, shares)
    if isinstance(prompt, str):
        return tag + prompt
    messages = list(prompt)
    for place in reversed(range(len(messages))):
        if messages[place]["role"] == "user" and isinstance(messages[place]["content"], str):
            messages[place] = {**messages[place], "content": tag + messages[place]["content"]}
            return messages
    raise HeedError("no user says a text in this conversation", repr(messages)[:80], "leave it out, or add one")


def check_tags(
    rows: Sequence[dict[str, Any]],
    policy: Policy,
    names: Sequence[str],
    write: WriteTag,
    max_completion_tokens: int,
    told: Sequence[Sequence[float]],
) -> None:
    """Refuse prompts that cannot carry their numbers.

    Args:
        rows: of the dataset, with a column ``prompt``.
        policy: whose context they must fit, and whose tokenizer must tell numbers apart.
        names: of the objectives.
        write: how the numbers are written.
        max_completion_tokens: room that is left for completions.
        told: the numbers that prompts will carry, for each preference.

    Raises:
        HeedError: numbers of two preferences that the tokens do not tell apart, or a prompt that no longer fits the
            context.
    """
    for i, row in enumerate(rows):
        tools = None if isinstance(row["prompt"], str) else row.get("tools")
        ids = prompt_ids(tagged(row["prompt"], names, told[0], write), policy.tokenizer, tools)
        if i == 0:
            shown = {tuple(prompt_ids(tagged(row["prompt"], names, n, write), policy.tokenizer, tools)) for n in told}
            if len(shown) < len(told):
                what = f"the policy's tokens show {len(shown)} of the {len(told)} preferences that prompts carry apart"
                raise HeedError(what, "tokenizer", "give fewer --preferences, or a tokenizer that writes the numbers")
            require_rows(ids, policy.causal_lm, policy.tokenizer, "prompt 0 with its numbers")
        room = policy.context - max_completion_tokens
        if len(ids) > room:
            what = f"prompt {i} with its numbers has {len(ids)} tokens, and the context leaves {room}"
            raise HeedError(what, "dataset", "shorten it, or lower --max-completion-tokens")
