"""A run or a comparison as one self-contained page."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.report.common.gather import RunRecord, gather
    from heed.report.page import report_of, write_report

__all__ = ["RunRecord", "gather", "report_of", "write_report"]

__getattr__ = on_demand(
    __name__,
    {
        "common.gather": ["RunRecord", "gather"],
        "page": ["report_of", "write_report"],
    },
)
