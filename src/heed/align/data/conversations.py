"""Prompts and completions as text or as messages, and how each becomes a model's tokens.

A prompt is a text or a list of messages ``{"role": ..., "content": ...}`` (TRL's conversational format). A
completion is a text, or a list that holds one message of the assistant. Everything that turns the two into
tokens is in this module, so that a policy, its warm start and its reward models read a text in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from heed.errors import HeedError

Message: TypeAlias = dict[str, str]
Prompt: TypeAlias = str | Sequence[Message]
Completion: TypeAlias = str | Sequence[Message]


def is_messages(value: object) -> bool:
    """Whether a value is a non-empty list of messages with a role and a content.

    >>> is_messages([{"role": "user", "content": "Good morning"}]), is_messages("Good morning")
    (True, False)
    """
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(message, Mapping) and "role" in message and "content" in message for message in value)
    )


def completion_text(completion: Completion) -> str:
    """The text of a completion, given as text or as one message.

    >>> completion_text([{"role": "assistant", "content": "Rest."}])
    'Rest.'
    """
    return completion if isinstance(completion, str) else "".join(message["content"] for message in completion)


def as_message_completion(completion: Completion) -> list[Message]:
    """A completion as TRL hands it to a reward function when the prompt is a list of messages.

    >>> as_message_completion("Rest.")
    [{'role': 'assistant', 'content': 'Rest.'}]
    """
    if isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return list(completion)


def render_prompt(prompt: Prompt, tokenizer: Any) -> str:
    """A prompt as the text that the model continues.

    Args:
        prompt: a text, which is returned as it is, or messages, which go through the tokenizer's chat template
            with the assistant's turn opened (``add_generation_prompt=True``).
        tokenizer: the policy's tokenizer.

    Returns:
        The text; messages give a text that already carries its special tokens.

    Raises:
        HeedError: messages, but the tokenizer has no chat template; or neither text nor messages.

    >>> render_prompt("Fever and cough.", tokenizer=None)
    'Fever and cough.'
    """
    if isinstance(prompt, str):
        return prompt
    _require_template(prompt, tokenizer)
    return str(tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """A prompt's tokens: a text gets the tokenizer's special tokens, rendered messages already have them."""
    text = render_prompt(prompt, tokenizer)
    return list(tokenizer(text, add_special_tokens=isinstance(prompt, str))["input_ids"])


def prompt_and_completion_ids(prompt: Prompt, completion: Completion, tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens of a prompt as generation sees them, and those of the completion that follows, without its end.

    The completion's tokens are the joined text's where that begins with the prompt's own tokens (so that a
    sentencepiece tokenizer adds no space at the seam), else the completion's on its own.

    Returns:
        Two lists of token ids; no end-of-sequence token is added.
    """
    before = prompt_ids(prompt, tokenizer)
    text, reply = render_prompt(prompt, tokenizer), completion_text(completion)
    joined, straddles = _join(text, reply, tokenizer, special=isinstance(prompt, str))
    if not straddles and joined[: len(before)] == before:
        return before, joined[len(before) :]
    return before, list(tokenizer(reply, add_special_tokens=False)["input_ids"])


def judged_ids(prompt: Prompt, completion: Completion, tokenizer: Any) -> list[int]:
    """The tokens that a sequence-classification model reads to score a completion.

    With a chat template, the conversation rendered by it (a text prompt is the user's message); without one, the
    prompt's text followed by the completion's. Where a token would straddle the seam of the two texts (word-level
    tokenizers), each is tokenised on its own, as the policy saw them.

    Raises:
        HeedError: the prompt is a list of messages and the tokenizer has no chat template.
    """
    if tokenizer.chat_template is not None or not isinstance(prompt, str):
        _require_template(prompt, tokenizer)
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        text = tokenizer.apply_chat_template(messages + as_message_completion(completion), tokenize=False)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    reply = completion_text(completion)
    joined, straddles = _join(prompt, reply, tokenizer, special=True)
    if not straddles:
        return joined
    return prompt_ids(prompt, tokenizer) + list(tokenizer(reply, add_special_tokens=False)["input_ids"])


def _join(before: str, after: str, tokenizer: Any, special: bool) -> tuple[list[int], bool]:
    """Tokens of the joined text, and whether one of them straddles the seam (slow tokenizers cannot tell: no)."""
    encoded = tokenizer(before + after, add_special_tokens=special, return_offsets_mapping=bool(tokenizer.is_fast))
    seam = len(before)
    straddles = any(start < seam < end for start, end in encoded.get("offset_mapping", ()))
    return list(encoded["input_ids"]), straddles


def _require_template(prompt: object, tokenizer: Any) -> None:
    if not isinstance(prompt, str) and not is_messages(prompt):
        raise HeedError(
            f"a prompt is {type(prompt).__name__}, neither text nor a list of messages",
            where=repr(prompt)[:80],
            fix='give text or [{"role": "user", "content": "..."}]',
        )
    if tokenizer.chat_template is None:
        raise HeedError(
            "the prompts are conversations, but the tokenizer has no chat template",
            where=f"tokenizer {tokenizer.name_or_path or type(tokenizer).__name__}",
            fix="set tokenizer.chat_template, or give the prompts as text",
        )
