"""A run or a comparison as one self-contained page."""

from heed.report.gather import RunRecord, gather
from heed.report.page import write_report

__all__ = ["RunRecord", "gather", "write_report"]
