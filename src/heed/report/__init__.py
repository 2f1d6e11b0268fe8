"""A run or a comparison as one self-contained page."""

from heed.report.common.gather import RunRecord, gather
from heed.report.page import report_of, write_report

__all__ = ["RunRecord", "gather", "report_of", "write_report"]
