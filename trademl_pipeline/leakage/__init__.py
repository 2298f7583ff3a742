"""The leakage gate: probes that show whether a value knew the future."""

from trademl_pipeline.leakage.diagnosis import Diagnosis
from trademl_pipeline.leakage.errors import (
    AuditError,
    AuditInputError,
    ExtractorError,
    ExtractorOutputError,
    NonDeterministicError,
    NonDeterministicExtractorError,
    OutsideDataError,
)
from trademl_pipeline.leakage.feature_audit.audit import audit_features
from trademl_pipeline.leakage.probes.clock import audit_knowledge
from trademl_pipeline.leakage.probes.fits import audit_access, audit_fit_ledger
from trademl_pipeline.leakage.probes.folds import audit_folds
from trademl_pipeline.leakage.probes.models import audit_model
from trademl_pipeline.leakage.probes.plausibility import audit_plausibility
from trademl_pipeline.leakage.probes.portfolio import Portfolio, Rules, audit_portfolio
from trademl_pipeline.leakage.probes.statistics import audit_statistics
from trademl_pipeline.leakage.probes.trades import audit_trades
from trademl_pipeline.leakage.probes.universe import audit_universe
from trademl_pipeline.leakage.probes.windows import audit_windows
from trademl_pipeline.leakage.report import VERDICT, AuditReport, LeakageError, Violation
from trademl_pipeline.leakage.suspicion import Suspicion

__all__ = [
    "VERDICT",
    "AuditError",
    "AuditInputError",
    "AuditReport",
    "Diagnosis",
    "ExtractorError",
    "ExtractorOutputError",
    "LeakageError",
    "NonDeterministicError",
    "NonDeterministicExtractorError",
    "OutsideDataError",
    "Portfolio",
    "Rules",
    "Suspicion",
    "Violation",
    "audit_access",
    "audit_features",
    "audit_fit_ledger",
    "audit_folds",
    "audit_knowledge",
    "audit_model",
    "audit_plausibility",
    "audit_portfolio",
    "audit_statistics",
    "audit_trades",
    "audit_universe",
    "audit_windows",
]
