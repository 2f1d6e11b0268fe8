"""Cotangents: how much each objective wants each token's log-probability to rise.

For K objectives, B sequences and T tokens the cotangent of objective k is ``s_k[b, t] = dL_k / dlogp[b, t]``. Most
surrogates of policy optimisation factor: within one sequence the K rows span only a few directions,

    s_k[b, t] = sum_j C_j[k, b] * u_j[b, t],

and the number of terms j is the *rank* that decides what K gradients cost (see :mod:`heed.balance.jacobian`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One direction ``u`` shared by all objectives, and each objective's coefficient of it per sequence.

    Args:
        shared: ``u``, [B, T].
        coefficients: ``C``, [K, B]; or [K, S] where ``segments`` says which of S packed sequences a token is of.
        segments: [B, T] integers in [0, S), for packed batches; None where row b is sequence b.
    """

    shared: Tensor
    coefficients: Tensor
    segments: Tensor | None = None

    def dense(self) -> Tensor:
        """The term written out, [K, B, T]."""
        if self.segments is None:
            return self.coefficients[:, :, None] * self.shared[None]
        return self.coefficients[:, self.segments] * self.shared[None]

    def active_rows(self) -> Tensor:
        """Which rows have a non-zero coefficient for some objective, bool [B]."""
        active = (self.coefficients != 0).any(dim=0)
        return active if self.segments is None else active[self.segments].any(dim=1)


@dataclass(frozen=True)
class Cotangents:
    """K cotangents as a sum of shared terms.

    >>> u = torch.tensor([[1.0, 2.0]])
    >>> c = Cotangents((Term(u, torch.tensor([[3.0], [-1.0]])),))
    >>> c.dense().tolist()
    [[[3.0, 6.0]], [[-1.0, -2.0]]]
    >>> c.rank
    1
    """

    terms: tuple[Term, ...]

    @property
    def rank(self) -> int:
        """How many shared terms there are: the number of backward passes that the factored path needs."""
        return len(self.terms)

    @property
    def objectives(self) -> int:
        """K, the number of rows."""
        return self.terms[0].coefficients.shape[0]

    def dense(self) -> Tensor:
        """All cotangents written out, [K, B, T]."""
        return torch.stack([term.dense() for term in self.terms]).sum(0)

    @classmethod
    def by_sign(cls, rise: Tensor, fall: Tensor, advantages: Tensor) -> Cotangents:
        """Cotangents that are an advantage times one of two shared ones, which its sign chooses.

        So are those of every surrogate that clips: its mask depends on the advantage by the sign alone. A sequence goes
        wholly into the first term unless the two differ in it and its objectives disagree in sign.

        Args:
            rise: ``s = A rise`` where an objective's advantage is positive, [B, T].
            fall: ``s = A fall`` where it is negative, [B, T].
            advantages: A, [K, B].

        >>> rise, fall = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 2.0]])
        >>> s = Cotangents.by_sign(rise, fall, torch.tensor([[1.0], [-1.0]]))
        >>> s.rank, s.dense()[:, 0].tolist()
        (2, [[1.0, 0.0], [-1.0, -2.0]])
        """
        one_mask = (rise == fall).all(dim=1)
        positive = advantages > 0
        main = positive.any(dim=0)
        first = torch.where(main[:, None], rise, fall)
        in_first = one_mask | (positive == main) | (advantages == 0)
        second_rows = ~in_first.all(dim=0)
        terms = [Term(first, advantages * in_first)]
        if second_rows.any():
            terms.append(Term(torch.where(second_rows[:, None], fall, 0.0), advantages * ~in_first))
        return cls(tuple(terms))

    @classmethod
    def from_dense(cls, cotangents: Tensor) -> Cotangents:
        """Cotangents [K, B, T] without any shared structure: rank K.

        >>> s = torch.arange(6.0).reshape(3, 1, 2)
        >>> bool((Cotangents.from_dense(s).dense() == s).all())
        True
        """
        K, B, _ = cotangents.shape
        unit = torch.eye(K, dtype=cotangents.dtype, device=cotangents.device)
        return cls(tuple(Term(cotangents[k], unit[:, k, None].expand(K, B)) for k in range(K)))
