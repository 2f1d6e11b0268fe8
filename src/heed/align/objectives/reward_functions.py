"""An objective given by a Python function, and how the command line names one: ``module:function``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from heed.align.data.conversations import Completion, Prompt, as_message_completion, completion_text, continues
from heed.align.objectives.base import Objective, ObjectiveSpec, excerpt, values_to_column
from heed.align.objectives.kinds import ObjectiveKind, ObjectiveText, register_objective_kind
from heed.errors import HeedError
from heed.runs.importing import is_named, named


class RewardFunction(Objective):
    """An objective given by a Python function with TRL's signature.

    Args:
        function: called as ``function(prompts=..., completions=..., **columns)``; returns a list of B floats, with
            None for a completion that it does not score; an ``async def`` is awaited. Where the prompts are messages,
            the completions are ``[[{"role": "assistant", "content": ...}], ...]``, as TRL passes them; what of the
            assistant's message the prompt had begun stands in the completion. In a run there is a column
            ``completion_ids`` beside the data's, each completion's tokens with its end. Columns that its signature
            has no place for are left out.
        name: the objective's name, else the function's.
        sign: +1 if more is better, -1 if less is.
        scale: positive factor on the values.
        unit: what the values are measured in.

    >>> def polite(completions, **columns):
    ...     return [float("please" in completion) for completion in completions]
    >>> RewardFunction(polite).score(["Ask."], ["Sit, please."], {})
    tensor([[1.]])
    """

    def __init__(
        self,
        function: Callable[..., Sequence[float | None] | Awaitable[Sequence[float | None]]],
        name: str | None = None,
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "",
    ) -> None:
        self.function = function
        self.specs = (ObjectiveSpec(name or str(getattr(function, "__name__", "")), sign, scale, unit),)
        parameters = inspect.signature(function).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        self._accepted = None if takes_all else set(parameters)

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
    ) -> Tensor:
        """Score a batch; see ``Objective.score``. The function's own exception becomes a HeedError."""
        name = self.specs[0].name
        pairs = [_as_trl(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        passed = {**columns, "prompts": [pair[0] for pair in pairs], "completions": [pair[1] for pair in pairs]}
        if self._accepted is not None:
            passed = {key: value for key, value in passed.items() if key in self._accepted}
        try:
            values = self.function(**passed)
            if inspect.isawaitable(values):
                values = asyncio.run_coroutine_threadsafe(_awaited(values), _event_loop()).result()
        except Exception as error:
            raise HeedError(
                f"objective {name!r} raised {type(error).__name__}: {error}",
                where=f"a batch of {len(completions)} completions, the first {excerpt(completions, 0)}",
                fix="mend the reward function; return None for a completion that it cannot score",
            ) from error
        return values_to_column(values, name, completions, source="function")


async def _awaited(values: Awaitable[Any]) -> Any:
    return await values


@functools.cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """One loop for all calls, in a thread of its own: clients that a function keeps open belong to their loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async reward functions", daemon=True).start()
    return loop


def _as_trl(prompt: Prompt, completion: Completion) -> tuple[Prompt, Completion]:
    """Prompt and completion in TRL's form: what the prompt began of the assistant's message is in the completion."""
    if isinstance(prompt, str):
        return prompt, completion
    if not continues(prompt):
        return prompt, as_message_completion(completion)
    return prompt[:-1], as_message_completion(prompt[-1]["content"] + completion_text(completion))


def _is_function(target: str) -> bool:
    return not Path(target).is_dir() and is_named(target)


def _from_text(text: ObjectiveText) -> RewardFunction:
    where = f"{text.option} {text.target}"
    function = named(text.target, where)
    if not callable(function):
        fix = "give a function (prompts, completions, **columns)"
        raise HeedError(f"{text.target!r} is not a function", where, fix)
    return RewardFunction(function, name=text.name, **text.options())


register_objective_kind(ObjectiveKind("module:function", _is_function, _from_text))
