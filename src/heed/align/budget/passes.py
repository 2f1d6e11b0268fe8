"""The memory of one pass over some sequences, beside the weights: counted on a skeleton, by the run's own code."""

from __future__ import annotations

from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor, nn

from heed.align.budget.attention import count_attention
from heed.align.budget.live import LiveBytes
from heed.align.models.token_logp import LOGITS_BUDGET, FrozenHeadLogp, LogitMap, TokenLogp, whole
from heed.balance.cotangents import Term
from heed.balance.recording import LinearRecorder, recordable_linears

Path = Literal["factored", "sequential"]


def gradient_bytes(
    model: Any,
    sequences: int,
    prompt: int,
    completion: int,
    objectives: int = 1,
    path: Path = "sequential",
    terms: int = 1,
    checkpointing: bool = False,
    padded: bool = True,
    chunked: bool = True,
) -> int:
    """Bytes at the peak of the forward and backward over a micro-batch, without the rows that gradients go into.

    These are what autograd keeps of every layer (with checkpointing each layer's input, and one layer anew), the logits
    of as many tokens as are held at once, and what passes in the backward. Forward and backward are executed on tensors
    without numbers.

    Args:
        model: a skeleton.
        sequences: of the micro-batch.
        prompt: tokens of the longest prompt.
        completion: tokens of the longest completion.
        objectives: K; a graph is kept for the next of several backwards.
        path: of the gradients, as `heed.balance.jacobian.JacobianAccumulator` takes them.
        terms: of the factored path: 1, or 2 where tokens are clipped; with checkpointing both go back at once.
        checkpointing: activations are recomputed in the backward.
        padded: the sequences are of different lengths.
        chunked: the logits are taken a few tokens at a time (`heed.align.models.token_logp`); all at once if not.
    """
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    count_attention(causal, padded)
    _checkpoint(causal, checkpointing)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    linears = recordable_linears(model, trained)[0] if path == "factored" else {}
    columns, size = {}, 0
    for parameter in trained.values():
        columns[id(parameter)] = slice(size, size + parameter.numel())
        size += parameter.numel()
    rows = torch.empty(objectives, size, device="meta")
    recorder = LinearRecorder(rows, linears, columns)
    ids = torch.empty(sequences, prompt + completion, dtype=torch.long, device="meta")
    held = [linear.weight for linear in linears.values()] or list(trained.values())
    shared = torch.empty(terms, sequences, completion, device="meta")
    parts = [Term(each, torch.empty(objectives, sequences, device="meta")) for each in shared]
    with LiveBytes() as live, recorder.recording():
        logp = _logp(causal, ids, completion, chunked)

        def backward(cotangent: Tensor, keep: bool) -> Tensor:
            torch.autograd.grad(logp, held, cotangent.to(logp.dtype), retain_graph=keep, allow_unused=True)
            return cotangent

        if path == "sequential":
            backward(shared[0], keep=objectives > 1)
        elif terms > 1 and checkpointing:
            before = rows.clone()  # as the first such backward does, which may have to be undone
            with recorder.contracting(parts):
                torch.vmap(lambda cotangent: backward(cotangent, keep=True))(shared)
            del before
        else:
            for part in parts:
                with recorder.contracting([part]):
                    backward(part.shared, keep=part is not parts[-1])
    _checkpoint(causal, False)
    return live.peak


@torch.no_grad()
def reading_bytes(model: Any, sequences: int, tokens: int, padded: bool = True) -> int:
    """Bytes at the peak of a forward pass without a graph that reads some sequences, as judges and prefills do.

    Args:
        model: a skeleton; the adapter's share is not in it, as it is merged then.
        sequences: read at once.
        tokens: of each.
        padded: the sequences are of different lengths.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    count_attention(base, padded)
    ids = torch.empty(sequences, tokens, dtype=torch.long, device="meta")
    with LiveBytes() as live:
        base.base_model(input_ids=ids, use_cache=False)
    return live.peak


def _logp(model: Any, ids: Tensor, width: int, chunked: bool) -> Tensor:
    """The three ways of `TokenLogp`, for tokens that all count."""
    targets = ids[:, -width:]
    vocabulary = int(model.config.get_text_config().vocab_size)
    if not chunked or targets.numel() * vocabulary <= LOGITS_BUDGET:
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=width + 1).logits[:, :-1]
        return whole(logits).log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, -width - 1 : -1]
    head = model.get_output_embeddings()
    if type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters()):
        flat, wanted, tokens = states.flatten(0, 1), targets.flatten(), max(1, LOGITS_BUDGET // vocabulary)
        given = (flat, wanted, head.weight, head.bias, LogitMap(), 1.0, tokens, True)
        return FrozenHeadLogp.apply(*given)[0].view_as(targets)
    tokens = max(1, LOGITS_BUDGET // (len(targets) * vocabulary))
    ours = TokenLogp(model)
    ours.logit_map = LogitMap()
    return ours.by_columns(head, states, targets, 1.0, tokens)


def _checkpoint(model: Any, wanted: bool) -> None:
    """Let a model's layers recompute, which they do in training mode alone, or not."""
    if wanted:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        model.train()
    elif model.training:
        model.disable_input_require_grads()
        model.gradient_checkpointing_disable()
        model.eval()
