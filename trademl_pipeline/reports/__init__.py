"""Markdown and HTML reports with figures, written for a person who must decide."""

from trademl_pipeline.reports.inputs import ReportConfig, ReportError, ReportInputs
from trademl_pipeline.reports.table import print_summary
from trademl_pipeline.reports.validation import ReportPaths, ValidationReport, build_report

__all__ = [
    "ReportConfig",
    "ReportError",
    "ReportInputs",
    "ReportPaths",
    "ValidationReport",
    "build_report",
    "print_summary",
]
