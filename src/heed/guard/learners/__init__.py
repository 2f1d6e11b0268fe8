"""Learners of Stable-Baselines3 that know the guard: replays, balanced SAC, rollouts of the learnt model."""
