"""Completions by continuous batching: a queue of prompts, and slots in which they are decoded together.

A slot whose completion has ended takes the next prompt of the queue; when the queue is empty, the slots that still
write are moved together, so that one long answer does not hold all others' rows. A prompt that several completions
share is read once. The last token of a prompt is the first that is decoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext

import torch
from peft import PeftModel
from torch import Tensor
from transformers import LogitsProcessorList

from heed.align.generation.graphs import StepGraphs
from heed.align.generation.merging import MergedAdapter, mergeable
from heed.align.generation.slots import LAYERS, DecodeMask, SlotCache, slot_bytes
from heed.align.generation.state import DecodeState
from heed.align.models.policy import Policy

COLUMNS = 64
"""A step looks at so many columns of the cache, or a multiple: few shapes, of which each is captured once."""

PREFILL_TOKENS = 1 << 14
"""Tokens of prompts, their padding included, that are read in one forward."""

CACHE_SHARE = 0.4
"""Of a GPU's memory beyond the model's weights, merged ones included, the cache takes at most so much; prompts for
which there is no slot wait in the queue. Not of what is free: a run that is resumed is to draw the same."""

KEPT_SHARE = 0.25
"""Of a GPU's memory: a larger cache, with the merged weights, is given back after each rollout."""


def why_not_continuous(policy: Policy) -> str | None:
    """What keeps a model from being decoded in slots; None if nothing does that can be told beforehand."""
    config = policy.causal_lm.config.get_text_config()
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"attn_implementation={config._attn_implementation!r} takes no mask of ours"
    if other := set(getattr(config, "layer_types", None) or ()) - LAYERS:
        return f"it has layers of another kind ({', '.join(sorted(other))})"
    return None


