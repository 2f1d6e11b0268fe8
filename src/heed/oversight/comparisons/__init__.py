"""Comparisons of completions: pairs, who is assigned which, sessions of comparing, and the formats of training."""
