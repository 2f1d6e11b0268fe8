"""What is known of LunarLander-v3 with continuous engines: its crash, danger, and a controller that keeps it up."""

from __future__ import annotations

from heed.worlds.lunar_lander.rules import crashed, dangerous, shares, steady
from heed.worlds.oracle import Oracle

ORACLE = Oracle(
    about="a lander; its body touching the ground, or leaving the screen, is a catastrophe",
    kwargs={"continuous": True},
    catastrophe=crashed,  # whether the body touches the ground cannot be seen in an observation
    danger=lambda observation, _info: dangerous(observation),
    safe_action=steady,
    action_names=(("main engine off", "main engine"), ("left engine", "right engine")),
    in_frame=shares,
)
