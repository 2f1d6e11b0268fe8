"""LunarLander: what a crash is, when a person would step in, and a controller that keeps the lander up."""
