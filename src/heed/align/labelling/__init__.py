"""Pairs of completions for people to compare, sampled from a model, and the margins that reward models give them."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.align.labelling.config import PairSampling
    from heed.align.labelling.margins import with_margins
    from heed.align.labelling.pairs import sample_pairs
    from heed.align.labelling.sampling_model import load_sampling_model

__all__ = ["PairSampling", "load_sampling_model", "sample_pairs", "with_margins"]

__getattr__ = on_demand(
    __name__,
    {
        "config": ["PairSampling"],
        "margins": ["with_margins"],
        "pairs": ["sample_pairs"],
        "sampling_model": ["load_sampling_model"],
    },
)
