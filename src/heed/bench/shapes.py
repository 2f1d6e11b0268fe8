"""The shapes of models that are measured: random weights, their tokenizer, and what a step of them must compute."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoModelForCausalLM, MistralConfig, PreTrainedModel, PreTrainedTokenizerFast

import heed
from heed.errors import HeedError

LORA_RANK = 16
NEVER = -1000.0
"""The end token's row of the head at the pinned coordinate: its logit is some thousands below all others."""


@dataclass(frozen=True)
class ModelShape:
    """A Mistral-architecture model and the batch that its gradients are measured on.

    Without a sliding window, as here, the architecture is Llama's.

    Args:
        vocabulary: number of tokens.
        hidden: width of the residual stream.
        intermediate: width of the feed-forward layers.
        layers: number of layers.
        heads: attention heads.
        key_value_heads: heads of keys and values.
        sequences: B.
        tokens: length of each sequence, all of them completion but the first.
    """

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    sequences: int
    tokens: int

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's linear maps."""
        narrow = self.hidden * self.key_value_heads // self.heads
        D, F = self.hidden, self.intermediate
        return [(D, D), (D, narrow), (D, narrow), (D, D), (D, F), (D, F), (F, D)]

    def forward_flops(self, sequences: int, tokens: int, scored: int) -> int:
        """FLOPs of a forward with adapters: linear maps, attention counted whole as torch does, and the head.

        Args:
            sequences: B.
            tokens: length of each.
            scored: positions of each at which the head is read.
        """
        return sequences * (self._linear(tokens) + self._adapters(tokens) + self._attention(tokens, 2)) + (
            self._head(sequences * scored)
        )

    def step_flops(self, sequences: int, tokens: int, completion: int) -> int:
        """FLOPs that a step cannot do without: each token generated, scored by the reference, and learnt from.

        That is three forwards, and one backward through the frozen base into the adapters; critics are not in it.

        Args:
            sequences: B.
            tokens: length of each, its prompt included.
            completion: how many of them are the completion's.
        """
        inputs = self._linear(tokens) + 2 * self._adapters(tokens) + self._attention(tokens, 5)
        backward = sequences * inputs + self._head(sequences * completion)
        return 3 * self.forward_flops(sequences, tokens, completion) + backward

    def cache_bytes(self, sequences: int, tokens: int, dtype: torch.dtype) -> int:
        """Bytes of the keys and values of so many sequences."""
        narrow = self.hidden * self.key_value_heads // self.heads
        return 2 * self.layers * sequences * tokens * narrow * dtype.itemsize

    def _linear(self, tokens: int) -> int:
        return 2 * tokens * self.layers * sum(i * o for i, o in self.linears)

    def _adapters(self, tokens: int) -> int:
        return 2 * tokens * self.layers * sum(LORA_RANK * (i + o) for i, o in self.linears)

    def _attention(self, tokens: int, products: int) -> int:
        return products * 2 * self.layers * self.hidden * tokens**2

    def _head(self, positions: int) -> int:
        return 2 * positions * self.hidden * self.vocabulary


SHAPES: dict[str, ModelShape] = {
    "tiny": ModelShape(512, 64, 192, 2, 4, 2, sequences=5, tokens=33),
    "2m": ModelShape(4096, 128, 384, 4, 4, 2, sequences=10, tokens=128),
    "30m": ModelShape(16000, 384, 1152, 10, 6, 3, sequences=10, tokens=256),
    "60m": ModelShape(16000, 512, 1792, 12, 8, 4, sequences=10, tokens=256),
    "1.1b": ModelShape(32000, 2048, 5632, 22, 32, 4, sequences=10, tokens=1024),
    "mistral-7b": ModelShape(32000, 4096, 14336, 32, 32, 8, sequences=10, tokens=1024),
}
"""By name; 1.1b is TinyLlama's. Ten sequences, so that one in five is a whole number of them."""


def check_device(device: str, shape: str) -> None:
    """Refuse what cannot be had here.

    Raises:
        HeedError: no such device or shape, no GPU, or a shape that is too large without one.
    """
    if device not in ("cpu", "cuda"):
        raise HeedError(f"there is no device '{device}' here", "--device", "choose cpu or cuda")
    if shape not in SHAPES:
        raise HeedError(f"there is no shape '{shape}'", "--shape", f"choose from {', '.join(SHAPES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise HeedError("torch sees no CUDA GPU", "--device cuda", "run it where there is one, or on --device cpu")
    if device == "cpu" and shape == "mistral-7b":
        raise HeedError("7 billion parameters need a GPU", "--shape mistral-7b", "add --device cuda")


def dtype_on(device: torch.device) -> torch.dtype:
    """In what a model is measured: bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def circumstances(device: torch.device, dtype: torch.dtype, name: str, shape: ModelShape) -> dict[str, Any]:
    """What every bench of a model says of where it ran, and on what.

    >>> told = circumstances(torch.device("cpu"), torch.float32, "tiny", SHAPES["tiny"])
    >>> list(told), told["device"], told["dtype"], told["shape"]["name"]
    (['device', 'version', 'torch', 'threads', 'dtype', 'shape'], 'cpu', 'float32', 'tiny')
    """
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "version": heed.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "shape": {"name": name, **asdict(shape)},
    }


def base_model(shape: ModelShape, device: torch.device, dtype: torch.dtype, seed: int, context: int) -> PreTrainedModel:
    """A random-weight model made on the device; the global random state is left as it was.

    Args:
        shape: the model's.
        device: where its weights are made; nothing is copied there.
        dtype: of the weights.
        seed: of the weights.
        context: tokens that it can read.
    """
    config = MistralConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=context,
        sliding_window=None,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def sharing_weights(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its weights: an adapter on the one is not on the other."""
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})


def words_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of as many words, ``w1`` and so on; token 0 is the end, and pads.

    >>> words_tokenizer(8)("w5 w2").input_ids
    [5, 2]
    """
    index = {"<end>": 0} | {f"w{number}": number for number in range(1, vocabulary)}
    core = Tokenizer(models.WordLevel(index, unk_token="<end>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<end>", pad_token="<end>", padding_side="left", model_max_length=1 << 20
    )


@torch.no_grad()
def never_end(model: PreTrainedModel, end: int) -> PreTrainedModel:
    """Make a random model draw no end token, by its weights alone, so that every sampler draws as many tokens.

    One coordinate of the residual stream is the same positive number for every token, about as large as all others
    together, as no layer writes to it; the head reads it for the end token only, and with a large negative weight.

    Args:
        model: of `base_model`; its weights are changed.
        end: the end token.
    """
    head = model.get_output_embeddings().weight
    embedding = model.get_input_embeddings().weight
    embedding[:, 0] = embedding[0].norm()
    head[:, 0] = 0
    head[end] = 0
    head[end, 0] = NEVER
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0
        layer.mlp.down_proj.weight[0] = 0
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    model.generation_config.bos_token_id = None
    return model
