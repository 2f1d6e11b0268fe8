"""Objectives given by sequence-classification models: one head, or several heads of one forward pass."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer

from heed.align.data.conversations import (
    Completion,
    Prompt,
    Tools,
    judged_ids,
    leaves_tools_out,
    located,
    require_completion_shown,
)
from heed.align.models.precision import overflowed
from heed.align.models.pretrained import (
    context_of,
    head_scores,
    keep_end,
    pad_right,
    quiet_transformers,
    require_model_path,
    require_rows,
)
from heed.align.objectives.base import Objective, ObjectiveSpec, require_numbers
from heed.align.objectives.classifiers import load_classifier
from heed.errors import HeedError

logger = logging.getLogger(__name__)

SHIFT_KEY = "heed_shift"
"""Config entry of a reward model trained by heed: what is subtracted from each head (its mean on the training data)."""
FORM_KEY = "heed_form"
"""Another: whether it learnt from prompts that are ``texts`` or ``messages``; not there if from both."""

DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def require_dtype(dtype: str, path: str) -> None:
    """Refuse a dtype that is none.

    Raises:
        HeedError: says which there are.
    """
    if dtype not in DTYPES:
        raise HeedError(f"dtype {dtype!r} is not known", where=path, fix=f"give one of {', '.join(DTYPES)}")


@dataclass(frozen=True)
class HeadSpec:
    """One head of a many-headed reward model as an objective.

    Args:
        name: the objective's name.
        head: the head's index, or its label in the model's ``id2label``.
        sign: +1 if more is better, -1 if less is.
        scale: positive factor on the values.
        unit: what the values are measured in.
    """

    name: str
    head: int | str
    sign: float = 1.0
    scale: float = 1.0
    unit: str = ""


class ScoringModel:
    """A loaded sequence-classification model with its own tokenizer, frozen, in evaluation mode.

    It remembers its last batch, so that objectives that share it cost one forward pass between them.

    Args:
        path: a local folder or a hub id.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: where it runs; a CUDA device if there is one, else the CPU.
        batch_size: completions in one forward pass.
        max_length: tokens kept, from the end (a cls token stays); the model's context if None.

    Raises:
        HeedError: nothing at the path, or no sequence-classification head in it.
    """

    def __init__(
        self, path: str, dtype: str, device: str | torch.device | None, batch_size: int, max_length: int | None
    ) -> None:
        require_dtype(dtype, path)
        require_model_path(path, "reward model")
        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(path)
                model, loading = load_classifier(path, DTYPES[dtype])
        except (
            OSError,
            ValueError,
            TypeError,
            AssertionError,
            SafetensorError,
        ) as error:  # torch asserts that pad_token_id has a row
            raise HeedError(
                f"cannot load a reward model: {str(error).splitlines()[0]}",
                where=path,
                fix="give a folder with config.json, weights and tokenizer of a sequence-classification model",
            ) from error
        if loading["missing_keys"]:
            raise HeedError(
                f"the model has no sequence-classification head ({', '.join(sorted(loading['missing_keys']))} missing)",
                where=path,
                fix="give a model saved by AutoModelForSequenceClassification, or train one with train_reward_model",
            )
        self.path, self.batch_size = path, batch_size
        self.tokenizer = tokenizer
        # What the model takes for padding when it reads a text alone; None if nothing.
        self.padding: int | None = model.config.get_text_config().pad_token_id
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval().requires_grad_(False)
        settings = model.config.to_dict()
        self.labels: dict[int, str] = {int(index): label for index, label in model.config.id2label.items()}
        self.max_length: int | None = max_length or context_of(model)
        self.shift = torch.tensor(settings.get(SHIFT_KEY) or [0.0] * len(self.labels), dtype=torch.float32)
        self._is_ours, self._form = SHIFT_KEY in settings, settings.get(FORM_KEY)
        self._said_truncation = self._said_text = self._said_tools = False
        self._last: tuple[list[tuple[Prompt, Completion, Tools]], Tensor] | None = None

    def only_head(self) -> int:
        """The index of the model's one head.

        Raises:
            HeedError: it has several; the message lists them.
        """
        if len(self.labels) > 1:
            raise HeedError(
                f"the reward model has {len(self.labels)} heads, and none is named",
                where=self.path,
                fix=f"give head= one of {self._heads()}, or several of them by heads=",
            )
        return next(iter(self.labels))

    def _heads(self) -> str:
        return ", ".join(f"{index} ({label})" for index, label in sorted(self.labels.items()))

    def head_index(self, head: int | str) -> int:
        """The index of a head, given as index or label.

        Raises:
            HeedError: the model has no such head; the message lists those that it has.
        """
        by_label = {label: index for index, label in self.labels.items()}
        index = by_label.get(head) if isinstance(head, str) else head
        if isinstance(head, str) and index is None and head.isdecimal():
            index = int(head)
        if index is None or index not in self.labels:
            fix = f"its heads are {self._heads()}"
            raise HeedError(f"the reward model has no head {head!r}", where=self.path, fix=fix)
        return index

    def check(self, prompt: Prompt, tools: Tools = None) -> None:
        """Say once if prompts are of another form than those it learnt from, or if a template ignores tools.

        Raises:
            HeedError: messages without a chat template, or that it refuses.
        """
        form = "texts" if isinstance(prompt, str) else "messages"
        if self._form not in (None, form) and not self._said_text:
            self._said_text = True
            logger.warning(
                "reward model %s learnt from prompts that are %s, and judges %s: it reads another form than it knows",
                *(self.path, self._form, form),
            )
        if not isinstance(prompt, str):
            with located(f"reward model {self.path}"):
                require_completion_shown(prompt, self.tokenizer, tools)
                ignored = not self._said_tools and leaves_tools_out(prompt, self.tokenizer, tools)
            if ignored:
                self._said_tools = True
                logger.warning(
                    "reward model %s judges without the prompts' tools: its chat template ignores them", self.path
                )
        elif self.tokenizer.chat_template is not None and not self._is_ours and not self._said_text:
            self._said_text = True
            logger.warning(
                "reward model %s has a chat template, but texts are judged as they stand, as the policy reads them; "
                "give the prompts as messages if it knows conversations alone",
                self.path,
            )

    @torch.no_grad()
    def scores(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], tools: Sequence[Tools] | None = None
    ) -> Tensor:
        """All heads' scores of a batch; ``tools`` are those of each prompt.

        Returns:
            float32 [B, heads] on the CPU, less the shift that the model's config records.

        Raises:
            HeedError: scores that overflow in float16.
        """
        pairs = list(zip(prompts, completions, tools or [None] * len(prompts), strict=True))
        if self._last is not None and self._last[0] == pairs:
            return self._last[1]
        kept = self._truncate(
            [judged_ids(prompt, completion, self.tokenizer, own) for prompt, completion, own in pairs]
        )
        for ids in kept:
            require_rows(ids, self.model, self.tokenizer, f"reward model {self.path}")
        order = sorted(range(len(kept)), key=lambda index: len(kept[index]))  # rows of like length: little padding
        scores = torch.empty(len(kept), len(self.labels))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            inputs = pad_right([self._as_read_alone(kept[row]) for row in rows], self.padding or 0)
            inputs = {key: value.to(self.device) for key, value in inputs.items()}
            scores[rows] = head_scores(self.model, self.model.config, **inputs).float().cpu()
        if self.model.dtype == torch.float16 and not bool(scores.isfinite().all()):
            raise overflowed("the reward model's scores", self.path, self.model.dtype, "dtype=")
        scores -= self.shift
        self._last = (pairs, scores)
        return scores

    def _truncate(self, ids: list[list[int]]) -> list[list[int]]:
        """Keep the end of each row: the completion is judged, the prompt's start is what can be spared."""
        if self.max_length is None:
            return ids
        long = sum(len(row) > self.max_length for row in ids)
        if long and not self._said_truncation:
            self._said_truncation = True
            logger.warning(
                "reward model %s: %d of %d texts are longer than %d tokens; their start is cut off "
                "(said once; later batches are cut without a word)",
                self.path,
                long,
                len(ids),
                self.max_length,
            )
        return [keep_end(row, self.max_length, self.tokenizer) for row in ids]

    def _as_read_alone(self, ids: list[int]) -> list[int]:
        """A row up to the token at which the model reads the text alone: before what it takes for padding."""
        end = len(ids)
        while end > 1 and ids[end - 1] == self.padding:
            end -= 1
        return ids[:end] or [self.padding or 0]


