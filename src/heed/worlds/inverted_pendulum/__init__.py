"""Inverted pendulum, of MuJoCo: a fallen pole is a catastrophe."""
