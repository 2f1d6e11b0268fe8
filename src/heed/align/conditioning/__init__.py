"""Prompts that carry numbers: one policy that is told, in each prompt, which preference it is to follow."""

from heed.align.conditioning.tags import WriteTag, tagged

__all__ = ["WriteTag", "tagged"]
