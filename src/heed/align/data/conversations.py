"""Prompts and completions as text or as messages, and how each becomes a model's tokens.

A prompt is a text or a list of messages ``{"role": ..., "content": ...}`` (TRL's conversational format). A
completion is a text, or a list that holds one message of the assistant. Everything that turns the two into
tokens is in this module, so that a policy, its warm start and its reward models read a text in the same way.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import DocstringParsingException, TypeHintParsingException

from heed.errors import HeedError

Message: TypeAlias = dict[str, str]
Prompt: TypeAlias = str | Sequence[Message]
Completion: TypeAlias = str | Sequence[Message]
Tools: TypeAlias = Sequence[Any] | str | None
"""What a prompt's model may call: JSON schemas, functions, or schemas as JSON text; None or empty without any."""


def is_messages(value: object) -> bool:
    """Whether a value is a non-empty list of messages with a role and a content.

    A content is a text or a list of parts; None beside calls of tools.

    >>> is_messages([{"role": "user", "content": "Good morning"}]), is_messages("Good morning")
    (True, False)
    >>> is_messages([{"role": "user", "content": None}])
    False
    """
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(message, Mapping) and _is_message(message) for message in value)
    )


def _is_message(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    said = isinstance(content, str | list) or (content is None and "content" in message and message.get("tool_calls"))
    return isinstance(message.get("role"), str) and bool(said)


def completion_text(completion: Completion) -> str:
    """The text of a completion, given as text or as one message.

    >>> completion_text([{"role": "assistant", "content": "Rest."}])
    'Rest.'
    """
    return completion if isinstance(completion, str) else "".join(message["content"] for message in completion)


def as_message_prompt(prompt: Prompt) -> list[Message]:
    """A prompt as a conversation: a text is what a user says.

    >>> as_message_prompt("Good morning")
    [{'role': 'user', 'content': 'Good morning'}]
    """
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def as_message_completion(completion: Completion) -> list[Message]:
    """A completion as TRL hands it to a reward function when the prompt is a list of messages.

    >>> as_message_completion("Rest.")
    [{'role': 'assistant', 'content': 'Rest.'}]
    """
    if isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return list(completion)


def render_prompt(prompt: Prompt, tokenizer: Any, tools: Tools = None) -> str:
    """A prompt as the text that the model continues.

    Args:
        prompt: a text, which is returned as it is, or messages, which go through the tokenizer's chat template
            with the assistant's turn opened (``add_generation_prompt=True``), or with the last message left open if
            that is the assistant's own (``continue_final_message=True``).
        tokenizer: the policy's tokenizer.
        tools: handed to the chat template, as TRL hands it the column of that name; a text has no use for them.

    Returns:
        The text; messages give a text that already carries its special tokens.

    Raises:
        HeedError: messages, but the tokenizer has no chat template, or one that refuses them; neither text nor
            messages; or tools that are none.

    >>> render_prompt("Fever and cough.", tokenizer=None)
    'Fever and cough.'
    """
    if isinstance(prompt, str):
        return prompt
    _require_template(prompt, tokenizer)
    if continues(prompt):
        return _render(prompt, tokenizer, tools, continue_final_message=True)
    return _render(prompt, tokenizer, tools, add_generation_prompt=True)


def prompt_ids(prompt: Prompt, tokenizer: Any, tools: Tools = None) -> list[int]:
    """A prompt's tokens: a text gets the tokenizer's special tokens, rendered messages already have them."""
    text = render_prompt(prompt, tokenizer, tools)
    return list(tokenizer(text, add_special_tokens=isinstance(prompt, str))["input_ids"])


def prompt_and_completion_ids(
    prompt: Prompt, completion: Completion, tokenizer: Any, tools: Tools = None
) -> tuple[list[int], list[int]]:
    """The tokens of a prompt as generation sees them, and those of the completion that follows, without its end.

    The completion's tokens are the joined text's where that begins with the prompt's own tokens (so that a
    sentencepiece tokenizer adds no space at the seam), else the completion's on its own.

    Returns:
        Two lists of token ids; no end-of-sequence token is added.
    """
    before = prompt_ids(prompt, tokenizer, tools)
    text, reply = render_prompt(prompt, tokenizer, tools), completion_text(completion)
    joined, straddles = _join(text, reply, tokenizer, special=isinstance(prompt, str))
    if not straddles and joined[: len(before)] == before:
        return before, joined[len(before) :]
    return before, list(tokenizer(reply, add_special_tokens=False)["input_ids"])


def judged_ids(prompt: Prompt, completion: Completion, tokenizer: Any, tools: Tools = None) -> list[int]:
    """The tokens that a sequence-classification model reads to score a completion.

    They are read as the policy reads them: messages as a conversation, by the judge's own chat template; a text as it
    stands, followed by the completion's. Where a token would straddle the seam of the two texts (word-level
    tokenizers), each is tokenised on its own, as the policy saw them.

    Raises:
        HeedError: the prompt is a list of messages and the tokenizer has no chat template, or one that refuses them.
    """
    if not isinstance(prompt, str):
        text = render_conversation(prompt, completion, tokenizer, tools)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    reply = completion_text(completion)
    joined, straddles = _join(prompt, reply, tokenizer, special=True)
    if not straddles:
        return joined
    return prompt_ids(prompt, tokenizer) + list(tokenizer(reply, add_special_tokens=False)["input_ids"])


def end_of_reply(prompt: Prompt, tokenizer: Any) -> list[int]:
    """The tokens that end a completion: what the chat template closes a turn with; the end-of-sequence token of a text.

    Of what the template writes after a reply only what comes up to its first special token counts; where it writes
    no special token, the end-of-sequence token follows.
    """
    after = ""
    if not isinstance(prompt, str):
        reply = "b"  # any: some templates take parts of a reply out, such as its thoughts
        closed = render_conversation(prompt, reply, tokenizer)
        opened = _render(_conversation(prompt, reply), tokenizer, None, continue_final_message=True)
        after = closed.removeprefix(opened).rstrip() if closed.startswith(opened) else ""
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = list(tokenizer(after, add_special_tokens=False)["input_ids"]) if after else []
    last = next((index for index, id_ in enumerate(ids) if id_ in special), None)
    return [*ids, tokenizer.eos_token_id] if last is None else ids[: last + 1]


def template_ends(tokenizer: Any) -> list[int]:
    """The token with which the chat template closes the assistant's turn; none without a template for plain turns."""
    if tokenizer.chat_template is None:
        return []
    try:
        return end_of_reply([{"role": "user", "content": "a"}], tokenizer)[-1:]
    except HeedError:  # a template that wants more than that; the run's prompts are checked by themselves
        return []


def render_conversation(prompt: Sequence[Message], completion: Completion, tokenizer: Any, tools: Tools = None) -> str:
    """Prompt and completion as the closed conversation that a judge reads.

    Raises:
        HeedError: not messages, no chat template, or one that refuses them.
    """
    _require_template(prompt, tokenizer)
    return _render(_conversation(prompt, completion), tokenizer, tools)


def require_prompt_shown(prompt: Sequence[Message], tokenizer: Any, tools: Tools = None) -> None:
    """Refuse a chat template that does not show a model what it is to answer, and that it is to answer.

    Where a template has no generation prompt, a reply must follow the user's message at once (as in Mistral's), not
    behind a mark that the model would have to write itself.

    Raises:
        HeedError: the template leaves out the prompt's last message, or does not open the assistant's turn.
    """
    shown, last = render_prompt(prompt, tokenizer, tools), prompt[-1]
    if isinstance(last["content"], str):
        longer = [*prompt[:-1], {**last, "content": last["content"] + " a"}]
        if shown == render_prompt(longer, tokenizer, tools):
            fix = "set a tokenizer.chat_template that writes every message"
            raise HeedError("the chat template leaves out the prompt's last message", repr(list(prompt))[:80], fix)
    if continues(prompt) or shown != _render(prompt, tokenizer, tools):
        return
    reply = "Yes, 1729."  # any that no template writes by itself
    whole = render_conversation(prompt, reply, tokenizer, tools)
    before, found, _ = whole.removeprefix(shown).partition(reply)
    if whole.startswith(shown) and found and before.strip():
        raise HeedError(
            f"the chat template does not open the assistant's turn: replies follow {before!r}, which no prompt ends in",
            where="add_generation_prompt",
            fix="set a tokenizer.chat_template that writes it where add_generation_prompt is true",
        )


def require_completion_shown(prompt: Prompt, tokenizer: Any, tools: Tools = None) -> None:
    """Refuse a chat template by which a judge would not see what it judges; a text needs none.

    Raises:
        HeedError: the template refuses the conversation, or leaves out its completion.
    """
    if isinstance(prompt, str):
        return
    one, other = (render_conversation(prompt, reply, tokenizer, tools) for reply in "ab")
    if one == other:
        fix = "set a tokenizer.chat_template that writes the assistant's messages"
        raise HeedError("the chat template leaves out the completion", repr(list(prompt))[:80], fix)


def leaves_tools_out(prompt: Prompt, tokenizer: Any, tools: Tools) -> bool:
    """Whether a prompt has tools of which its rendered text says nothing: a text, or a template that ignores them."""
    if not tools_of(tools):
        return False
    return isinstance(prompt, str) or render_prompt(prompt, tokenizer, tools) == render_prompt(prompt, tokenizer)


def tools_of(tools: Tools) -> list[Any] | None:
    """Tools as a chat template takes them, without the Nones that a dataset fills in; None if there are none.

    Raises:
        HeedError: neither JSON schemas nor functions, nor the text of schemas.

    >>> tools_of('[{"name": "look_up"}]'), tools_of([{"name": "add", "unit": None}]), tools_of([])
    ([{'name': 'look_up'}], [{'name': 'add'}], None)
    """
    try:
        listed = json.loads(tools) if isinstance(tools, str) else tools
        each = [json.loads(tool) if isinstance(tool, str) else tool for tool in listed or ()]
    except (TypeError, ValueError):
        each = [None]
    if not all(isinstance(tool, Mapping) or callable(tool) for tool in each):
        raise HeedError(
            f"the tools are {tools!r}"[:120],
            where="column tools",
            fix="give a list of JSON schemas or functions, or the list as JSON text",
        )
    return [_given(tool) for tool in each] or None


def continues(prompt: Prompt) -> bool:
    """Whether a completion goes on with the prompt's last message, because that is the assistant's own.

    >>> continues([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "That is"}])
    True
    """
    if isinstance(prompt, str):
        return False
    return prompt[-1]["role"] == "assistant" and isinstance(prompt[-1]["content"], str)


def with_template_arguments(tokenizer: Any, arguments: Mapping[str, bool | float | str | None]) -> Any:
    """A copy of a tokenizer whose chat template has some of its variables set, such as ``enable_thinking``.

    They are written into the template, so that whatever renders with it, or with a saved copy, renders alike.

    Args:
        tokenizer: with a chat template.
        arguments: the variables' names and values.

    Raises:
        HeedError: no chat template, or one that does not know a variable.
    """
    template = tokenizer.chat_template or ""
    for name in arguments:
        if not (isinstance(template, str) and name.isidentifier() and re.search(rf"\b{name}\b", template)):
            raise HeedError(
                f"the model's chat template does not know the variable {name!r}",
                where="template arguments",
                fix="leave it out, or set tokenizer.chat_template",
            )
    copied = copy.deepcopy(tokenizer)
    copied.chat_template = "".join(f"{{% set {name} = {value!r} %}}" for name, value in arguments.items()) + template
    return copied


@contextmanager
def located(where: str) -> Iterator[None]:
    """Within: an error says of which row it is, before what it says of the place itself."""
    try:
        yield
    except HeedError as error:
        raise HeedError(error.what, f"{where}, {error.where}", error.fix) from error


def _conversation(prompt: Sequence[Message], completion: Completion) -> list[Message]:
    said = as_message_completion(completion)
    if not continues(prompt):
        return [*prompt, *said]
    return [*prompt[:-1], {**prompt[-1], "content": prompt[-1]["content"] + said[0]["content"]}, *said[1:]]


def _given(value: Any) -> Any:
    """A message or a tool without what is None in it: a dataset gives every row the keys of all rows."""
    if isinstance(value, Mapping):
        return {key: _given(part) for key, part in value.items() if part is not None or key == "content"}
    return [_given(part) for part in value] if isinstance(value, list) else value


def _render(messages: Sequence[Message], tokenizer: Any, tools: Tools, **options: Any) -> str:
    known = tools_of(tools)
    try:
        return str(
            tokenizer.apply_chat_template(
                [_given(message) for message in messages], tools=known, tokenize=False, **options
            )
        )
    except (
        TemplateError,
        TypeError,
        ValueError,
        DocstringParsingException,  # of tools that are functions
        TypeHintParsingException,
    ) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise HeedError(
            f"the chat template refuses the conversation: {reason}"[:300],
            where=repr(list(messages))[:80],
            fix="give messages that the template takes, or set tokenizer.chat_template",
        ) from error


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
