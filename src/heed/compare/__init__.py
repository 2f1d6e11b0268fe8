"""Several methods and seeds under one budget: fronts, tables with intervals, and the demonstration of both halves."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.compare.demo import run_demo
    from heed.compare.front import FrontJob, run_front, spread_preferences
    from heed.compare.guards import GuardsJob, compare_guards
    from heed.compare.methods import MethodsJob, compare_methods
    from heed.compare.tables import format_table

__all__ = [
    "FrontJob",
    "GuardsJob",
    "MethodsJob",
    "compare_guards",
    "compare_methods",
    "format_table",
    "run_demo",
    "run_front",
    "spread_preferences",
]

__getattr__ = on_demand(
    __name__,
    {
        "demo": ["run_demo"],
        "front": ["FrontJob", "run_front", "spread_preferences"],
        "guards": ["GuardsJob", "compare_guards"],
        "methods": ["MethodsJob", "compare_methods"],
        "tables": ["format_table"],
    },
)
