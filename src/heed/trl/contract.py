"""What of TRL's GRPOTrainer heed stands on: looked at before a run, and refused in one line where it is another."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import trl
from trl import GRPOConfig, GRPOTrainer

from heed.balance import OneGradient
from heed.balance.weightings.conditioned import Conditioned
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
        (any(weight != 1 for weight in args.reward_weights or ()), "reward_weights",
         "a balance undoes a reward's size: give the weighting a preference, as weighting='pgapo' takes, and turn a "
         "reward's sign in its function"),
        (args.multi_objective_aggregation != "sum_then_normalize", "multi_objective_aggregation",
         "the rewards are not summed here: leave it out"),
        (bool(getattr(args, "entropy_coef", 0.0)) or bool(getattr(args, "use_adaptive_entropy", False)), "entropy_coef",
         "the entropy's gradient is no objective's: take 0"),
        (bool((args.gradient_checkpointing_kwargs or {}).get("use_reentrant")), "gradient_checkpointing_kwargs",
         "no gradient is seen within a reentrant checkpoint: take use_reentrant=False"),
        (bool(args.fp16), "fp16", "scaled gradients cannot be balanced: take bf16"),
        (distributed in ("DEEPSPEED", "FSDP", "MEGATRON_LM"), "distributed_type",
         "a gradient must lie whole in each process: train adapters with plain data parallelism"),
    )  # fmt: skip
    for wrong, setting, fix in refused:
        if wrong:
            value = getattr(args, setting, distributed)
            raise HeedError(f"BalancedGRPOTrainer cannot take {setting}={value}", setting, fix)


def check_weighting(weighting: object, name: str) -> None:
    """Refuse what is no weighting of one policy's K gradients.

    Args:
        weighting: as it was built.
        name: of its method, or its class.

    Raises:
        HeedError: it makes one gradient of the rewards, or is several policies'.
    """
    if isinstance(weighting, OneGradient):
        fix = "TRL has its own (multi_objective_aggregation, reward_weights); heed align has this one"
        raise HeedError(f"{name} makes one gradient of all rewards: nothing is left to balance", "weighting", fix)
    if isinstance(weighting, Conditioned):
        raise HeedError(f"{name} is one policy for several preferences", "weighting", "train it by heed align")


def _tried() -> str:
    return ", ".join(f"{version}.x" for version in TRIED)
