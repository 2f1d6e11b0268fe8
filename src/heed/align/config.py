"""Every choice of an alignment run, with its default and its meaning; and the two presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from heed.errors import HeedError, flag_of

Rewards = Literal["learnt", "gold"]
"""What scores a built-in world's replies: judges learnt from noisy comparisons, or the world's own rewards."""

_LEAST = {
    **dict.fromkeys(("steps", "prompts_per_step", "completions_per_prompt", "epochs", "minibatches"), 1),
    **dict.fromkeys(("checkpoint_every", "max_completion_tokens", "eval_completions", "critic_epochs"), 1),
    **dict.fromkeys(("seed", "micro_batch", "top_k", "warmup_steps", "eval_every", "eval_prompts"), 0),
    **dict.fromkeys(("log_completions_every", "weight_decay", "max_grad_norm", "max_grad_ratio", "max_kl"), 0),
    **dict.fromkeys(("max_fall", "clip_low", "clip_high", "importance_cap", "kl_beta", "entropy_beta"), 0),
    **dict.fromkeys(("gamma", "gae_lambda", "cooldown_steps"), 0),
    **dict.fromkeys(("beta1", "beta2", "gram_memory", "critic_value_clip", "critic_rank"), 0),
}
"""The least value of each setting that has one."""

_BELOW_ONE = ("beta1", "beta2", "gram_memory")
_AT_MOST_ONE = ("top_p", "gamma", "gae_lambda")
_POSITIVE = ("temperature", "learning_rate", "critic_learning_rate", "top_p")


@dataclass
class AlignConfig:
    """How a policy is trained.

    Args:
        steps: optimiser rounds: rollout, scoring, update.
        seed: of everything random: prompts, tokens, initial adapters.
        prompts_per_step: prompts drawn for one rollout, by each process.
        completions_per_prompt: completions of each prompt; group baselines compare these.
        micro_batch: sequences in one forward and backward; 0 takes the whole minibatch.
        epochs: passes over one rollout (PPO epochs).
        minibatches: optimiser steps in one epoch.
        max_completion_tokens: longest completion, tokens.
        temperature: of sampling; log-probabilities are taken at the same temperature.
        top_p: nucleus of sampling; 1 keeps all tokens.
        top_k: likeliest tokens kept in sampling; 0 keeps all.
        sampler: continuous batching in slots, the static-cache loop, or transformers' generate; auto takes the first
            that fits the model.
        learning_rate: of AdamW.
        beta1: AdamW's memory of the gradient.
        beta2: AdamW's memory of the squared gradient.
        weight_decay: AdamW's, decoupled.
        warmup_steps: rounds over which the learning rate rises linearly.
        cooldown_steps: last rounds, over which the learning rate falls linearly to a tenth.
        max_grad_norm: the combined gradient is clipped to this norm; 0 leaves it alone.
        max_grad_ratio: and to so many times its own running mean norm; 0 leaves it alone. The objectives' units and the
            weighting set the gradient's scale, so that only a bound in its own terms stops a rare outlier (a reply in a
            hundred with a hundredfold gradient) from undoing the policy.
        max_kl: how far the updates of a round may move the policy, nats a token of its completions; the step that goes
            further is halved, three times at most, and then undone. 0 lets every step stand.
        max_fall: where the next round's replies are worse by more standard errors than this in every objective, the
            round is undone, and the next steps are half as long. 0 lets every round stand.
        clip_updates: shorten a tensor's step where its gradient is larger than Adam's memory is prepared for
            (StableAdamW).
        advantage: gae (K critics), group (relative to the prompt's other completions, over their deviation) or
            leave_one_out (less their mean).
        surrogate: ppo (clipped), cispo (clipped weights) or plain (policy gradient).
        clip_low: ratios below 1 - clip_low are clipped.
        clip_high: ratios above 1 + clip_high are clipped.
        importance_cap: largest weight of a token, by its probability for the trained policy over the sampler's, where
            the model is in half precision; 0 weights none.
        average_over: what the surrogate is a mean over: the batch's tokens or its sequences.
        kl_beta: weight of the KL to the reference.
        kl_place: in each token's reward, or in the loss.
        kl_in: counted in each objective (the paper), or once, outside their balance.
        entropy_beta: weight of each token's entropy in each objective's reward, in running deviations of that
            objective's rewards; falls linearly to 0 where the cooldown begins. Keeps the entropy from collapsing onto
            the first rewarded completions.
        gamma: discount of gae.
        gae_lambda: lambda of gae.
        critic_learning_rate: of the critics' AdamW.
        critic_epochs: passes of the critics over one rollout.
        critic_value_clip: PPO's value clipping, in deviations of the returns; 0 is off.
        critic_rank: rank of the critics' adapter at most; 0 takes the policy's.
        critic_scale: learn each value in units of its own returns.
        normalise_rewards: divide each objective's rewards by the deviation of the batch (running).
        gram: plain, unbiased (from micro-batches, against the noise of small gradients) or adam (in Adam's metric).
        gram_memory: share of the past in a moving average of the Gram matrix; 0 takes each step's own.
        scope: gradients of all trainable parameters, or the Gram matrix of the last layer's (the paper).
        jacobian_path: how K gradients are taken; auto chooses by the surrogate's rank.
        eval_every: rounds between evaluations; 0 evaluates at the start and at the end only.
        eval_prompts: prompts of an evaluation, the same each time; 0 leaves evaluation out.
        eval_completions: completions of each of these.
        checkpoint_every: rounds between checkpoints.
        log_completions_every: rounds between completions files; 0 writes none but before and after.
        gradient_checkpointing: recompute activations in the backward pass (less memory, more time).
        dtype: of the weights that are not trained: an adapter's base; auto keeps the checkpoint's. What is trained is
            float32.
    """

    steps: int = 200
    seed: int = 0
    prompts_per_step: int = 16
    completions_per_prompt: int = 4
    micro_batch: int = 8
    epochs: int = 1
    minibatches: int = 1
    max_completion_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    sampler: Literal["auto", "continuous", "static", "generate"] = "auto"
    learning_rate: float = 5e-5
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.0
    warmup_steps: int = 5
    cooldown_steps: int = 0
    max_grad_norm: float = 1.0
    max_grad_ratio: float = 3.0
    max_kl: float = 0.0
    max_fall: float = 0.0
    clip_updates: bool = False
    advantage: Literal["gae", "group", "leave_one_out"] = "gae"
    surrogate: Literal["ppo", "cispo", "plain"] = "ppo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    importance_cap: float = 2.0
    average_over: Literal["tokens", "sequences"] = "tokens"
    kl_beta: float = 0.02
    kl_place: Literal["reward", "loss"] = "reward"
    kl_in: Literal["each", "once"] = "each"
    entropy_beta: float = 0.0
    gamma: float = 1.0
    gae_lambda: float = 0.95
    critic_learning_rate: float = 1e-4
    critic_epochs: int = 1
    critic_value_clip: float = 0.0
    critic_rank: int = 0
    critic_scale: bool = True
    normalise_rewards: bool = False
    gram: Literal["plain", "unbiased", "adam"] = "plain"
    gram_memory: float = 0.0
    scope: Literal["all", "last_layer"] = "all"
    jacobian_path: Literal["auto", "factored", "sequential", "batched"] = "auto"
    eval_every: int = 20
    eval_prompts: int = 32
    eval_completions: int = 4
    checkpoint_every: int = 40
    log_completions_every: int = 0
    gradient_checkpointing: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        for name, kind in get_type_hints(AlignConfig).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise HeedError(
                    f"'{getattr(self, name)}' is no choice", flag_of(name), f"take {', '.join(get_args(kind))}"
                )
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise HeedError(f"{getattr(self, name)} is too little", flag_of(name), f"give at least {least:g}")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise HeedError(f"{getattr(self, name)} is not positive", flag_of(name), "give more than 0")
        for name in _BELOW_ONE + _AT_MOST_ONE:
            value = getattr(self, name)
            if value > 1 or (name in _BELOW_ONE and value == 1):
                fix = "give less than 1" if name in _BELOW_ONE else "give at most 1"
                raise HeedError(f"{value} is too much", flag_of(name), fix)
        if self.critic_value_clip > 0 and self.critic_epochs == 1:
            raise HeedError(
                "in the critics' only pass their values are the old ones, which nothing clips",
                "--critic-value-clip",
                "raise --critic-epochs, or leave it out",
            )
        if self.advantage != "gae" and self.completions_per_prompt < 2:
            raise HeedError(
                "a group baseline needs at least two completions of each prompt",
                "--completions-per-prompt",
                "raise it, or take --advantage gae",
            )
        if self.max_fall > 0 and self.prompts_per_step < 2:
            raise HeedError("one prompt tells no fall from chance", "--max-fall", "give more --prompts-per-step, or 0")
        if self.prompts_per_step % self.minibatches:
            raise HeedError(
                f"{self.prompts_per_step} prompts do not divide into {self.minibatches} minibatches",
                "--minibatches",
                "take a divisor",
            )
        if self.gram == "unbiased" and self.scope == "last_layer":
            raise HeedError(
                "the unbiased Gram matrix is of all trainable parameters",
                "--scope",
                "take --scope all, or --gram plain",
            )
        if self.gram == "unbiased" and self.micro_batches < 2:
            raise HeedError(
                "an unbiased Gram matrix needs at least two micro-batches in a minibatch",
                "--micro-batch",
                f"set it to {max(1, self.minibatch // 8)} or less",
            )
        if self.gram == "unbiased" and not self.equal_micro_batches:
            raise HeedError(
                f"an unbiased Gram matrix needs equal micro-batches, and {self.micro_batch} does not divide a "
                f"minibatch of {self.minibatch}",
                "--micro-batch",
                "take a divisor",
            )
        if self.micro_batch and self.advantage != "gae" and self.micro_batch % self.completions_per_prompt:
            raise HeedError(
                f"a micro-batch of {self.micro_batch} splits the {self.completions_per_prompt} completions of a prompt",
                "--micro-batch",
                f"take a multiple of {self.completions_per_prompt}",
            )

    @property
    def minibatch(self) -> int:
        """Sequences in one optimiser step."""
        return self.prompts_per_step * self.completions_per_prompt // self.minibatches

    @property
    def micro_batches(self) -> int:
        """Forward and backward passes in one optimiser step."""
        return -(-self.minibatch // (self.micro_batch or self.minibatch))

    @property
    def equal_micro_batches(self) -> bool:
        """Whether the micro-batches of one optimiser step have as many sequences each."""
        return self.minibatch % (self.micro_batch or self.minibatch) == 0

    @property
    def on_policy(self) -> bool:
        """Whether every sample is used once, by the policy that drew it."""
        return self.epochs * self.minibatches == 1


WAY_BACK: dict[str, Any] = {"max_kl": 0.05, "clip_updates": True}
"""What keeps a run from losing in a round what it has learnt (docs/evidence/jolts.md)."""
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "steady": WAY_BACK,
    "modern": {"advantage": "group", "gram": "unbiased", "micro_batch": 8, "gram_memory": 0.9, **WAY_BACK},
}
"""``paper``: PPO with a critic per objective, GAE, the KL in each objective's reward, the plain Gram matrix: what
`AlignConfig` defaults to. ``steady``: the same with a way back. ``modern``: no critics, group-relative advantages, the
unbiased Gram matrix from eight micro-batches (of 16 prompts with 4 completions each), averaged over about ten steps
(with fewer or without memory the estimate is so noisy that it does harm), and the way back."""


def from_preset(preset: str, **changes: Any) -> AlignConfig:
    """A preset with changes over it.

    Raises:
        HeedError: no such preset or setting.

    >>> from_preset("modern", steps=10).advantage
    'group'
    """
    if preset not in PRESETS:
        raise HeedError(f"there is no preset '{preset}'", "--preset", f"take one of {', '.join(PRESETS)}")
    known = {field.name for field in dataclasses.fields(AlignConfig)}
    if unknown := sorted(set(changes) - known):
        raise HeedError(f"no setting is called {unknown[0]}", "config", "see heed align --help")
    return AlignConfig(**{**PRESETS[preset], **changes})


def check_adapter(rank: int, alpha: int) -> None:
    """Refuse an adapter that cannot be, or would learn nothing.

    Args:
        rank: of the adapter; 0 trains all parameters.
        alpha: its scale.

    Raises:
        HeedError: a negative rank, or a scale with which nothing is learnt.
    """
    if rank < 0:
        raise HeedError(f"a rank of {rank}", "--lora-r", "give at least 1, or 0 to train all parameters")
    if rank > 0 and alpha < 1:
        raise HeedError(f"an adapter of scale {alpha} learns nothing", "--lora-alpha", "give at least 1")
