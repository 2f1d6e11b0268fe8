"""Imagined futures: looking ahead from a proposed action, and planning a safe one in its place."""
