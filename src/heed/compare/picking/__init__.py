"""A policy of a front for whoever has a preference: the one that was trained for it, or the nearest mixed."""

from heed.compare.picking.front_points import FrontPoint, Pick, pick_from
from heed.compare.picking.mixing import mix_adapters
from heed.compare.picking.reading import Policies, policies_of
from heed.compare.picking.serving import adapter_list, vllm_command
from heed.compare.picking.writing import write_picked

__all__ = [
    "FrontPoint",
    "Pick",
    "Policies",
    "adapter_list",
    "mix_adapters",
    "pick_from",
    "policies_of",
    "vllm_command",
    "write_picked",
]
