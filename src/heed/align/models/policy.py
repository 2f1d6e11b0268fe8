"""The language model that is trained: its log-probabilities, reference and adapters, how it is loaded and saved."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from heed.align.data.conversations import template_ends
from heed.align.models.precision import overflowed, require_whole_dtype, train_in_float32
from heed.align.models.pretrained import (
    context_of,
    quiet_transformers,
    require_model_path,
    require_rows,
    rounding,
    with_pad_token,
)
from heed.align.models.sequences import Sequences
from heed.align.models.token_logp import TokenLogp, hidden_states
from heed.errors import HeedError

POLICY_ADAPTER = "default"
CRITIC_ADAPTER = "critic"


class Policy:
    """A causal language model with its tokenizer and its reference.

    With ``peft_config`` only an adapter is trained, and the reference is the model with that adapter switched off.
    Without, all parameters are trained and the reference is a frozen copy. The model is kept in evaluation mode: with
    dropout the policy that is trained would not be the one that sampled.

    Args:
        model: a model, a folder or a hub id; what is loaded here is put on a CUDA device if there is one.
        tokenizer: needed where ``model`` is a model.
        peft_config: LoRA settings, or None for full fine-tuning.
        dtype: of the weights that are not trained, when they are loaded here; what is trained is brought to float32.
        seed: of the adapter's initial weights.
        reference: whether the frozen copy is kept without ``peft_config``; a sampling model needs none.

    Raises:
        HeedError: no such model, no end token, logits that are not finite, or an adapter with which policy and
            reference do not begin as the model.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        peft_config: LoraConfig | None = None,
        dtype: str = "auto",
        seed: int = 0,
        reference: bool = True,
    ) -> None:
        trains_all = peft_config is None and reference
        if trains_all:
            require_whole_dtype(dtype)
        base, tokenizer = _load(model, tokenizer, "float32" if trains_all else dtype)
        if tokenizer.eos_token_id is None:
            raise HeedError("the tokenizer has no end token", _name(model), "set its eos_token")
        require_rows([tokenizer.eos_token_id], base, tokenizer, _name(model))
        self.tokenizer = with_pad_token(tokenizer, _name(model), base)
        self.peft_config, self.adapter = peft_config, POLICY_ADAPTER
        self.reference: PreTrainedModel | None = None
        self.model: nn.Module
        if peft_config is None:
            if trains_all and base.dtype in (torch.bfloat16, torch.float16):
                base = base.float()
            self.reference = copy.deepcopy(base).requires_grad_(False).eval() if reference else None
            self.model = base
        else:
            if peft_config.is_prompt_learning:
                kind, fix = type(peft_config).__name__, "give a LoraConfig"
                raise HeedError("the reference would read the prompt that is trained, which is no adapter", kind, fix)
            given = _sample_logp(base.eval(), base.config.get_text_config().vocab_size)
            if bool(given.isnan().any()):
                raise overflowed("the model's logits", _name(model), base.dtype, "--dtype")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                try:
                    self.model = get_peft_model(base, peft_config, adapter_name=POLICY_ADAPTER)
                except ValueError as error:
                    reason = str(error).split(". ")[0]
                    raise HeedError(reason, "--lora-targets", "name linear layers of the model") from error
            self._require_start(given)
            train_in_float32(self.model)
        self.model.eval()
        self._logp = TokenLogp(self.causal_lm)
        self._reference_logp = None if self.reference is None else TokenLogp(self.reference)

    def _require_start(self, given: Tensor) -> None:
        """Refuse an adapter's initialisation that leaves policy or reference other than the model was."""
        assert isinstance(self.model, PeftModel) and self.peft_config is not None
        held = set(self.trainable())
        shared = [name for name, p in self.model.named_parameters() if p.requires_grad and name not in held]
        if shared:
            raise HeedError(
                f"{len(shared)} parameters that the reference shares would be trained ({shared[0]}, ...)",
                f"bias={self.peft_config.bias!r}",
                "take bias='none'; lora_bias=True trains biases of the adapter's own",
            )
        self.model.eval()
        policy = _sample_logp(self.model, given.shape[-1])
        with self.model.disable_adapter():
            reference = _sample_logp(self.model, given.shape[-1])
        away = max(float((now - given).abs().mean()) for now in (policy, reference))
        if not away <= rounding(self.causal_lm.dtype):
            raise HeedError(
                f"the adapter's initialisation changes the model: policy or reference is {away:.2g} nats a token away",
                f"init_lora_weights={self.peft_config.init_lora_weights!r}",
                "take True, 'gaussian', 'orthogonal' or 'eva', which leave the model as it is",
            )

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model, with the adapters' layers in it."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def context(self) -> int:
        """How many tokens the model can read."""
        return context_of(self.causal_lm) or 1 << 30

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end a completion: of the tokenizer, its chat template and the model's generation config.

        Chat models often have several, such as Gemma's end of text and end of turn.
        """
        config = self.causal_lm.generation_config
        own = (config.eos_token_id if config is not None else None) or []
        own = own if isinstance(own, list) else [own]
        return sorted({self.tokenizer.eos_token_id, *own, *template_ends(self.tokenizer)})

    def trainable(self) -> dict[str, nn.Parameter]:
        """The policy's trainable parameters by name (the critics' adapter does not count)."""
        return {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if (self.peft_config is None or _is_of(POLICY_ADAPTER, name)) and parameter.requires_grad
        }

    def last_layer(self) -> list[str]:
        """Names of the trainable parameters of the last transformer layer (the paper's scope)."""
        layers = int(self.causal_lm.config.get_text_config().num_hidden_layers)
        return [name for name in self.trainable() if f".layers.{layers - 1}." in name or f".h.{layers - 1}." in name]

    def checkpoint_activations(self) -> None:
        """Recompute activations in the backward pass, without bringing back dropout.

        transformers' layers do so only in training mode, so just the layers, not what is in them, are put into it; and
        as a layer may drop out by itself, its own forward finds it in evaluation mode again.
        """
        self.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        self.causal_lm.enable_input_require_grads()
        for module in self.causal_lm.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True
                module._gradient_checkpointing_func = partial(
                    _checkpoint_evaluating, module, module._gradient_checkpointing_func
                )

    @property
    def recomputes_vectorised(self) -> bool:
        """Whether a layer may be recomputed inside a vectorised backward.

        peft's adapters on parameters (``target_parameters``, as of fused experts) rewrite their module in each forward,
        and a forward that fails there leaves the module rewritten.
        """
        return not any(isinstance(module, ParamWrapper) for module in self.model.modules())

    @property
    def unfactored(self) -> set[str]:
        """Names of an adapter's parameters that are no layers' weights alone.

        DoRA also takes the norm of the updated weight, and adapters on parameters (``target_parameters``) write it.
        """
        dora = isinstance(self.peft_config, LoraConfig) and self.peft_config.use_dora
        layers = [m for m in self.model.modules() if isinstance(m, ParamWrapper) or (dora and isinstance(m, LoraLayer))]
        parts = [part for layer in layers for name, part in layer.named_children() if name != "base_layer"]
        held = {id(parameter) for part in parts for parameter in part.parameters()}
        return {name for name, parameter in self.trainable().items() if id(parameter) in held}

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Within: every module is in evaluation mode, so that keys and values are kept; then as it was."""
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def logp(self, batch: Sequences, temperature: float = 1.0) -> Tensor:
        """Log-probabilities of the completions' tokens under the policy, [B, T] with graph; 0 off the mask."""
        return self._logp(batch, temperature)

    @torch.no_grad()
    def reference_logp(self, batch: Sequences, temperature: float = 1.0) -> Tensor:
        """The same under the reference: the adapter switched off, or the frozen copy; [B, T]."""
        if isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                return self._logp(batch, temperature)
        assert self._reference_logp is not None
        return self._reference_logp(batch, temperature)

    def hidden(self, batch: Sequences, backbone: nn.Module | None = None) -> Tensor:
        """Last hidden states at the positions from which the completions' tokens are chosen, [B, T, hidden]."""
        return hidden_states(self.causal_lm.base_model if backbone is None else backbone, batch)

    def add_critic_adapter(self, seed: int, rank: int = 0) -> list[nn.Parameter]:
        """Put a second adapter, the critics', on the same frozen base.

        Args:
            seed: of its initial weights.
            rank: at most this rank, with the policy's ratio of alpha to rank; 0 takes the policy's rank.

        Returns:
            Its parameters.
        """
        assert isinstance(self.model, PeftModel) and self.peft_config is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = copy.deepcopy(self.peft_config)
            if 0 < rank < config.r:
                config.lora_alpha = config.lora_alpha * rank / config.r
                config.r = rank
            self.model.add_adapter(CRITIC_ADAPTER, config)
        with self.critic_adapter():
            train_in_float32(self.model)
        return [p for name, p in self.model.named_parameters() if _is_of(CRITIC_ADAPTER, name)]

    @contextmanager
    def critic_adapter(self) -> Iterator[None]:
        """Within: the critics' adapter is active and trainable in place of the policy's."""
        assert isinstance(self.model, PeftModel)
        self.model.set_adapter(CRITIC_ADAPTER)
        try:
            yield
        finally:
            self.model.set_adapter(POLICY_ADAPTER)

    def save(self, folder: Path) -> None:
        """Save the adapter (or the whole model) and the tokenizer in transformers' and peft's own format."""
        if isinstance(self.model, PeftModel):
            # An adapter on the head is saved without the base's own embeddings, which have not changed.
            self.model.save_pretrained(folder, selected_adapters=[POLICY_ADAPTER], save_embedding_layers=False)
        else:
            self.causal_lm.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        """Read back the weights that :meth:`save` wrote, exactly."""
        if isinstance(self.model, PeftModel):
            stored = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
            set_peft_model_state_dict(self.model, stored, adapter_name=POLICY_ADAPTER)
            return
        with quiet_transformers():
            saved = type(self.causal_lm).from_pretrained(folder, dtype=self.causal_lm.dtype)
        self.causal_lm.load_state_dict(saved.state_dict())


def _is_of(adapter: str, parameter: str) -> bool:
    """Whether a parameter's name has the adapter's as one of its parts; embeddings' adapters have it as the last."""
    return adapter in parameter.split(".")


def _checkpoint_evaluating(
    layer: nn.Module, checkpoint: Callable[..., Any], forward: Callable[..., Any], *inputs: Any
) -> Any:
    """Checkpoint a layer's forward, which is in evaluation mode then and when it is recomputed."""

    def evaluating(*arguments: Any) -> Any:
        layer.training = False
        try:
            return forward(*arguments)
        finally:
            layer.training = True

    return checkpoint(evaluating, *inputs)


@torch.no_grad()
def _sample_logp(model: nn.Module, vocabulary: int) -> Tensor:
    """Log-probabilities [8, vocabulary] after each of eight tokens from all over the vocabulary."""
    ids = torch.linspace(0, vocabulary - 1, 8, device=next(model.parameters()).device).long()[None]
    return model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)


