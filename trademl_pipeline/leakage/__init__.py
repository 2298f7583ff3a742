"""The leakage gate: probes that show whether a value knew the future."""

from trademl_pipeline.leakage.clock import audit_knowledge
from trademl_pipeline.leakage.errors import (
    AuditError,
    AuditInputError,
    ExtractorError,
    ExtractorOutputError,
    LeakageError,
    NonDeterministicError,
    NonDeterministicExtractorError,
    OutsideDataError,
)
from trademl_pipeline.leakage.features import audit_features
from trademl_pipeline.leakage.fits import audit_access, audit_fit_ledger
from trademl_pipeline.leakage.folds import audit_folds
from trademl_pipeline.leakage.report import VERDICT, AuditReport, Violation

__all__ = [
    "VERDICT",
    "AuditError",
    "AuditInputError",
    "AuditReport",
    "ExtractorError",
    "ExtractorOutputError",
    "LeakageError",
    "NonDeterministicError",
    "NonDeterministicExtractorError",
    "OutsideDataError",
    "Violation",
    "audit_access",
    "audit_features",
    "audit_fit_ledger",
    "audit_folds",
    "audit_knowledge",
]
