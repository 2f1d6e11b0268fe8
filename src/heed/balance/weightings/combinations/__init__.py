"""Combinations: K rewards become one advantage before any gradient is taken; what the field calls multi-reward GRPO."""
