"""Prompts and comparisons from wherever they lie, as text or as messages."""

from heed.align.data.dataset import load_prompts

__all__ = ["load_prompts"]
