"""Weights that are learnt from step to step, instead of solved for anew."""
