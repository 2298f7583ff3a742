"""The record of fits: which rows the fitted objects saw, and when test rows were read ("fit_ledger", "access").

The properties: **the rows that any fitted object of a fold has seen are training rows of that fold**, and
**test rows are read after everything is fitted, once.**

Both judge the record of a `training.ledger.FitLedger`. An object that was fitted without it is not on record:
name the objects you expect.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

import numpy as np
import polars as pl

from trademl_pipeline.leakage.errors import AuditInputError
from trademl_pipeline.leakage.report import BLIND_SPOTS, AuditReport, Violation
from trademl_pipeline.training.ledger import (
    FIT,
    FREEZE,
    READ,
    REFUSED_FIT,
    REFUSED_READ,
    FitLedger,
    LedgerRecord,
    key_hashes,
    row_hash,
)

FIT_LEDGER, ACCESS = "fit_ledger", "access"

FIT_BLIND_SPOTS = (
    "in-sample meta-labels: rows on which a model learns from predictions that another made of rows it was fitted on",
    "rows that a fit takes from elsewhere than its frame, and objects that are fitted beside the ledger under no name",
)
ACCESS_BLIND_SPOTS = (
    "what happens inside one read: a partial_fit on the test rows, or a choice among several results",
)

# Objects of these kinds learn from labels, so a record without label_end says too little.
LABELLED = frozenset(
    (
        "model",
        "class_weights",
        "early_stopping",
        "rounds",
        "hpo",
        "tuning",
        "calibration",
        "threshold",
        "ensemble",
        "selector",
        "target_encoder",
    )
)


class FoldLike(Protocol):
    """A fold, such as `folds.Fold`."""

    @property
    def month(self) -> str:
        """Month key."""
        ...

    @property
    def train_start(self) -> date:
        """First session whose rows may train."""
        ...

    @property
    def train_end(self) -> date:
        """Last admissible end of a training label."""
        ...

    @property
    def test_start(self) -> date:
        """First session of a test decision."""
        ...


def audit_fit_ledger(
    ledger: FitLedger | pl.DataFrame,
    fold: FoldLike,
    train: pl.DataFrame | None = None,
    *,
    expected: Sequence[str] = (),
) -> AuditReport:
    """Audit every fit of a fold.

    Args:
        ledger: the record, or its table.
        fold: the fold's window: no fitted row or label may lie after `train_end` or before `train_start`, and
            nothing may have become known on or after the day of `test_start`.
        train: the fold's training rows, as `WalkForward.split` gave them. If given, the fitted rows must be
            among them. A ledger that was read back from a table knows rows only as a whole: then the fits on
            all rows are compared, and the coverage counts the others.
        expected: names that must have been fitted, each as often as it is in here.

    Raises:
        AuditInputError: the ledger has no fit of the fold, or is none.
    """
    ledger = _ledger(ledger)
    fits = [r for r in ledger.records(fold.month) if r.event == FIT]
    if not fits:
        known = sorted({r.fold for r in ledger.records()})
        raise AuditInputError(
            f"the ledger has no fit of fold {fold.month}, so nothing can be said; it has "
            f"{', '.join(known) or 'no fold'}"
        )
    violations: list[Violation] = []
    training_keys = None if train is None else key_hashes(train)
    unchecked = 0
    for record in fits:
        violations += _window(record, fold)
        if training_keys is not None and train is not None:
            missing = _foreign(record, training_keys, train)
            unchecked += missing is None
            if missing:
                detail = (
                    f"{record.name} has seen {missing:,} of {record.n_rows:,} rows that are not training rows"
                )
                violations.append(_violation(record, fold, detail, count=missing))
        elif record.kind in LABELLED and record.label_end_max is None:
            detail = (
                f"{record.name} learns from labels, but the record does not say where they end (no label_end)"
            )
            violations.append(_violation(record, fold, detail))
    for name, times in Counter(expected).items():
        recorded = sum(r.name == name for r in fits)
        if recorded < times:
            often = f" (on record {recorded} of {times} times)" if times > 1 else ""
            detail = f"{name} was not fitted through the ledger{often}, so it may have seen anything"
            violations.append(Violation(FIT_LEDGER, name, None, fold.test_start, None, None, detail))
    coverage: dict[str, Any] = {
        "fold": fold.month,
        "fits": len(fits),
        "objects": sorted({r.name for r in fits}),
        "rows": sum(r.n_rows for r in fits),
        "rows_compared_with_training_set": training_keys is not None,
        "fits_not_compared_row_by_row": unchecked or None,
        "expected": len(expected) or None,
        "digest": ledger.digest(fold.month),
        BLIND_SPOTS: list(FIT_BLIND_SPOTS),
    }
    return AuditReport(tuple(violations), {FIT_LEDGER: {k: v for k, v in coverage.items() if v is not None}})


def audit_access(ledger: FitLedger | pl.DataFrame, fold: FoldLike | str | None = None) -> AuditReport:
    """Audit the order of events: fits, then the freeze, then one read of the test rows.

    Args:
        ledger: the record, or its table.
        fold: a fold or its month key; None for all folds on record.

    Raises:
        AuditInputError: the ledger holds nothing, or nothing of that fold.
    """
    ledger = _ledger(ledger)
    month = fold if isinstance(fold, str) or fold is None else fold.month
    records = ledger.records(month)
    if not records:
        raise AuditInputError(f"the ledger has no record{'' if month is None else f' of fold {month}'}")
    violations: list[Violation] = []
    reads = 0
    for name in dict.fromkeys(r.fold for r in records):
        events = [r for r in records if r.fold == name]
        frozen = next((r.sequence for r in events if r.event == FREEZE), None)
        seen: set[str] = set()
        seen_rows: list[np.ndarray] = []
        for r in events:
            what = None
            shared = 0 if r.event != READ or r.rows is None else _shared(r.rows, seen_rows)
            if r.event == REFUSED_READ:
                what = f"{r.name} asked for {r.n_rows:,} test rows before the fold was frozen; it was refused"
            elif r.event == REFUSED_FIT:
                what = f"{r.name} was to be fitted after the fold was frozen; it was refused"
            elif r.event == READ and (frozen is None or r.sequence < frozen):
                what = f"{r.name} read {r.n_rows:,} test rows before the fold was frozen"
            elif r.event == FIT and frozen is not None and r.sequence > frozen:
                what = f"{r.name} was fitted after the fold was frozen"
            elif r.event == READ and r.row_hash in seen:
                what = f"{r.name} read the same {r.n_rows:,} test rows again, which invites a second choice"
            elif shared:
                what = (
                    f"{r.name} read {shared:,} of {r.n_rows:,} test rows again, which invites a second choice"
                )
            if r.event == READ:
                seen.add(r.row_hash)
                seen_rows += [] if r.rows is None else [r.rows]
                reads += 1
            if what is not None:
                violations.append(
                    Violation(ACCESS, r.name, None, _day(name), r.session_min, None, what, max(r.n_rows, 1))
                )
    folds = len({r.fold for r in records})
    coverage = {"folds": folds, "events": len(records), "test_reads": reads}
    return AuditReport(tuple(violations), {ACCESS: {**coverage, BLIND_SPOTS: list(ACCESS_BLIND_SPOTS)}})


def _shared(rows: np.ndarray, before: list[np.ndarray]) -> int:
    return int(np.isin(rows, np.concatenate(before)).sum()) if before else 0


def _window(record: LedgerRecord, fold: FoldLike) -> list[Violation]:
    violations: list[Violation] = []
    for what, value, limit in (
        ("rows of", record.session_max, fold.train_end),
        ("labels that end on", record.label_end_max, fold.train_end),
    ):
        if value is not None and value > limit:
            detail = (
                f"{record.name} has seen {what} {value}; training ends on {limit}, the test starts "
                f"{fold.test_start}"
            )
            violations.append(
                _violation(record, fold, detail, first=value, delta=float((value - limit).days))
            )
    if record.session_min is not None and record.session_min < fold.train_start:
        detail = (
            f"{record.name} has seen rows of {record.session_min}; the training window starts on "
            f"{fold.train_start}"
        )
        violations.append(_violation(record, fold, detail, first=record.session_min))
    opening = datetime.combine(fold.test_start, time.min, UTC)
    if record.knowledge_max is not None and record.knowledge_max >= opening:
        detail = f"{record.name} has seen what became known {record.knowledge_max}, when the test had begun"
        violations.append(_violation(record, fold, detail, first=record.knowledge_max.date()))
    return violations


def _foreign(record: LedgerRecord, training_keys: np.ndarray, train: pl.DataFrame) -> int | None:
    """Number of fitted rows that are no training rows; None where the record cannot tell."""
    if record.rows is not None:
        # Both are sorted, which makes this a tenth of what looking up unsorted keys costs.
        at = np.minimum(np.searchsorted(training_keys, record.rows), len(training_keys) - 1)
        return int((training_keys[at] != record.rows).sum())
    if record.n_rows > train.height:
        return record.n_rows - train.height
    if record.n_rows == train.height:
        return 0 if record.row_hash == row_hash(train) else record.n_rows
    return None


def _violation(
    record: LedgerRecord,
    fold: FoldLike,
    detail: str,
    *,
    first: date | None = None,
    delta: float | None = None,
    count: int | None = None,
) -> Violation:
    return Violation(
        FIT_LEDGER,
        record.name,
        None,
        fold.test_start,
        first,
        delta,
        detail,
        record.n_rows if count is None else count,
    )


def _ledger(ledger: Any) -> FitLedger:
    if isinstance(ledger, pl.DataFrame):
        return FitLedger.from_frame(ledger)
    if not isinstance(ledger, FitLedger):
        raise AuditInputError(f"the ledger is {type(ledger).__name__}; give a FitLedger or its table")
    return ledger


def _day(month: str) -> date | None:
    try:
        return date.fromisoformat(month)
    except ValueError:
        return None
