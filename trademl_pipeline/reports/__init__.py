"""Markdown and HTML reports with figures, written for a person who must decide."""

from trademl_pipeline.reports.comparison import Comparison, build_comparison
from trademl_pipeline.reports.inputs import ReportConfig, ReportError, ReportInputs
from trademl_pipeline.reports.table import print_comparison, print_summary
from trademl_pipeline.reports.validation import ValidationReport, build_report
from trademl_pipeline.reports.writing import ReportPaths

__all__ = [
    "Comparison",
    "ReportConfig",
    "ReportError",
    "ReportInputs",
    "ReportPaths",
    "ValidationReport",
    "build_comparison",
    "build_report",
    "print_comparison",
    "print_summary",
]