def slot_length(prompt: int, limit: int) -> int:
    """Tokens of a slot for the longest prompt and the longest completion.

    >>> slot_length(10, 100)
    128
    """
    return -(-(prompt + limit) // COLUMNS) * COLUMNS


class ContinuousBatching:
    """Draws completions from a policy.

    Args:
        policy: what is sampled.
        limit: longest completion, tokens.
        temperature: of sampling.
        warpers: transformers' processors of the logits over the temperature (top-k, top-p).
        slots: completions that are decoded together at most; 0 takes as many as there are, or as memory holds.
    """

    def __init__(
        self, policy: Policy, limit: int, temperature: float, warpers: LogitsProcessorList, slots: int = 0
    ) -> None:
        self.policy, self.limit, self.temperature, self.warpers, self.slots = policy, limit, temperature, warpers, slots
        device, config = policy.device, policy.causal_lm.config.get_text_config()
        self.ends = torch.tensor(policy.end_ids, device=device)
        self.own = torch.Generator(device)
        self.layers = int(config.num_hidden_layers)
        self.mask = DecodeMask(config, policy.causal_lm.dtype)
        # Looking who has ended waits for the device. Each number of rows is a graph of its own there.
        self.check_every, self.shrink_at = (8, 0.5) if device.type == "cuda" else (1, 0.75)
        self.merge: MergedAdapter | None = None
        if isinstance(policy.model, PeftModel) and mergeable(policy.model, policy.adapter):
            self.merge = MergedAdapter(policy.model, policy.adapter)
        self.graphs = StepGraphs(device, self.own)
        self._held: tuple[SlotCache, DecodeState] | None = None

    def draw(
        self, prompts: Sequence[Tensor], generator: torch.Generator, greedy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """One completion for each prompt.

        Args:
            prompts: token ids, one tensor each, not empty.
            generator: seeds the drawing.
            greedy: take the likeliest token.

        Returns:
            Tokens [B, T], with the tokenizer's end token behind what has ended, and their log-probabilities [B, T]
            at the sampling temperature; T is the longest completion's length.
        """
        self.own.manual_seed(int(torch.randint(1 << 62, (), generator=generator, device=generator.device)))
        cache, state = self._room(prompts)
        queue = deque(range(len(prompts)))
        with torch.no_grad(), nullcontext() if self.merge is None else self.merge.merged():
            while True:
                self._fill(cache, state, prompts, queue)
                if not state.live:
                    break
                if not queue and state.live <= self.shrink_at * state.rows:
                    cache.keep(state.shrink(self.shrink_at))
                steps = min(self.check_every, state.longest_left)
                columns = -(-(state.longest + steps) // COLUMNS) * COLUMNS
                for _ in range(steps):
                    self._step(cache, state, columns, greedy)
                state.look()
        drawn = state.result(len(prompts), int(self.policy.tokenizer.eos_token_id))
        self._give_back(cache)
        return drawn

    def _room(self, prompts: Sequence[Tensor]) -> tuple[SlotCache, DecodeState]:
        """A cache and a state that are large enough: those of before, or new ones."""
        length = slot_length(max(len(ids) for ids in prompts), self.limit)
        rows = min(self.slots or len(prompts), len(prompts), self._fitting(length))
        held = self._held
        if held is None or held[0].length < length or held[0].slots < rows or held[1].requests < len(prompts):
            self._held = held = None
            self.graphs.clear()
            state = DecodeState(rows, len(prompts), self.limit, self.ends)
            self._held = held = SlotCache(self.layers, rows, length), state
        held[1].clear(rows)
        return held

    def _fitting(self, length: int) -> int:
        """How many slots of a length the memory holds."""
        model, config = self.policy.causal_lm, self.policy.causal_lm.config.get_text_config()
        if self.policy.device.type != "cuda":
            return 1 << 30
        slot = slot_bytes(config, length, model.dtype)
        weights = sum(parameter.numel() * parameter.element_size() for parameter in self.policy.model.parameters())
        weights += 0 if self.merge is None else self.merge.bytes
        return max(1, int(CACHE_SHARE * (torch.cuda.mem_get_info(self.policy.device)[1] - weights) / slot))

    def _give_back(self, cache: SlotCache) -> None:
        if self.policy.device.type != "cuda":
            return
        held = cache.bytes + (0 if self.merge is None else self.merge.bytes)
        if held > KEPT_SHARE * torch.cuda.mem_get_info(self.policy.device)[1]:
            self._held = None
            self.graphs.clear()
            if self.merge is not None:
                self.merge.buffers = []

    def _fill(self, cache: SlotCache, state: DecodeState, prompts: Sequence[Tensor], queue: deque[int]) -> None:
        """Put prompts of the queue into free slots, and read them but for their last tokens."""
        pairs = [(slot, queue.popleft()) for slot in state.free[: len(queue)]]
        if not pairs:
            return
        for ids, slots, rows in _prefills([(slot, prompts[request]) for slot, request in pairs]):
            cache.prefill(slots, rows)
            where = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
            self.policy.causal_lm(
                input_ids=ids, position_ids=where, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        state.begin(pairs, prompts)

    def _step(self, cache: SlotCache, state: DecodeState, columns: int, greedy: bool) -> None:
        """Decode one token in each row."""
        rows = state.rows

        def step() -> None:
            token = state.token[:rows]
            # What has ended reads its first token: its last may lie beyond the columns, or beyond a window of them.
            positions = torch.where(state.alive[:rows], state.position[:rows], 0)
            cache.decode(positions, columns)
            logits = self.policy.causal_lm(
                input_ids=token[:, None],
                attention_mask=self.mask(positions, columns),
                position_ids=positions[:, None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            scaled = logits.float() / self.temperature
            drawn = logits.argmax(-1) if greedy else self._drawn(token, scaled)
            state.write(drawn, scaled.log_softmax(-1).gather(1, drawn[:, None]).squeeze(1))

        self.graphs.run((rows, columns, greedy), step, state.written)

    def _drawn(self, token: Tensor, scaled: Tensor) -> Tensor:
        """A draw from the softmax of each row of the logits, [rows]."""
        warped = self.warpers(token[:, None], scaled) if self.warpers else scaled
        if warped.device.type == "cuda":  # of exponential clocks with these rates, the first that rings
            clocks = torch.empty_like(warped).exponential_(generator=self.own)
            return (warped - clocks.clamp_(min=1e-30).log_()).argmax(-1)
        # Random numbers cost more than sums here; on a GPU the sums are not the same each time.
        rises = warped.softmax(-1).double().cumsum(-1)
        total = rises[:, -1:]
        height = torch.rand(len(warped), 1, dtype=torch.double, generator=self.own) * total
        below = torch.minimum(height, total.nextafter(torch.zeros_like(total)))
        found = torch.searchsorted(rises, below, right=True).squeeze(1)
        return found.clamp(max=warped.shape[1] - 1)  # beyond the last where the logits are not numbers; the caller sees


def _prefills(taken: Iterable[tuple[int, Tensor]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of different prompts without their last tokens, of like lengths.

    Args:
        taken: slots and the prompts that they take.

    Yields:
        Token ids [m, P] padded on the right, and for each slot that takes one of them: the slot, its row of the ids.
    """
    slots: dict[tuple[int, ...], list[int]] = {}
    for slot, ids in taken:
        slots.setdefault(tuple(ids[:-1].tolist()), []).append(slot)
        device = ids.device
    different = sorted((ids for ids in slots if ids), key=len)
    while different:
        few = max(1, PREFILL_TOKENS // len(different[-1]))
        part, different = different[-few:], different[:-few]
        width = len(part[-1])
        padded = torch.tensor([[*ids, *[ids[-1]] * (width - len(ids))] for ids in part], device=device)
        pairs = torch.tensor([(slot, row) for row, ids in enumerate(part) for slot in slots[ids]], device=device)
        yield padded, pairs[:, 0], pairs[:, 1]
