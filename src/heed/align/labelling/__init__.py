"""Pairs of completions for people to compare, sampled from a model, and the margins that reward models give them."""

from heed.align.labelling.margins import with_margins
from heed.align.labelling.pairs import PairSampling, sample_pairs
from heed.align.labelling.sampling_model import load_sampling_model

__all__ = ["PairSampling", "load_sampling_model", "sample_pairs", "with_margins"]
