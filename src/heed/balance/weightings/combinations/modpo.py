"""MODPO: direct preference optimisation on one objective's verdicts, with the other objectives as a margin."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heed.balance.reward_combination import PairLoss
from heed.errors import HeedError


class MODPO(PairLoss):
    r"""Multi-objective DPO (Zhou et al. 2024, "Beyond one-preference-fits-all alignment", arXiv 2310.03708).

    With ``rho_i = log pi(y_i) - log pi_ref(y_i)`` and lambda the preference, for each pair of a prompt's completions::

        z_ij = (beta (rho_i - rho_j) - sum_{k != m} lambda_k (r_k(y_i) - r_k(y_j))) / lambda_m
        loss = -p_ij log sigma(z_ij) - p_ji log sigma(-z_ij),       p_ij = sigma(r_m(y_i) - r_m(y_j))

    It is least where ``beta rho_i = sum_k lambda_k r_k(y_i)`` up to a constant of the prompt: the policy that maximises
    the weighted sum of the rewards less beta times the KL. So it is linear scalarisation by another way.

    The paper has pairs that people judged by objective m beforehand. Here the pairs are those of the rollout, and
    p_ij is how probable objective m's verdict is by its own reward (Bradley-Terry), in the place of one draw from it.

    Args:
        preference: lambda, one weight per objective, on the simplex; equal ones without.
        judged: the objective m whose verdicts are learnt from, counted from 0; its weight is above 0.

    Raises:
        HeedError: the objective that is judged by has no weight.

    >>> rewards = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    >>> MODPO().coefficients(rewards, torch.zeros(2), beta=0.1, group=2)
    tensor([-0.1497,  0.1497])
    >>> there = (0.5 * rewards).sum(0) / 0.1
    >>> bool(MODPO().coefficients(rewards, there, beta=0.1, group=2).abs().max() < 1e-6)
    True
    """

    def __init__(self, preference: Sequence[float] | Tensor | None = None, judged: int = 0) -> None:
        super().__init__(preference)
        if self.preference is not None and not float(self.preference[judged]) > 0:
            what = "the objective whose verdicts are learnt from has the weight 0"
            raise HeedError(what, "--preference", "give it some, or name another by --judged")
        self.judged = judged

    def coefficients(self, rewards: Tensor, log_ratio: Tensor, beta: float, group: int) -> Tensor:
        """``lambda_m / beta`` times the loss's gradient, its sign turned: the mean of ``p_ij - sigma(z_ij)``, [B]."""
        share = self.weights(rewards)[:, 0] / len(rewards)
        own, others = rewards[self.judged], share.clone()
        others[self.judged] = 0
        margin = (others[:, None] * rewards).sum(0)
        implied = (beta * log_ratio - margin) / share[self.judged]
        wanted, got = (torch.sigmoid(_differences(each, group)) for each in (own, implied))
        known = ~(wanted.isnan() | got.isnan()) & ~torch.eye(group, dtype=torch.bool, device=rewards.device)
        pulls = torch.where(known, wanted - got, 0.0)
        return (pulls.sum(2) / known.sum(2).clamp(min=1)).flatten()


def _differences(values: Tensor, group: int) -> Tensor:
    """``v_i - v_j`` of the pairs in each group, [prompts, group, group]."""
    grouped = values.view(-1, group)
    return grouped[:, :, None] - grouped[:, None, :]
