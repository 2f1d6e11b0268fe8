"""Continuous batching: completions drawn in slots of one static cache, a decode step at a time, in CUDA graphs."""
