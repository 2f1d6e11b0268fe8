"""Gradients that a test chooses, accumulated as a model's are."""

import torch

from heed.balance.cotangents import Cotangents


def accumulate_rows(jacobian, rows):
    """Accumulate ``rows`` [K, n] as a micro-batch's gradients; the accumulator must take the sequential path.

    The log-probability of "sequence" k is the inner product of row k with the parameters, and objective k is that of
    sequence k alone.
    """

    def forward(index):
        parameters = torch.cat([parameter.flatten() for parameter in jacobian.parameters.values()])
        return (rows if index is None else rows[index]) @ parameters[:, None]

    jacobian.accumulate(forward, lambda logp: Cotangents.from_dense(torch.eye(len(rows), dtype=rows.dtype)[:, :, None]))
