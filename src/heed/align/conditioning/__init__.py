"""One policy for all preferences: told by numbers in its prompts, or by what the ranks of its adapter count."""

from heed.align.conditioning.gates import write_adapter
from heed.align.conditioning.tags import WriteTag, tagged

__all__ = ["WriteTag", "tagged", "write_adapter"]
