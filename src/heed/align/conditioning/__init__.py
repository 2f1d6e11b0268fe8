"""Prompts that carry numbers: one policy that is told, in each prompt, which preference it is to follow."""

from heed.align.conditioning.steering import Conditioning, conditioning_of
from heed.align.conditioning.tags import WriteTag, tagged

__all__ = ["Conditioning", "WriteTag", "conditioning_of", "tagged"]
