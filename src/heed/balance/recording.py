"""Linear layers that contract their weight gradient once per objective while one shared backward passes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from heed.balance.cotangents import Term

CONTRACTION_BUDGET = 1 << 26
"""Scalars of per-sequence weight gradients held at once; larger layers are contracted a few sequences at a time."""


def recordable_linears(
    model: nn.Module, trainable: Mapping[str, nn.Parameter]
) -> tuple[dict[str, nn.Linear], list[str]]:
    """Split the trainable parameters into those of plain linear layers and the others.

    A linear layer counts if it is exactly ``nn.Linear`` with its own forward, and no other module holds its weight
    (a head tied to an embedding does not count).

    Returns:
        The linear layers by module name, and the names of all other trainable parameters.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.LayerNorm(2))
    >>> linears, others = recordable_linears(model, dict(model.named_parameters()))
    >>> list(linears), others
    (['0'], ['1.weight', '1.bias'])
    """
    names = {id(p): name for name, p in trainable.items()}
    holders: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    linears: dict[str, nn.Linear] = {}
    recorded: set[str] = set()
    for module_name, module in model.named_modules():
        if type(module) is not nn.Linear or "forward" in vars(module) or id(module.weight) not in names:
            continue
        held = [p for p in (module.weight, module.bias) if p is not None]
        if all(holders[id(p)] == 1 for p in held):
            linears[module_name] = module
            recorded.update(names[id(p)] for p in held if id(p) in names)
    return linears, [name for name in trainable if name not in recorded]


class LinearRecorder:
    """Adds each objective's weight gradient of the recorded linears to the Jacobian during a shared backward.

    Args:
        rows: the Jacobian [K, n] that is added to.
        linears: the layers by name.
        slices: for each parameter (by ``id``), its columns of the Jacobian.
    """

    def __init__(self, rows: Tensor, linears: Mapping[str, nn.Linear], slices: Mapping[int, slice]) -> None:
        self.rows, self.linears, self.slices = rows, dict(linears), slices
        self._terms: Sequence[Term] = ()
        self._inputs: dict[str, set[torch.Size]] = {}

    @property
    def weights(self) -> list[Tensor]:
        """The weights of the recorded linears."""
        return [linear.weight for linear in self.linears.values()]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within: the linears' forward leaves a node in the graph that knows how to contract."""
        self._inputs.clear()
        for name, linear in self.linears.items():
            linear.forward = _Recorded(self, name, linear)  # type: ignore[method-assign, assignment] # this instance only
        try:
            yield
        finally:
            for linear in self.linears.values():
                del linear.forward

    def saw(self, name: str, x: Tensor) -> None:
        """Note the shape of a layer's input in this forward."""
        self._inputs.setdefault(name, set()).add(x.shape)

    def mixing(self, sequences: int, tokens: int) -> set[str]:
        """The layers whose inputs in this forward do not tell the sequences apart.

        They see the tokens of all sequences in one row after another, as experts do. An input [B, in] where sequences
        have several tokens is such a one too: it has B rows by chance.

        Args:
            sequences: B.
            tokens: T.
        """
        return {
            name
            for name, shapes in self._inputs.items()
            if any(shape[0] != sequences or (len(shape) == 2 and tokens > 1) for shape in shapes)
        }

    def release(self, name: str) -> nn.Linear:
        """Record a layer no longer, within a recording as well."""
        linear = self.linears.pop(name)
        del linear.forward
        return linear

    @contextmanager
    def contracting(self, terms: Sequence[Term]) -> Iterator[None]:
        """Within: a backward with cotangent ``term.shared`` adds ``term.coefficients``' share to every row.

        Args:
            terms: one for an ordinary backward; several for one that `torch.vmap` takes over their cotangents.
        """
        self._terms = terms
        try:
            yield
        finally:
            self._terms = ()

    @property
    def active(self) -> bool:
        """Whether a backward contracts now; otherwise the layers pass gradients to their inputs only."""
        return bool(self._terms)

    def receive(self, name: str, x: Tensor, delta: Tensor) -> None:
        """Contract in the midst of a backward, where ``delta`` is one term's or stands for that of each."""
        if len(self._terms) == 1:
            self.contract(name, x, delta[None])
        else:
            _Contract.apply(x, delta, self, name)

    def contract(self, name: str, x: Tensor, delta: Tensor) -> None:
        """Add ``sum_b C[k, b] sum_t delta[b, t] x[b, t]^T`` to row k of the layer's columns, for every k.

        Args:
            name: the layer.
            x: its input, [B, ..., in].
            delta: for each term the gradient of its output, [R, B, ..., out].
        """
        for term, lane in zip(self._terms, delta, strict=True):
            self._contract_term(term, name, x, lane)

    def _contract_term(self, term: Term, name: str, x: Tensor, delta: Tensor) -> None:
        linear = self.linears[name]
        sequences = term.shared.shape[0]
        if x.shape[0] != sequences:
            raise RuntimeError(
                f"the input of {name} has {x.shape[0]} rows for {sequences} sequences, so the gradient cannot be "
                f"told apart by sequence; use path='sequential'"
            )
        dtype = torch.promote_types(x.dtype, delta.dtype)
        x = x.reshape(sequences, -1, x.shape[-1]).to(dtype)
        delta = delta.reshape(sequences, -1, delta.shape[-1]).to(dtype)
        weight = self.rows[:, self.slices[id(linear.weight)]]
        bias = None
        if linear.bias is not None and id(linear.bias) in self.slices:
            bias = self.rows[:, self.slices[id(linear.bias)]]
        if term.segments is None:
            _contract_rows(weight, bias, term.coefficients.to(self.rows.dtype), x, delta)
        else:
            _contract_segments(weight, bias, term.coefficients[:, term.segments], x, delta)


