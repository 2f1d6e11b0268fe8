"""The desk between an agent that proposes and the people who watch it."""
