"""What of TRL's GRPOTrainer heed stands on: looked at before a run, and refused in one line where it is another."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import trl
from trl import GRPOConfig, GRPOTrainer

from heed.errors import HeedError

TRIED = ("1.16",)
"""Versions of TRL, up to their last part, that the tests were run with."""

_CALLED: dict[str, tuple[str, ...]] = {
    "_generate_and_score_completions": ("inputs",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_compute_loss": ("model", "inputs"),
    "_get_per_token_logps_and_entropies": ("model", "input_ids", "attention_mask", "logits_to_keep"),
    "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
    "_save_checkpoint": ("model", "trial"),
    "_load_optimizer_and_scheduler": ("checkpoint",),
}
"""Methods that are overridden or called, and their first parameters."""


def check_contract(trainer: type = GRPOTrainer) -> None:
    """Refuse a TRL whose trainer is built otherwise than those that were tried: its minors move things.

    Args:
        trainer: TRL's.

    Raises:
        HeedError: names the method that is gone or takes something else.

    >>> check_contract()
    """
    for name, parameters in _CALLED.items():
        method = getattr(trainer, name, None)
        known = [] if method is None else list(inspect.signature(inspect.unwrap(method)).parameters)[1:]
        if tuple(known[: len(parameters)]) != parameters:
            raise HeedError(
                f"GRPOTrainer.{name} is not what heed stands on",
                f"trl {trl.__version__}",
                f"install a version that was tried: {_tried()}",
            )


def check_settings(args: GRPOConfig, distributed: str) -> None:
    """Refuse settings that would have no effect beside the balance, or whose gradients it does not take apart.

    Args:
        args: the trainer's.
        distributed: how the processes share the model, as accelerate names it.

    Raises:
        HeedError: names the setting.
    """
    refused: Sequence[tuple[bool, str, str]] = (
        (bool(args.reward_weights) and len(set(args.reward_weights)) > 1, "reward_weights",
         "a balance undoes weights of rewards: give the weighting a preference, as weighting='pgapo' takes"),
        (args.multi_objective_aggregation != "sum_then_normalize", "multi_objective_aggregation",
         "the rewards are not summed here: leave it out"),
        (bool(getattr(args, "entropy_coef", 0.0)) or bool(getattr(args, "use_adaptive_entropy", False)), "entropy_coef",
         "the entropy's gradient is no objective's: take 0"),
        (bool(args.use_liger_kernel), "use_liger_kernel", "its loss gives no log-probabilities: leave it out"),
        (bool(args.fp16), "fp16", "scaled gradients cannot be balanced: take bf16"),
        (args.n_gpu > 1, "n_gpu", "start one process a GPU, with accelerate or torchrun"),
        (distributed in ("DEEPSPEED", "FSDP", "MEGATRON_LM"), "distributed_type",
         "a gradient must lie whole in each process: train adapters with plain data parallelism"),
    )  # fmt: skip
    for wrong, setting, fix in refused:
        if wrong:
            raise HeedError(
                f"BalancedGRPOTrainer cannot take {setting}={_value(args, setting, distributed)}", setting, fix
            )


def _value(args: GRPOConfig, setting: str, distributed: str) -> Any:
    return getattr(args, setting, distributed)


def _tried() -> str:
    return ", ".join(f"{version}.x" for version in TRIED)