def _contract_rows(weight: Tensor, bias: Tensor | None, C: Tensor, x: Tensor, delta: Tensor) -> None:
    # The product with its short side first is up to half again as fast on CPUs, whose kernels like long rows.
    tall = delta.shape[-1] > x.shape[-1]
    first, second = (x, delta) if tall else (delta, x)
    into = torch.zeros_like(weight) if tall else weight
    step = max(1, CONTRACTION_BUDGET // (x.shape[-1] * delta.shape[-1]))
    for lo in range(0, x.shape[0], step):
        per_sequence = torch.bmm(first[lo : lo + step].transpose(1, 2), second[lo : lo + step]).flatten(1)
        into.addmm_(C[:, lo : lo + step], per_sequence.to(weight.dtype))
    if tall:
        shaped = weight.unflatten(1, (delta.shape[-1], x.shape[-1]))
        shaped += into.unflatten(1, (x.shape[-1], delta.shape[-1])).transpose(1, 2)
    if bias is not None:
        bias.addmm_(C, delta.sum(1).to(bias.dtype))


def _contract_segments(weight: Tensor, bias: Tensor | None, C: Tensor, x: Tensor, delta: Tensor) -> None:
    inputs = x.flatten(0, 1)
    for k in range(C.shape[0]):
        scaled = (delta * C[k, :, :, None].to(delta.dtype)).flatten(0, 1)
        weight[k] += (scaled.T @ inputs).flatten().to(weight.dtype)
        if bias is not None:
            bias[k] += scaled.sum(0).to(bias.dtype)


class _Recorded:
    """Stands in for the ``forward`` of one linear layer."""

    def __init__(self, recorder: LinearRecorder, name: str, linear: nn.Linear) -> None:
        self.recorder, self.name, self.linear = recorder, name, linear

    def __call__(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.linear(x, self.linear.weight, self.linear.bias)
        self.recorder.saw(self.name, x)
        return _RecordedLinear.apply(x, self.linear.weight, self.linear.bias, self.recorder, self.name)


class _RecordedLinear(torch.autograd.Function):
    """A linear map whose backward contracts instead of returning a weight gradient."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, _recorder: LinearRecorder, _name: str) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, _output: Any) -> None:
        x, weight, _, ctx.recorder, ctx.name = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        """A recomputation inside a vectorised backward needs this to exist; nothing in it is vectorised."""
        raise NotImplementedError("the forward pass through a recorded linear layer cannot be vectorised")

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x, weight = ctx.saved_tensors
        if ctx.recorder.active:
            ctx.recorder.receive(ctx.name, x, delta)
        towards_input = (delta @ weight.to(delta.dtype)).to(x.dtype) if ctx.needs_input_grad[0] else None
        return towards_input, None, None, None, None


class _Contract(torch.autograd.Function):
    """The contraction as a function of its own: its vmap rule is handed the gradients of all terms at once."""

    @staticmethod
    def forward(x: Tensor, delta: Tensor, recorder: LinearRecorder, name: str) -> Tensor:
        raise NotImplementedError("several terms are contracted in a vectorised backward only")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: it is never differentiated."""

    @staticmethod
    def vmap(
        _info: Any, in_dims: tuple[Any, ...], x: Tensor, delta: Tensor, recorder: LinearRecorder, name: str
    ) -> tuple[Tensor, None]:
        """Contract every term; the result is empty."""
        recorder.contract(name, x, delta.movedim(in_dims[1], 0))
        return delta.new_empty(0), None
