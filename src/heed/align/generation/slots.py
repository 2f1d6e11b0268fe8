"""A cache of keys and values in slots: each row of the batch at a position of its own.

transformers' static cache has one counter for all rows. Here the column of a key is its position in its own row, so
that a slot may be emptied and filled anew while others go on, and prompts need no padding on the left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose keys a slot holds whole; a sliding window is a mask."""


def slot_bytes(config: Any, length: int, dtype: torch.dtype) -> int:
    """Bytes of one slot: a key and a value of each layer, for each head of keys and values, at each token.

    Args:
        config: the model's text config.
        length: tokens that the slot holds.
        dtype: of the keys and values.

    >>> from transformers import LlamaConfig
    >>> slot_bytes(LlamaConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2), 3, torch.float32)
    384
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * length * dtype.itemsize)


class SlotCache(Cache):
    """Keys and values of some slots, for every layer.

    Set `prefill` or `decode` before a forward of the model; it is told to transformers as ``past_key_values``.

    Args:
        layers: of the model.
        slots: rows that are decoded together.
        length: tokens that a slot holds, prompt and completion.
    """

    def __init__(self, layers: int, slots: int, length: int) -> None:
        self.slots, self.length = slots, length
        self.target: _Prefill | _Decode | None = None
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    def prefill(self, slots: Tensor, prompts: Tensor) -> None:
        """The next forward reads whole prompts: that of row ``prompts[i]`` is kept in slot ``slots[i]``, both [m]."""
        self.target = _Prefill(slots, prompts)

    def decode(self, positions: Tensor, columns: int) -> None:
        """The next forward reads one token in each of the first slots, at its position [n]; it sees some columns."""
        self.target = _Decode(positions, columns)

    def keep(self, slots: Tensor) -> None:
        """Move some slots, [n], to the front, in this order."""
        for layer in self.layers:
            for held in (layer.keys, layer.values):
                held[: len(slots)] = held[slots]

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        return sum(t.numel() * t.element_size() for layer in self.layers for t in (layer.keys, layer.values))


class _Prefill:
    def __init__(self, slots: Tensor, prompts: Tensor) -> None:
        self.slots, self.prompts = slots, prompts

    def store(self, held: Tensor, states: Tensor) -> Tensor:
        held[self.slots, :, : states.shape[2]] = states[self.prompts]
        return states  # nothing else is there to attend to


class _Decode:
    def __init__(self, positions: Tensor, columns: int) -> None:
        self.positions, self.columns = positions, columns
        self.rows = torch.arange(len(positions), device=positions.device)

    def store(self, held: Tensor, states: Tensor) -> Tensor:
        held[self.rows, :, self.positions] = states[:, :, 0]
        return held[: len(states), :, : self.columns]


class _SlotLayer(CacheLayerMixin):
    """One layer's part; it is made when its first keys come, which tell heads, width and dtype."""

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room, as wide as these states are."""
        room = (self.cache.slots, key_states.shape[1], self.cache.length)
        self.keys = key_states.new_zeros(*room, key_states.shape[-1])
        self.values = value_states.new_zeros(*room, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keep new keys and values [n, heads, tokens, width]; returns those that are attended to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        target = self.cache.target
        assert target is not None and self.keys is not None and self.values is not None
        return target.store(self.keys, key_states), target.store(self.values, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Of a prefill, which attends to nothing older; a decode step brings its own mask."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Tokens before a prefill: none."""
        return 0

    def get_max_length(self) -> int:
        """Tokens that a slot holds."""
        return self.cache.length

    get_max_cache_shape = get_max_length  # its name in transformers 5.10


class DecodeMask:
    """What a decode step attends to, in the form that a model takes.

    Args:
        config: the model's text config: its layer types, window and attention implementation.
        dtype: of an additive mask.
    """

    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        self.additive, self.dtype = config._attn_implementation == "eager", dtype
        self.kinds = set(getattr(config, "layer_types", None) or ())
        self.window: int | None = getattr(config, "sliding_window", None)

    def __call__(self, positions: Tensor, columns: int) -> Tensor | dict[str, Tensor]:
        """The mask of the next token of each row.

        Args:
            positions: of that token, [n].
            columns: of the cache that are looked at.

        Returns:
            [n, 1, 1, columns], or one for each kind of layer where a model has several.
        """
        column = torch.arange(columns, device=positions.device)
        behind = positions[:, None] - column
        full = self._form(behind >= 0)
        if self.window is None or self.kinds == {"full_attention"}:
            return full
        sliding = self._form((behind >= 0) & (behind < self.window))
        return {"full_attention": full, "sliding_attention": sliding} if len(self.kinds) > 1 else sliding

    def _form(self, seen: Tensor) -> Tensor:
        seen = seen[:, None, None]
        if not self.additive:
            return seen
        return torch.zeros_like(seen, dtype=self.dtype).masked_fill_(~seen, torch.finfo(self.dtype).min)
