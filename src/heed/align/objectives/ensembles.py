"""An objective that several judges score together, less what they disagree by.

The command line names one by ``ensemble://TARGET+TARGET...``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from heed.align.data.conversations import Completion, Prompt, Tools
from heed.align.objectives.base import Objective, ObjectiveSpec
from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveKind, ObjectiveText, kind_of, register_objective_kind
from heed.errors import HeedError

SCHEME = "ensemble://"


class Ensemble(Objective):
    """Several judges of the same objectives: their mean, less ``pessimism`` deviations between them.

    A policy finds what a judge is wrong about, and judges that were trained apart are wrong about different things:
    where they disagree, none is to be trusted (Coste et al. 2024, "Reward model ensembles help mitigate
    overoptimization"). The deviation is that of the members' rewards, each with its own sign and scale; members should
    be of like units, as reward models trained on the same comparisons are.

    Args:
        members: at least two, with as many specs each, which count by their order.
        names: of the objectives, one for each of a member's specs.
        pessimism: deviations (of all members, divided by their number) that are taken off; 0 is the mean.
        sign: +1 if more is better, -1 if less is: then the deviations are added, and the cost is that of a pessimist.
        scale: positive factor on the values.
        unit: what the values are measured in.

    Raises:
        HeedError: fewer than two members, of different numbers of objectives, or a pessimism that is negative or no
            number.

    >>> from heed.align.objectives.reward_functions import RewardFunction
    >>> short = RewardFunction(lambda prompts, completions: [1.0 for _ in completions], name="a")
    >>> long = RewardFunction(lambda prompts, completions: [float(len(c)) for c in completions], name="b")
    >>> Ensemble([short, long], ["both"]).score(["?"] * 2, ["x", "xxx"], {})  # of 1 and 3: 2 less 1
    tensor([[1.],
            [1.]])
    """

    def __init__(
        self,
        members: Sequence[Objective],
        names: Sequence[str],
        pessimism: float = 1.0,
        sign: float = 1.0,
        scale: float = 1.0,
        unit: str = "",
    ) -> None:
        where = f"ensemble {', '.join(names)}"
        if len(members) < 2:
            raise HeedError(f"{len(members)} judge is no ensemble", where, "give two or more, with + between")
        counts = {len(member.specs) for member in members}
        if counts != {len(names)}:
            found = ", ".join(str(len(member.specs)) for member in members)
            what = f"the judges score {found} objectives, and {len(names)} are named"
            raise HeedError(what, where, "give judges of the same objectives")
        if not (pessimism >= 0 and math.isfinite(pessimism)):
            raise HeedError(f"a pessimism of {pessimism}", where, "give deviations, >= 0")
        self.members, self.pessimism = tuple(members), pessimism
        self.specs = tuple(ObjectiveSpec(name, sign, scale, unit) for name in names)

    def check(self, prompt: Prompt, tools: Tools = None) -> None:
        """Refuse a prompt that a member refuses; see ``Objective.check``."""
        for member in self.members:
            member.check(prompt, tools)

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
    ) -> Tensor:
        """Score a batch; see ``Objective.score``. What one member does not score, the ensemble does not."""
        each = torch.stack([self._rewards(member, prompts, completions, columns) for member in self.members])
        signs = torch.tensor([spec.sign for spec in self.specs])
        return each.mean(0) - signs * self.pessimism * each.std(0, correction=0)

    def _rewards(
        self,
        member: Objective,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        columns: Mapping[str, Sequence[Any]],
    ) -> Tensor:
        factors = torch.tensor([spec.sign * spec.scale for spec in member.specs])
        return member.score(prompts, completions, columns).to("cpu", torch.float32) * factors


def _from_text(text: ObjectiveText) -> Ensemble:
    own = {"pessimism": float, **COMMON_KEYS}
    targets = text.target.removeprefix(SCHEME).split("+")
    if "" in targets:
        raise HeedError("an ensemble with a judge left out", f"{text.option} {text.target}", "give TARGET+TARGET...")
    rest = {key: value for key, value in text.given.items() if key not in own}
    members = [kind_of(t).build(ObjectiveText(None, t, rest, text.option)) for t in targets]
    options = ObjectiveText(text.name, text.target, {k: v for k, v in text.given.items() if k in own}, text.option)
    names = [text.name] if text.name else [members[0].specs[0].name]
    return Ensemble(members, names, **options.options(own))


register_objective_kind(ObjectiveKind("ensemble://TARGET+TARGET", lambda t: t.startswith(SCHEME), _from_text))
