"""The report of a study: one page that opens offline, figures beside it, and the result as JSON."""

from .write import ReportWriteError, write_report

__all__ = ["ReportWriteError", "write_report"]
