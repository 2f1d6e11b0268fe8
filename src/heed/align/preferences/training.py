"""What the warm start and the reward models share: one configuration, and transformers' Trainer kept quiet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from heed.align.models.pretrained import quiet_transformers
from heed.align.preferences.config import TrainingConfig
from heed.errors import HeedError, RunFailed
from heed.runs.randomness import capture_randomness, restore_randomness, seed_everything

OnStep: TypeAlias = Callable[[int, int, float], None]
"""Called after each optimiser step with the step, the total of steps and the step's loss."""


@contextmanager
def preserved_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators, which transformers draws from, and put them back afterwards."""
    state = capture_randomness()
    seed_everything(seed)
    try:
        yield
    finally:
        restore_randomness(state)


def fit(
    model: Any,
    data: Sequence[dict[str, Any]],
    collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]],
    config: TrainingConfig,
    trainer_type: type[Trainer] = Trainer,
    on_step: OnStep | None = None,
) -> float:
    """Train a model in place on the device that it lies on; nothing is printed and no folder stays behind.

    Args:
        model: a transformers or peft model.
        data: the examples, as ``collate`` takes them.
        collate: examples -> the batch that the model, or the trainer's ``compute_loss``, takes.
        config: how to train.
        trainer_type: the Trainer, with its loss.
        on_step: called after each optimiser step.

    Returns:
        The loss of the last step. The model is left in evaluation mode.

    Raises:
        RunFailed: the loss was not finite.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    progress = _Progress(on_step)
    # Named only where it is wanted: transformers renames the argument in v6 and warns of its old name.
    checkpointing: dict[str, Any] = {}
    if config.gradient_checkpointing:
        checkpointing = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    with TemporaryDirectory() as folder, preserved_randomness(config.seed):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch_size,
            gradient_accumulation_steps=config.accumulation,
            learning_rate=config.learning_rate,
            warmup_steps=config.warmup_steps,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            bf16=config.precision == "bfloat16",
            seed=config.seed,
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            remove_unused_columns=False,
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to="none",
            disable_tqdm=True,
            **checkpointing,
        )
        trainer = trainer_type(
            model=model, args=arguments, train_dataset=data, data_collator=collate, callbacks=[progress]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if config.gradient_checkpointing:
        model.gradient_checkpointing_disable()
    model.eval()
    return progress.loss


class _Progress(TrainerCallback):
    """Passes each step's loss on, and stops at one that is not finite."""

    def __init__(self, on_step: OnStep | None) -> None:
        self.on_step = on_step
        self.loss = math.nan

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:  # noqa: ARG002 - transformers' signature
        if logs is None or "loss" not in logs:
            return
        self.loss = logs["loss"]
        if not math.isfinite(self.loss):
            raise RunFailed(f"the loss is {self.loss} at step {state.global_step}; lower the learning rate")
        if self.on_step is not None:
            self.on_step(state.global_step, state.max_steps, self.loss)


def best_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def save(model: Any, tokenizer: Any, output_dir: str | Path) -> None:
    """Write model and tokenizer in transformers' own format, without its progress bar."""
    with quiet_transformers():
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)


def require_empty(output_dir: str | Path | None) -> None:
    """Refuse to write over what lies in a folder.

    Raises:
        HeedError: the folder exists and holds something.
    """
    if output_dir is not None and Path(output_dir).exists() and any(Path(output_dir).iterdir()):
        raise HeedError("the output folder is not empty", where=str(output_dir), fix="give another, or remove it")