_loaded: weakref.WeakValueDictionary[tuple[object, ...], ScoringModel] = weakref.WeakValueDictionary()


def load_scoring_model(
    path: str | Path,
    dtype: str = "auto",
    device: str | torch.device | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
) -> ScoringModel:
    """Load a scoring model, or return the one in memory that has the same path and options.

    Args and errors are those of ``ScoringModel``.
    """
    key = (str(path), dtype, str(device), batch_size, max_length)
    model = _loaded.get(key)
    if model is None:
        model = ScoringModel(str(path), dtype, device, batch_size, max_length)
        _loaded[key] = model
    return model


class ManyHeadedRewardModel(Objective):
    """K objectives from the chosen heads of one sequence-classification model, in one forward pass.

    Prompts that are messages go through the model's own chat template; a text is read as it stands, with the completion
    behind it. What ``train_reward_model`` recorded as ``heed_shift`` is subtracted; models from elsewhere have none.

    Args:
        path: a local folder or a hub id, loadable by ``AutoModelForSequenceClassification``.
        heads: the heads to score by, each with its name and sign.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16"; scores are float32 in any case.
        device: where it runs; a CUDA device if there is one, else the CPU.
        batch_size: completions in one forward pass.
        max_length: tokens kept, from the end (a cls token stays); the model's context if None. Cutting is said once.

    Raises:
        HeedError: nothing at the path, no sequence-classification head in it, or no such head.
    """

    def __init__(
        self,
        path: str | Path,
        heads: Sequence[HeadSpec],
        dtype: str = "auto",
        device: str | torch.device | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
    ) -> None:
        self.specs = tuple(ObjectiveSpec(head.name, head.sign, head.scale, head.unit) for head in heads)
        self.model = load_scoring_model(path, dtype, device, batch_size, max_length)
        self.columns = [self.model.head_index(head.head) for head in heads]

    def check(self, prompt: Prompt, tools: Tools = None) -> None:
        """Refuse messages that the model's chat template refuses; see ``Objective.check``."""
        self.model.check(prompt, tools)

    def score(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        columns: Mapping[str, Sequence[Any]],
    ) -> Tensor:
        """Score a batch; see ``Objective.score``. Of the columns a model reads ``tools`` alone."""
        scores = self.model.scores(prompts, completions, columns.get("tools"))[:, self.columns]
        return require_numbers(scores, self.specs, completions)


class RewardModel(ManyHeadedRewardModel):
    """One head of a sequence-classification model as an objective.

    Two of them that name the same path with the same options share the loaded model and its forward pass.

    Args:
        path: a local folder or a hub id, loadable by ``AutoModelForSequenceClassification``.
        name: the objective's name, else the last part of the path.
        head: the head's index, or its label in the model's ``id2label``; may be left out where there is but one.
        sign: +1 if more is better, -1 if less is (a cost model).
        scale: positive factor on the values.
        unit: what the values are measured in.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: where it runs; a CUDA device if there is one, else the CPU.
        batch_size: completions in one forward pass.
        max_length: tokens kept, from the end (a cls token stays); the model's context if None.

    Raises:
        HeedError: nothing at the path, no sequence-classification head in it, no such head, or several heads of which
            none is named.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        head: int | str | None = None,
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "",
        dtype: str = "auto",
        device: str | torch.device | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
    ) -> None:
        model = load_scoring_model(path, dtype, device, batch_size, max_length)
        head = model.only_head() if head is None else head
        heads = [HeadSpec(name or Path(path).name, head, sign, scale, unit)]
        super().__init__(path, heads, dtype, device, batch_size, max_length)
