"""Reward models learnt from comparisons: one sequence-classification model with one head for each objective."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, TaskType, get_peft_model
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, Trainer

from heed.align.data.conversations import judged_ids, leaves_tools_out, located, require_completion_shown
from heed.align.models.pretrained import (
    context_of,
    head_scores,
    keep_end,
    pad_right,
    quiet_transformers,
    require_model_path,
    require_rows,
    with_pad_token,
)
from heed.align.objectives.reward_models import FORM_KEY, SHIFT_KEY
from heed.align.preferences.comparisons import Comparison
from heed.align.preferences.config import RewardTrainingConfig
from heed.align.preferences.training import (
    OnStep,
    best_device,
    fit,
    preserved_randomness,
    require_empty,
    save,
)
from heed.errors import HeedError

logger = logging.getLogger(__name__)

SIGNS = {"left": 1.0, "right": -1.0, "tie": 0.0, "skip": 0.0}


@dataclass(frozen=True)
class RewardTrainingReport:
    """What came of training a reward model; every dictionary has one entry for each objective.

    Args:
        path: the model's folder.
        accuracy: share of the held-out verdicts that the scores order rightly; None where there are none.
        held_out: number of held-out verdicts for left or right.
        trained: number of verdicts for left or right that were trained on.
        ties: number of ties, which carry no loss.
        skipped: number of comparisons without a verdict on the objective.
        shift: each head's mean score on the training completions, as recorded; 0 if not centred.
        loss: Bradley-Terry loss of the last optimiser step.
    """

    path: Path
    accuracy: dict[str, float | None]
    held_out: dict[str, int]
    trained: dict[str, int]
    ties: dict[str, int]
    skipped: dict[str, int]
    shift: dict[str, float]
    loss: float


def bradley_terry_loss(left: Tensor, right: Tensor, verdicts: Tensor, margins: Tensor) -> Tensor:
    r"""Mean of ``-log sigmoid(winner - loser - margin)`` over the verdicts for left or right (Bradley & Terry 1952).

    The margin is as in Llama 2 (Touvron et al. 2023, eq. 2).

    Args:
        left: scores of the left completions, [B, K].
        right: scores of the right ones, [B, K].
        verdicts: +1 where left is better, -1 where right is, 0 for ties and objectives not judged, [B, K].
        margins: by how much the winner should lead, >= 0, [B, K].

    Returns:
        A scalar; 0 if no verdict decides. Each deciding verdict weighs the same, whatever its objective.

    >>> tie_and_win = torch.tensor([[0.0], [1.0]])
    >>> bradley_terry_loss(torch.ones(2, 1), torch.zeros(2, 1), tie_and_win, margins=torch.ones(2, 1))
    tensor(0.6931)
    """
    losses = torch.nn.functional.softplus(margins - verdicts * (left - right))
    decides = verdicts != 0
    return (losses * decides).sum() / decides.sum().clamp(min=1)


class _PairTrainer(Trainer):
    """Transformers' Trainer with the Bradley-Terry loss on the two halves of the batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over each batch, so accumulation divides it

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002 - Trainer's signature
    ) -> Any:
        scores = head_scores(model, self.model.config, inputs["input_ids"], inputs["attention_mask"])
        left, right = scores.float().chunk(2)
        loss = bradley_terry_loss(left, right, inputs["verdicts"], inputs["margins"])
        return (loss, {"logits": scores}) if return_outputs else loss