def _load(
    model: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, dtype: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not isinstance(model, str | Path):
        if tokenizer is None:
            raise HeedError("a model object needs its tokenizer", "AlignTrainer(tokenizer=...)", "pass both")
        if isinstance(model, PeftModel):
            raise HeedError("the model already carries an adapter", _name(model), "merge it: model.merge_and_unload()")
        return model, tokenizer
    if (Path(model) / "adapter_config.json").is_file():
        raise HeedError("the folder holds an adapter, not a whole model", str(model), "merge it into its base first")
    require_model_path(model, "language model")
    try:
        with quiet_transformers():
            loaded = AutoModelForCausalLM.from_pretrained(str(model), dtype=dtype)
            loaded = loaded.to("cuda" if torch.cuda.is_available() else "cpu")
            return loaded, tokenizer or AutoTokenizer.from_pretrained(str(model))
    except (OSError, ValueError, AssertionError, SafetensorError) as error:  # torch asserts that pad_token_id has a row
        reason = " ".join(str(error).split("\n")[0].split())
        raise HeedError(
            f"no causal language model at '{model}': {reason}", "--model", "name a model folder or a hub id"
        ) from error


def _name(model: str | Path | PreTrainedModel) -> str:
    return str(model) if isinstance(model, str | Path) else type(model).__name__
