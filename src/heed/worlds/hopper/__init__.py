"""Hopper, of MuJoCo: a fall is a catastrophe."""