def train_reward_model(
    base_model: str | Path | PreTrainedModel,
    tokenizer: Any,
    comparisons: Sequence[Comparison],
    objectives: Sequence[str],
    output_dir: str | Path,
    config: RewardTrainingConfig | None = None,
    peft_config: PeftConfig | None = None,
    on_step: OnStep | None = None,
) -> RewardTrainingReport:
    """Train one model with K heads from comparisons, and save it for any sequence-classification loader.

    Ties, skips and objectives without a verdict carry no loss. A Bradley-Terry score is defined up to a constant,
    so each head's mean on the training completions is recorded in ``config.json`` as ``heed_shift``; ``RewardModel``
    subtracts it, and a plain transformers load gives the same order with another zero.

    Args:
        base_model: a folder or hub id, or a model in memory, whose body is copied; the heads are new.
        tokenizer: the base model's; its chat template, if any, is part of what the reward model reads.
        comparisons: what was judged; see ``Comparison``.
        objectives: the K objectives to learn, in the order of the heads.
        output_dir: a new folder for model and tokenizer.
        config: how to train.
        peft_config: train this adapter and the heads only; it is merged before saving.
        on_step: called after each optimiser step with step, total and loss.

    Returns:
        Held-out accuracy of each objective, and the counts behind it.

    Raises:
        HeedError: no such model, no sequence-classification form of it, an objective on which nothing decides, two
            objectives of one name, or an output folder that is not empty.
        RunFailed: the loss was not finite.
    """
    config = config or RewardTrainingConfig()
    _require_objectives(objectives, comparisons)
    require_empty(output_dir)
    with preserved_randomness(config.seed):
        model = _with_heads(base_model, objectives, tokenizer.pad_token_id).to(best_device())
        if peft_config is not None:
            adapter = copy.deepcopy(peft_config)
            adapter.task_type = TaskType.SEQ_CLS  # which makes peft train and save the heads too
            model = get_peft_model(model, adapter)
    if model.config.pad_token_id != tokenizer.pad_token_id:  # it was added to the tokenizer alone
        tokenizer = with_pad_token(tokenizer, "reward training", model)
    limit = config.max_length or context_of(model)
    chats = [index for index, one in enumerate(comparisons) if not isinstance(one["prompt"], str)]
    rows = []
    for index, comparison in enumerate(comparisons):
        with located(f"comparison {index}"):
            rows.append(encode_comparison(comparison, objectives, tokenizer, limit))
            if index in chats[:1]:  # one speaks for all
                require_completion_shown(comparison["prompt"], tokenizer, comparison.get("tools"))
        require_rows(rows[-1]["left"] + rows[-1]["right"], model, tokenizer, f"comparison {index}")
    _say_truncated(rows, limit)
    deaf = sum(leaves_tools_out(one["prompt"], tokenizer, one.get("tools")) for one in comparisons)
    if deaf:
        logger.warning(
            "the tools of %d comparisons are not read: the prompt is a text, or the template ignores them", deaf
        )
    texts = [index for index, one in enumerate(comparisons) if isinstance(one["prompt"], str)]
    if texts and tokenizer.chat_template is not None:
        logger.warning(
            "the prompts of %d comparisons are texts (comparison %d, ...), read as they stand, though the tokenizer "
            "has a chat template; give messages, such as [{'role': 'user', 'content': ...}], if policies get such",
            *(len(texts), texts[0]),
        )
    if not (texts and chats):
        setattr(model.config, FORM_KEY, "texts" if texts else "messages")
    trained, held_out = _split([row for row in rows if any(row["verdicts"])], config)

    pad_id = tokenizer.pad_token_id
    if any(side[-1:] == [pad_id] for row in rows for side in (row["left"], row["right"])):
        # Texts end in it (it is the eos token): whoever loads the model is to read them at their end.
        model.config.pad_token_id = model.config.get_text_config().pad_token_id = None

    def collate(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        return collate_comparisons(batch, pad_id or 0)

    loss = fit(model, trained, collate, config, _PairTrainer, on_step)
    if peft_config is not None:
        model = model.merge_and_unload()
    shift = torch.zeros(len(objectives))
    if config.centre:
        left, right = _scores(model, trained, config)
        shift = torch.cat([left, right]).mean(dim=0)
        setattr(model.config, SHIFT_KEY, shift.tolist())
    accuracy, decided = _accuracy(model, held_out, objectives, config)
    save(model, tokenizer, output_dir)
    verdicts = {name: [comparison["verdicts"].get(name, "skip") for comparison in comparisons] for name in objectives}
    return RewardTrainingReport(
        path=Path(output_dir),
        accuracy=accuracy,
        held_out=decided,
        trained={name: sum(row["verdicts"][k] != 0 for row in trained) for k, name in enumerate(objectives)},
        ties={name: given.count("tie") for name, given in verdicts.items()},
        skipped={name: given.count("skip") for name, given in verdicts.items()},
        shift=dict(zip(objectives, shift.tolist(), strict=True)),
        loss=loss,
    )


def _require_objectives(objectives: Sequence[str], comparisons: Sequence[Comparison]) -> None:
    if not objectives or len(set(objectives)) < len(objectives):
        raise HeedError(
            f"the objectives are {', '.join(objectives) or 'none'}", where="reward training", fix="give each name once"
        )
    judged = sorted({name for comparison in comparisons for name in comparison["verdicts"]})
    for name in objectives:
        if not any(comparison["verdicts"].get(name) in ("left", "right") for comparison in comparisons):
            raise HeedError(
                f"none of {len(comparisons)} comparisons decides on objective {name!r}",
                where="reward training",
                fix=f"the comparisons judge {', '.join(judged) or 'nothing'}",
            )


def _with_heads(base_model: str | Path | PreTrainedModel, objectives: Sequence[str], pad_id: int | None) -> Any:
    """A sequence-classification model on the base model's body, float32, with new heads named by the objectives."""
    labels = dict(enumerate(objectives))
    settings: dict[str, Any] = {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}
    where = base_model.config.name_or_path if isinstance(base_model, PreTrainedModel) else str(base_model)
    try:
        with quiet_transformers():
            if not isinstance(base_model, PreTrainedModel):
                require_model_path(base_model, "base model")
            given = (
                base_model.config if isinstance(base_model, PreTrainedModel) else AutoConfig.from_pretrained(base_model)
            )
            known = pad_id is not None and pad_id < given.get_text_config().vocab_size
            settings["pad_token_id"] = pad_id if known else None
            if isinstance(base_model, PreTrainedModel):
                config = copy.deepcopy(given)
                config.update(settings)
                model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
                model.base_model.load_state_dict(base_model.base_model.state_dict())
                return model
            return AutoModelForSequenceClassification.from_pretrained(
                base_model, dtype=torch.float32, ignore_mismatched_sizes=True, **settings
            )
    except (OSError, ValueError, TypeError, AssertionError, SafetensorError) as error:
        raise HeedError(
            f"cannot put heads on the base model: {str(error).splitlines()[0]}",
            where,
            fix="give a folder or hub id of a model that has a sequence-classification form",
        ) from error


def encode_comparison(
    comparison: Comparison, objectives: Sequence[str], tokenizer: Any, limit: int | None = None
) -> dict[str, Any]:
    """One comparison as numbers.

    Returns:
        ``left`` and ``right``, the reward model's token ids, cut to their last ``limit``; ``cut``, whether they were;
        ``verdicts`` (+1 left, -1 right, 0 otherwise) and ``margins``, K floats each.
    """
    prompt, tools = comparison["prompt"], comparison.get("tools")
    sides = [judged_ids(prompt, text, tokenizer, tools) for text in (comparison["left"], comparison["right"])]
    verdicts, margins = comparison["verdicts"], comparison.get("margins", {})
    return {
        "left": keep_end(sides[0], limit, tokenizer),
        "right": keep_end(sides[1], limit, tokenizer),
        "cut": limit is not None and max(map(len, sides)) > limit,
        "verdicts": [SIGNS[verdicts.get(name, "skip")] for name in objectives],
        "margins": [float(margins.get(name, 0.0)) for name in objectives],
    }


def collate_comparisons(batch: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Pad comparisons: the left completions are the first half of the rows, the right ones the second.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 [2B, T]; ``verdicts`` and ``margins``, float32 [B, K].
    """
    inputs = pad_right([row["left"] for row in batch] + [row["right"] for row in batch], pad_id)
    verdicts = torch.tensor([row["verdicts"] for row in batch])
    return {**inputs, "verdicts": verdicts, "margins": torch.tensor([row["margins"] for row in batch])}


def _say_truncated(rows: Sequence[dict[str, Any]], limit: int | None) -> None:
    cut = sum(row["cut"] for row in rows)
    if cut:
        logger.warning("%d of %d comparisons exceed %d tokens; their start is cut off", cut, len(rows), limit)


def _split(rows: list[dict[str, Any]], config: RewardTrainingConfig) -> tuple[list[Any], list[Any]]:
    """Training and held-out rows; at least one of each where there are two and any are to be held out."""
    count = min(round(len(rows) * config.held_out) or int(config.held_out > 0), len(rows) - 1)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(config.seed)).tolist()
    return [rows[index] for index in order[count:]], [rows[index] for index in order[:count]]


@torch.no_grad()
def _scores(model: Any, rows: Sequence[dict[str, Any]], config: RewardTrainingConfig) -> tuple[Tensor, Tensor]:
    """Scores of the left and of the right completions, float32 [B, K] each, on the CPU; in the training's precision."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["left"]) + len(rows[row]["right"]))  # little padding
    halves = []
    for start in range(0, len(rows), config.batch_size):
        batch = collate_comparisons([rows[row] for row in order[start : start + config.batch_size]], pad_id=0)
        inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
        with torch.autocast(model.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            scores = head_scores(model, model.config, **inputs)
        halves.append(scores.float().cpu().chunk(2))
    back = torch.tensor(order).argsort()
    return torch.cat([left for left, _ in halves])[back], torch.cat([right for _, right in halves])[back]


def _accuracy(
    model: Any, rows: Sequence[dict[str, Any]], objectives: Sequence[str], config: RewardTrainingConfig
) -> tuple[dict[str, float | None], dict[str, int]]:
    """Share of deciding verdicts that the scores order rightly (equal scores do not), and their number."""
    if not rows:
        return dict.fromkeys(objectives), dict.fromkeys(objectives, 0)
    left, right = _scores(model, rows, config)
    verdicts = torch.tensor([row["verdicts"] for row in rows])
    right_order = (verdicts * (left - right) > 0).sum(dim=0).tolist()
    decided = (verdicts != 0).sum(dim=0).tolist()
    accuracy = {name: hits / n if n else None for name, hits, n in zip(objectives, right_order, decided, strict=True)}
    return accuracy, dict(zip(objectives, decided, strict=True))
