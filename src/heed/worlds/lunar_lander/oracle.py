"""What is known of LunarLander-v3 with continuous engines: its crash, danger, and a controller that keeps it up."""

from __future__ import annotations

from heed.worlds.lunar_lander.picture import flames
from heed.worlds.lunar_lander.rules import applied, crashed, dangerous, shares, steady
from heed.worlds.oracle import Oracle

ORACLE = Oracle(
    about="a lander; its body touching the ground, or leaving the screen, is a catastrophe",
    kwargs={"continuous": True},
    catastrophe=crashed,  # whether the body touches the ground cannot be seen in an observation
    danger=lambda observation, _info: dangerous(observation),
    safe_action=steady,
    variable_names=(
        "x",
        "height",
        "sideways",
        "rising",
        "tilt, rad",
        "turning",
        "left leg touches",
        "right leg touches",
    ),
    action_names=(("", "main engine"), ("push left", "push right")),
    applied=applied,
    keys={
        "arrowup": ("main engine", (1.0, 0.0)),
        "arrowleft": ("push left", (0.0, -1.0)),
        "arrowright": ("push right", (0.0, 1.0)),
    },
    in_frame=shares,
    action_in_frame=flames,
)
