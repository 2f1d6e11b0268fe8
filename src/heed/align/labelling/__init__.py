"""Pairs of completions for people to compare, sampled from a model, and what reward models say of them."""
