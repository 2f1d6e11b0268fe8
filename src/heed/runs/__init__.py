"""Run folders: config, metrics, checkpoints that survive a full disk, and exact resumption."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
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

__getattr__ = on_demand(
    __name__,
    {
        "config": ["config_hash", "describe_differences", "read_yaml", "refuse_other_settings", "to_yaml"],
        "files": ["read_lines", "read_metrics"],
        "folder": ["RunFolder"],
        "randomness": ["capture_randomness", "restore_randomness", "seed_everything"],
    },
)
