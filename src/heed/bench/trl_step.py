"""TRL's GRPOTrainer, one step at a time: the peer of `heed.bench.step`. TRL is optional."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
)

from heed.align.config import AlignConfig

Reward = Callable[..., list[float]]


def trl_is_installed() -> bool:
    """Whether TRL can be imported here."""
    return find_spec("trl") is not None


class _Gate(TrainerCallback):
    """Lets the trainer take a step when it is asked for one."""

    def __init__(self) -> None:
        self.asked, self.taken, self.closed = threading.Semaphore(0), threading.Semaphore(0), False

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.asked.acquire()

    def on_step_end(self, _arguments: Any, _state: Any, control: TrainerControl, **_: Any) -> TrainerControl:
        control.should_training_stop = self.closed
        self.taken.release()
        return control


class TRLStep:
    """A GRPOTrainer whose own loop runs in a thread, which waits before each step until that is asked for.

    Its step is the callbacks' ``on_step_begin`` to ``on_step_end``: generation, scoring, gradients and update.

    Args:
        model: without adapter; its weights stay as they are.
        tokenizer: the model's.
        lora: the adapter.
        prompts: texts.
        rewards: reward functions, whose sum is maximised.
        config: of heed's trainer, whose choices TRL gets under its own names.
        folder: which TRL asks for; nothing is written there.
        balanced: by heed's subclass, which keeps the rewards apart; else by TRL's own trainer.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        lora: LoraConfig,
        prompts: Sequence[str],
        rewards: Sequence[Reward],
        config: AlignConfig,
        folder: str,
        balanced: bool = False,
    ) -> None:
        from trl import GRPOConfig, GRPOTrainer

        from heed.trl import BalancedGRPOTrainer

        cuda = model.device.type == "cuda"
        arguments = GRPOConfig(
            output_dir=folder,
            max_steps=1_000_000,
            per_device_train_batch_size=config.prompts_per_step * config.completions_per_prompt,
            gradient_accumulation_steps=1,
            num_generations=config.completions_per_prompt,
            num_iterations=1,
            max_completion_length=config.max_completion_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            beta=config.kl_beta,
            epsilon=config.clip_low,
            learning_rate=config.learning_rate,
            lr_scheduler_type="constant",
            adam_beta1=config.beta1,
            adam_beta2=config.beta2,
            max_grad_norm=config.max_grad_norm,
            gradient_checkpointing=config.gradient_checkpointing,
            bf16=cuda,
            use_cpu=not cuda,
            seed=config.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        self._gate = _Gate()
        trainer = (BalancedGRPOTrainer if balanced else GRPOTrainer)(
            model,
            list(rewards),
            arguments,
            Dataset.from_dict({"prompt": list(prompts)}),
            processing_class=tokenizer,
            callbacks=[self._gate],
            peft_config=lora,
        )
        trainer.remove_callback(PrinterCallback)
        self._trainer, self._threads = trainer, ThreadPoolExecutor(1)
        self._training: Future[Any] | None = None

    def step(self) -> None:
        """One step of TRL's loop; what it raises is raised here."""
        if self._training is None:  # not before: accelerate's state is shared, and a second trainer sets it up anew
            self._training = self._threads.submit(self._trainer.train)
            self._training.add_done_callback(lambda _: self._gate.taken.release())  # whoever waits hears of a failure
        self._gate.asked.release()
        self._gate.taken.acquire()
        if self._training.done():
            self._training.result()

    def close(self) -> None:
        """End the loop, after one more step if it still runs."""
        self._gate.closed = True
        self._gate.asked.release()
        self._threads.shutdown()
