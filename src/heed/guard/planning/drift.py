"""How far imagined steps are believed: where nothing dangerous happened, they look it the more, the further ahead."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heed.guard.planning.imagination import Imagination
from heed.guard.planning.risk import RiskStrategy

ALPHA, MOST = 0.02, 0.2
"""Share of peaceful windows that may look dangerous all the same: at least, and at most."""
FEWEST = math.ceil(1 / ALPHA) - 1
"""Windows, of which the largest danger is exceeded by a fresh one's in `ALPHA` of the cases; fewer tell nothing."""
AT_ONCE = 50
"""Windows that are imagined at a time."""


def belief_by_step(
    imagination: Imagination,
    states: Tensor,
    actions: Tensor,
    risk: RiskStrategy,
    threshold: float,
    alpha: float = ALPHA,
) -> Tensor | None:
    """By what the danger of each imagined step is multiplied, so that what peace explains blocks nothing.

    Windows of what happened, through no state in which somebody blocked or things went wrong, are imagined anew from
    their first states with their own actions. What looks dangerous there is the models' error, and it grows from step
    to step: as the futures drift, and as ever more different ones are combined. The first step is believed as it is
    told, as its threshold is calibrated by what a person blocked, and a share of these windows is flagged by it,
    needlessly. Of each later step no larger share is to be, nor of all of them together; a share ``alpha`` may be in
    any case. So a step is believed by the threshold over the danger that only this share of such windows exceeds
    (split conformal; Vovk et al. 2005), and all later ones less by what it takes that no larger share exceeds the
    threshold in any.

    Dynamics that have learnt from the windows drift less from them than from fresh ones, of which somewhat more are
    flagged.

    Args:
        imagination: of the models as they are, which believes everything, and knows no range and nothing beyond it.
        states: of the windows, [W, H + 1, S].
        actions: executed, vectors [W, H, A].
        risk: how the futures of a step are combined.
        threshold: danger from which a step is unsafe.
        alpha: share of the windows that may look dangerous, in (0, `MOST`].

    Returns:
        [H], from 1, never rising; None where there are too few windows to tell.
    """
    count, enough = len(states), math.ceil((len(states) + 1) * (1 - alpha))
    if count < FEWEST or not threshold > 0:
        return None
    futures = [
        imagination.roll(*part) for part in zip(states[:, 0].split(AT_ONCE), actions.split(AT_ONCE), strict=True)
    ]
    told = torch.cat([each.dangers(risk).T for each in futures])  # [W, H]
    flagged = int((told[:, 0] >= threshold).sum())
    place = min(enough, max(count - flagged, math.ceil((1 - MOST) * count))) - 1
    belief = (threshold / told[:, 1:].sort(0).values[place].cummax(0).values).clamp(max=1.0)
    whole = torch.cat([(each.danger[1:] * belief[:, None, None, None]).amax(0) for each in futures], 1)  # [E, W, P]
    exceeded = float(risk.combine(whole.transpose(0, 1).flatten(1)).sort().values[place])
    belief *= min(1.0, (1 - 1e-3) * threshold / max(exceeded, 1e-9))
    return torch.cat([torch.ones(1), belief])
