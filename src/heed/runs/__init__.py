"""Run folders: config, metrics, checkpoints that survive a full disk, and exact resumption."""

from heed.runs.config import config_hash, describe_differences, read_yaml, refuse_other_settings, to_yaml
from heed.runs.files import read_lines, read_metrics
from heed.runs.folder import RunFolder
from heed.runs.randomness import capture_randomness, restore_randomness, seed_everything

__all__ = [
    "RunFolder",
    "capture_randomness",
    "config_hash",
    "describe_differences",
    "read_lines",
    "read_metrics",
    "read_yaml",
    "refuse_other_settings",
    "restore_randomness",
    "seed_everything",
    "to_yaml",
]
