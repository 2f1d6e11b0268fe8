"""K gradients of K objectives from (nearly) one backward pass.

``g_k = sum_{b,t} s_k[b, t] dlogp[b, t]/dtheta``. Where the cotangents share a direction u within each sequence
(:mod:`heed.balance.cotangents`), ONE ordinary backward with cotangent u carries every objective's gradient, because
sequences do not mix inside the network: at a linear layer with input x and output gradient delta,

    g_k = sum_b C[k, b] sum_t delta[b, t] x[b, t]^T,

so only this contraction, not the backward, is done per objective. Nothing is vectorised over objectives, so the path
lives with fused attention kernels, non-reentrant checkpointing and quantised bases. The derivation is ours; the
papers take last-layer gradients instead.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from heed.balance.cotangents import Cotangents, Term
from heed.balance.recording import LinearRecorder, recordable_linears

logger = logging.getLogger(__name__)

JacobianPath = Literal["auto", "factored", "sequential", "batched"]
Forward = Callable[[Tensor | None], Tensor]

RECOMPUTE_BELOW = 0.5
"""A further term whose sequences are at most this share of the batch runs on a fresh forward of just these: forward
and backward of a share f cost 2f, a second backward through the whole graph costs 1."""

GRAM_CHUNK = 1 << 18
"""Columns of the Jacobian that are brought to float64 at once when the Gram matrix is taken: few enough that the copy
is made in memory used before, which for K = 8 takes a quarter of the time of fresh pages."""


class JacobianAccumulator:
    """The gradients of K objectives, added up over micro-batches.

    Args:
        model: the network; its parameters with ``requires_grad`` are the columns of the Jacobian.
        objectives: K, the number of rows.
        rank: the rank that the surrogate declares for its cotangents; None if every objective has its own at each
            token (advantages of K critics).
        path: ``"factored"``, ``"sequential"`` (one forward, K backwards: the oracle), ``"batched"`` (one backward
            vectorised over K), or ``"auto"``: factored where a rank is declared and K > 1, else sequential.
        parameters: the trainable parameters by name, where they are not all of the model's.
        keep_micro_grams: keep the Gram matrix of every micro-batch by itself, for an unbiased Gram; holds a second
            [K, n] buffer.
        checkpointing: the model recomputes its activations in the backward. Several backwards through the whole graph
            then become one that is vectorised over their cotangents and recomputes once, unless a kernel of the
            model's does not take part in that, which is logged once.
        unfactored: names of parameters that take K backwards though their layers are linear, because their weights are
            also used in another way.

    Shape: the Jacobian is [K, n], n the number of trainable scalars, in float32 (float64 for float64 parameters).

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> x = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])               # two sequences of one token
    >>> jacobian = JacobianAccumulator(linear, objectives=2, rank=1)
    >>> u, C = torch.ones(2, 1), torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    >>> _ = jacobian.accumulate(lambda rows: linear(x)[..., 0], lambda logp: Cotangents((Term(u, C),)))
    >>> jacobian.total().tolist()
    [[1.0, 0.0], [2.0, 3.0]]
    >>> jacobian.gram().tolist()
    [[1.0, 2.0], [2.0, 13.0]]
    """

    def __init__(
        self,
        model: nn.Module,
        objectives: int,
        rank: int | None = None,
        path: JacobianPath = "auto",
        parameters: dict[str, nn.Parameter] | None = None,
        keep_micro_grams: bool = False,
        checkpointing: bool = False,
        unfactored: Collection[str] = (),
    ) -> None:
        named = parameters or {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not named:
            raise ValueError("no trainable parameters: nothing to take gradients of")
        self.model, self.objectives, self.parameters = model, objectives, named
        self.slices: dict[str, slice] = {}
        size = 0
        for name, parameter in named.items():
            self.slices[name] = slice(size, size + parameter.numel())
            size += parameter.numel()
        first = next(iter(named.values()))
        dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
        self._rows = torch.zeros(objectives, size, dtype=dtype, device=first.device)
        self._closed = torch.zeros_like(self._rows) if keep_micro_grams else None
        self.micro_grams: list[Tensor] = []
        self.recomputes_rows = True
        """Whether ``forward`` can run a few rows by themselves; else a further term goes through the whole graph."""
        self.factors: Tensor | None = None
        """What gradients are multiplied by when they are read, [n]; None for 1. For parameters whose multiple the model
        computes with (the chain rule)."""
        candidates = {name: parameter for name, parameter in named.items() if name not in unfactored}
        linears, others = recordable_linears(model, candidates)
        self._others = [name for name in named if name in {*others, *unfactored}]
        factors = rank is not None and objectives > 1
        if (factors and path == "auto") or path == "factored":
            self._say_k_backwards()
        if path == "auto":
            path = "factored" if linears and factors else "sequential"
        self.path: Literal["factored", "sequential", "batched"] = path
        self._recorder = LinearRecorder(self._rows, linears, {id(p): self.slices[name] for name, p in named.items()})
        self._checked_routes = False
        self._vectorises, self._has_vectorised = checkpointing, False
        logger.info(
            "%d gradients by the %s path: cotangents of rank %s, %d linear layers, %d scalars",
            *(objectives, path, rank or "K", len(linears), size),
        )

    def _say_k_backwards(self) -> None:
        if self._others:
            scalars = sum(self.parameters[name].numel() for name in self._others)
            logger.warning(
                "%d of %d parameters (%s, ...; %d scalars) take K backwards, as they are no linear layers' weights",
                *(len(self._others), len(self.parameters), self._others[0], scalars),
            )

    def zero(self) -> None:
        """Forget what was accumulated."""
        self._rows.zero_()
        self.micro_grams = []
        if self._closed is not None:
            self._closed.zero_()

    def accumulate(self, forward: Forward, cotangents: Callable[[Tensor], Cotangents]) -> Tensor:
        """Add one micro-batch's gradients.

        Args:
            forward: rows -> log-probabilities [len(rows), T] with their graph; None means all B rows. It is called
                a second time, for a few rows, only where a further term touches few sequences.
            cotangents: detached log-probabilities [B, T] -> the objectives' cotangents.

        Returns:
            The detached log-probabilities [B, T].
        """
        if self.path == "factored":
            with self._recorder.recording():
                logp, wanted = self._forward(forward, cotangents)
                if mixing := self._recorder.mixing(*logp.shape):
                    self._leave_to_vjp(mixing, "see the tokens of all sequences in one")
                    logp, wanted = self._forward(forward, cotangents)
                self._factored(forward, logp, wanted)
            return logp.detach()
        logp, wanted = self._forward(forward, cotangents)
        if self.path == "sequential":
            self._sequential(logp, wanted.dense(), list(self.parameters))
        else:
            self._batched(logp, wanted.dense())
        return logp.detach()

    def end_micro_batch(self) -> None:
        """Close a micro-batch: its Gram matrix is kept by itself and its gradients join the total."""
        if self._closed is None:
            raise ValueError("micro-batch Gram matrices are kept only with keep_micro_grams=True")
        self.micro_grams.append(self._gram_of(self._chained(self._rows), None, None))
        self._closed += self._rows
        self._rows.zero_()

    def total(self) -> Tensor:
        """The Jacobian [K, n] over all micro-batches so far."""
        return self._chained(self._rows if self._closed is None else self._closed + self._rows)

    def _chained(self, rows: Tensor) -> Tensor:
        return rows if self.factors is None else rows * self.factors

    def all_reduce(self) -> None:
        """Average the Jacobian over the processes of torch.distributed, once per optimiser step."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rows = self._rows if self._closed is None else self._closed
            torch.distributed.all_reduce(rows)
            rows /= torch.distributed.get_world_size()

    def gram(self, metric: Tensor | None = None, only: Iterable[str] | None = None) -> Tensor:
        """The Gram matrix ``G[i, j] = <g_i, g_j>``, float64 [K, K].

        Args:
            metric: a positive diagonal [n]; then ``G = J diag(metric) J^T`` (Adam's metric is ``1 / D``).
            only: names of the parameters to take it over (the paper's last-layer scope); all by default.
        """
        return self._gram_of(self.total(), metric, only)

    def write_gradient(self, weights: Tensor) -> Tensor:
        """Write ``-sum_k weights[k] g_k`` into every parameter's ``.grad``: optimisers minimise, objectives rise.

        Args:
            weights: [K].

        Returns:
            The combined ascent direction d, [n].
        """
        direction = weights.to(self._rows) @ self.total()
        for name, parameter in self.parameters.items():
            parameter.grad = -direction[self.slices[name]].view_as(parameter).to(parameter.dtype)
        return direction

    # The three paths.

    def _forward(self, forward: Forward, cotangents: Callable[[Tensor], Cotangents]) -> tuple[Tensor, Cotangents]:
        logp = forward(None)
        with torch.no_grad():
            wanted = cotangents(logp.detach())
        if wanted.objectives != self.objectives:
            raise ValueError(f"cotangents of {wanted.objectives} objectives, expected {self.objectives}")
        return logp, wanted

    def _factored(self, forward: Forward, logp: Tensor, wanted: Cotangents) -> None:
        terms = [(term, rows) for term in wanted.terms if (rows := term.active_rows()).any()]
        terms.sort(key=lambda pair: -int(pair[1].sum()))
        whole = [term for i, (term, rows) in enumerate(terms) if i == 0 or not self._recomputes(term, rows)]
        few = [pair for i, pair in enumerate(terms) if i > 0 and self._recomputes(*pair)]
        if self._others:
            self._sequential(logp, wanted.dense(), self._others, keep_graph=True)
        stray = self._contract(logp, whole)
        if whole and not self._checked_routes:
            self._check_routes(stray, forward, wanted)
        for term, rows in few:
            index = rows.nonzero().squeeze(1)
            self._contract(forward(index), [Term(term.shared[index], term.coefficients[:, index])])

    def _recomputes(self, term: Term, rows: Tensor) -> bool:
        few = float(rows.float().mean()) <= RECOMPUTE_BELOW
        return self.recomputes_rows and few and term.segments is None and not self._drops_out()

    def _drops_out(self) -> bool:
        return any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in self.model.modules())

    def _contract(self, logp: Tensor, terms: list[Term]) -> set[str]:
        """Contract the terms; returns the layers whose weight got an ordinary gradient besides."""
        if not self._recorder.linears:
            return set()
        if len(terms) > 1 and self._vectorises and not self._drops_out():
            stray = self._contract_together(logp, terms)
            if stray is not None:
                return stray
        stray = set()
        for term in terms:
            with self._recorder.contracting([term]):
                stray |= self._backward(logp, term.shared, keep_graph=term is not terms[-1])
        return stray

    def _contract_together(self, logp: Tensor, terms: list[Term]) -> set[str] | None:
        """The same in one vectorised backward; None, and nothing changed, if a kernel does not take part in that."""
        before = None if self._has_vectorised else self._rows.clone()
        stray: set[str] = set()

        def backward(shared: Tensor) -> Tensor:
            stray.update(self._backward(logp, shared, keep_graph=before is not None))
            return shared

        try:
            with self._recorder.contracting(terms), _without_fallback_warning():
                torch.vmap(backward)(torch.stack([term.shared for term in terms]))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if before is None:
                raise
            self._rows.copy_(before)
            self._vectorises = False
            reason = str(error).splitlines()[0]
            logger.warning("the model's backward cannot be vectorised, so each term recomputes by itself: %s", reason)
            return None
        self._has_vectorised = True
        return stray

    def _backward(self, logp: Tensor, shared: Tensor, keep_graph: bool) -> set[str]:
        grads = torch.autograd.grad(
            logp, self._recorder.weights, shared.to(logp.dtype), retain_graph=keep_graph, allow_unused=True
        )
        return {name for name, grad in zip(self._recorder.linears, grads, strict=True) if grad is not None}

    def _check_routes(self, stray: set[str], forward: Forward, wanted: Cotangents) -> None:
        """A recorded weight that also got an ordinary gradient is used outside its layer: leave it to VJP."""
        self._checked_routes = True
        if not stray:
            return
        names = self._leave_to_vjp(stray, "are used outside their layer")
        for name in names:
            self._rows[:, self.slices[name]] = 0
        self._sequential(forward(None), wanted.dense(), names)

    def _leave_to_vjp(self, layers: set[str], reason: str) -> list[str]:
        """Take K backwards for these layers' parameters from now on, and say so; returns the parameters' names."""
        held = {id(p) for layer in layers for p in self._recorder.release(layer).parameters()}
        names = [name for name, p in self.parameters.items() if id(p) in held]
        logger.warning("%d parameters (%s, ...) %s: K backwards", len(names), names[0], reason)
        self._others += names
        return names

    def _sequential(self, logp: Tensor, dense: Tensor, names: list[str], keep_graph: bool = False) -> None:
        parameters = [self.parameters[name] for name in names]
        for k in range(self.objectives):
            last = k == self.objectives - 1 and not keep_graph
            grads = torch.autograd.grad(
                logp, parameters, dense[k].to(logp.dtype), retain_graph=not last, allow_unused=True
            )
            for name, grad in zip(names, grads, strict=True):
                if grad is not None:
                    self._rows[k, self.slices[name]] += grad.flatten().to(self._rows.dtype)

    def _batched(self, logp: Tensor, dense: Tensor) -> None:
        with _without_fallback_warning():
            grads = torch.autograd.grad(
                logp, list(self.parameters.values()), dense.to(logp.dtype), is_grads_batched=True, allow_unused=True
            )
        for name, grad in zip(self.parameters, grads, strict=True):
            if grad is not None:
                self._rows[:, self.slices[name]] += grad.reshape(self.objectives, -1).to(self._rows.dtype)

    def _gram_of(self, rows: Tensor, metric: Tensor | None, only: Iterable[str] | None) -> Tensor:
        columns = [slice(0, rows.shape[1])] if only is None else [self.slices[name] for name in only]
        gram = torch.zeros(self.objectives, self.objectives, dtype=torch.float64, device=rows.device)
        for column in columns:
            for lo in range(column.start, column.stop, GRAM_CHUNK):
                part = slice(lo, min(lo + GRAM_CHUNK, column.stop))
                block = rows[:, part].double()
                gram += (block if metric is None else block * metric[part]) @ block.T
        return gram


@contextmanager
def _without_fallback_warning() -> Iterator[None]:
    """Without torch's note that attention kernels run once per cotangent in a vectorised backward: it is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield
