"""Which methods steer a policy, and by what."""

from __future__ import annotations

from collections.abc import Sequence

from heed.align.conditioning.by_adapter import ByAdapter
from heed.align.conditioning.steering import ByPrompt, ByReward, Conditioning
from heed.align.conditioning.tags import WriteTag, write_tag
from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.balance.weightings.combinations.ric import RiC
from heed.balance.weightings.conditioned import Conditioned


def conditioning_of(
    weighting: object,
    names: Sequence[str],
    config: AlignConfig,
    policy: Policy,
    write: WriteTag = write_tag,
) -> Conditioning:
    """How a method steers a policy.

    Args:
        weighting: the method.
        names: of the objectives.
        config: the run's.
        policy: what is trained.
        write: how numbers are written before a prompt.

    Raises:
        HeedError: the preference is to act through an adapter that there is not, or that has too few ranks.
    """
    if isinstance(weighting, Conditioned):
        if weighting.through == "adapter":
            return ByAdapter(weighting, names, config, policy)
        return ByPrompt(weighting, names, config, write)
    if isinstance(weighting, RiC):
        return ByReward(weighting, names, config, write, policy.tokenizer)
    return Conditioning(config)
