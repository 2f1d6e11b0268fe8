"""Pong on the Atari's memory: HIRL's task, to keep the paddle off the bottom of the screen."""
