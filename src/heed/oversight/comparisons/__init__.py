"""Comparisons of completions: pairs, who is handed which, what was said, and the formats of training."""
