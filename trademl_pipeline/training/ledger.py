"""The record of everything that a fold's fitted objects have seen.

Scalers, selectors, PCA, encoders, class weights, early stopping, tuning, calibration, ensemble weights,
thresholds and models all fit through `FitLedger.fit`, which hands the rows to the fit and writes down which
rows they were. Test rows are read through `FitLedger.read_test`, which refuses until the fold is frozen.
`leakage.audit_fit_ledger` and `leakage.audit_access` judge the record.

What it cannot see: an object fitted without it, and rows that a fit takes from elsewhere than from its frame.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

import numpy as np
import polars as pl

T = TypeVar("T")

FIT, READ, FREEZE = "fit", "read", "freeze"
REFUSED_FIT, REFUSED_READ = "refused_fit", "refused_read"
EVENTS = (FIT, READ, FREEZE, REFUSED_FIT, REFUSED_READ)

LEDGER_SCHEMA = pl.Schema(
    {
        "sequence": pl.Int64,
        "fold": pl.String,
        "event": pl.String,
        "name": pl.String,
        "kind": pl.String,
        "n_rows": pl.Int64,
        "row_hash": pl.String,
        "session_min": pl.Date,
        "session_max": pl.Date,
        "label_end_max": pl.Date,
        "knowledge_min": pl.Datetime("us", "UTC"),
        "knowledge_max": pl.Datetime("us", "UTC"),
    }
)


class LedgerError(Exception):
    """A fit or a read that the ledger cannot record."""


class FrozenFoldError(LedgerError):
    """Something was to be fitted after the fold was frozen."""


class EarlyTestReadError(LedgerError):
    """Test rows were to be read before the fold was frozen."""


@dataclass(frozen=True)
class LedgerRecord:
    """One event of a fold: a fit, a read of test rows, the freeze, or a refusal.

    Attributes:
        sequence: position in the ledger, from 0.
        fold: month key of the fold.
        event: one of `EVENTS`.
        name, kind: the fitted object and what it is ("scaler", "model", …); of a read, who read.
        n_rows, row_hash: number of rows and the order-independent hash of their (symbol, session) keys.
        session_min, session_max: first and last session among the rows; None where there are none.
        label_end_max: last session whose price a label of the rows reads; None where the frame has no labels.
        knowledge_min, knowledge_max: range of the rows' `knowledge_time` (UTC); None where the frame has
            none.
        rows: (n_rows,) uint64, the hash of each key, sorted. Kept in memory only: a ledger read back from a
            table has None, and its rows can then be compared as a whole but not one by one.
    """

    sequence: int
    fold: str
    event: str
    name: str
    kind: str
    n_rows: int
    row_hash: str
    session_min: date | None
    session_max: date | None
    label_end_max: date | None
    knowledge_min: datetime | None
    knowledge_max: datetime | None
    rows: np.ndarray | None = field(default=None, compare=False, repr=False)


class FitLedger:
    """Records what the fitted objects of one or more folds have seen, and guards the test rows.

    Parameters
    ----------
    fold : str or None, default None
        Month key of the fold that calls without a `fold` argument belong to.

    Examples
    --------
    >>> ledger = FitLedger("2020-01-01")
    >>> days = pl.date_range(date(2019, 1, 1), date(2019, 1, 9), eager=True)
    >>> rows = pl.DataFrame({"symbol": "A", "session": days, "x": range(9)})
    >>> mean = ledger.fit("scaler", rows.head(6), lambda train: train["x"].mean())
    >>> ledger.freeze()
    >>> ledger.read_test(rows.tail(3), lambda test: (test["x"] - mean).to_list())
    [3.5, 4.5, 5.5]
    """

    def __init__(self, fold: str | None = None) -> None:
        self.fold = fold
        self._records: list[LedgerRecord] = []

    def fit(
        self,
        name: str,
        frame: pl.DataFrame,
        fn: Callable[[pl.DataFrame], T],
        *,
        kind: str | None = None,
        fold: str | None = None,
    ) -> T:
        """Record the rows of `frame` as seen by the object `name`, then return `fn(frame)`.

        The record is made before the fit, so that a fit that fails has still seen its rows.

        Args:
            name: the fitted object, such as "scaler" or "model".
            frame: the rows it is fitted on, with `symbol` and `session`; `label_end` and `knowledge_time` are
                recorded where present, and a fit that reads labels should always bring `label_end`.
            fn: takes `frame`, returns the fitted object. It must read its rows from the frame it is given.
            kind: what sort of object it is; None uses `name`.
            fold: month key; None is the ledger's own.

        Raises:
            FrozenFoldError: the fold is frozen; the attempt stays on record.
            LedgerError: the frame is empty or has no keys, or no fold is named.
        """
        month = self._fold(fold)
        if self.is_frozen(month):
            self._add(REFUSED_FIT, name, kind, month, frame)
            raise FrozenFoldError(
                f"fold {month} is frozen: {name!r} may not be fitted any more, since test rows may have been "
                "read. Fit everything before ledger.freeze()"
            )
        self._add(FIT, name, kind, month, frame)
        return fn(frame)

    def freeze(self, fold: str | None = None) -> None:
        """End all selection of a fold: from now on nothing is fitted, and its test rows may be read.

        Raises:
            LedgerError: nothing was fitted for the fold, or it is frozen already.
        """
        month = self._fold(fold)
        if self.is_frozen(month):
            raise LedgerError(f"fold {month} is frozen already")
        if not any(r.fold == month and r.event == FIT for r in self._records):
            raise LedgerError(
                f"fold {month}: nothing was fitted through this ledger, so there is nothing to freeze"
            )
        self._records.append(
            LedgerRecord(len(self._records), month, FREEZE, "", "", 0, "", None, None, None, None, None)
        )

    def read_test(
        self,
        frame: pl.DataFrame,
        fn: Callable[[pl.DataFrame], Any] | None = None,
        *,
        name: str = "predict",
        fold: str | None = None,
    ) -> Any:
        """Record a read of test rows and return `fn(frame)`, or the frame itself where there is no `fn`.

        Args:
            frame: the test rows, with `symbol` and `session`.
            fn: takes the frame; None: the frame is returned.
            name: who reads, for the record.
            fold: month key; None is the ledger's own.

        Raises:
            EarlyTestReadError: the fold is not frozen; the attempt stays on record.
            LedgerError: the frame is empty or has no keys, or no fold is named.
        """
        month = self._fold(fold)
        if not self.is_frozen(month):
            self._add(REFUSED_READ, name, "test", month, frame)
            raise EarlyTestReadError(
                f"fold {month}: {name!r} asked for {frame.height} test rows before the fold was frozen. "
                "Choose rounds, thresholds and models on an inner split of the training rows, then call "
                "ledger.freeze()"
            )
        self._add(READ, name, "test", month, frame)
        return frame if fn is None else fn(frame)

    def is_frozen(self, fold: str | None = None) -> bool:
        """Return whether the fold's selection has ended."""
        month = self._fold(fold)
        return any(r.fold == month and r.event == FREEZE for r in self._records)

    def records(self, fold: str | None = None) -> list[LedgerRecord]:
        """Events in order; of one fold, or of all where `fold` is None."""
        return [r for r in self._records if fold is None or r.fold == fold]

    def digest(self, fold: str | None = None) -> str:
        """Return the SHA-256 (hex) of a fold's records, or of all: equal where the same rows were seen in one order."""
        lines = [[str(getattr(r, c)) for c in LEDGER_SCHEMA if c != "sequence"] for r in self.records(fold)]
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()

    def to_frame(self) -> pl.DataFrame:
        """The records as a table, one row an event, without the hashes of single rows."""
        columns = {c: [getattr(r, c) for r in self._records] for c in LEDGER_SCHEMA}
        return pl.DataFrame(columns, schema=LEDGER_SCHEMA)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "FitLedger":
        """A ledger from `to_frame`'s table.

        Raises:
            LedgerError: a column is missing, or an event is unknown.
        """
        missing = [c for c in LEDGER_SCHEMA if c not in frame.columns]
        if missing:
            raise LedgerError(f"the table is no fit ledger: it has no column {', '.join(missing)}")
        rows = frame.select(pl.col(c).cast(t) for c, t in LEDGER_SCHEMA.items()).sort("sequence")
        unknown = set(rows["event"].unique().to_list()) - set(EVENTS)
        if unknown:
            raise LedgerError(
                f"unknown ledger events {sorted(map(str, unknown))}; known are {', '.join(EVENTS)}"
            )
        ledger = cls()
        ledger._records = [LedgerRecord(**row) for row in rows.iter_rows(named=True)]
        return ledger

    def _fold(self, fold: str | None) -> str:
        month = fold if fold is not None else self.fold
        if not month:
            raise LedgerError(
                "no fold is named: give FitLedger(fold) or the call's fold argument its month key"
            )
        return month

    def _add(self, event: str, name: str, kind: str | None, fold: str, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            raise LedgerError(f"fold {fold}: {name!r} was given no rows")
        rows = key_hashes(frame)
        knowledge = _range(frame, "knowledge_time")
        session = _range(frame, "session")
        self._records.append(
            LedgerRecord(
                len(self._records),
                fold,
                event,
                name,
                kind or name,
                frame.height,
                combined_hash(rows),
                session[0],
                session[1],
                _range(frame, "label_end")[1],
                knowledge[0],
                knowledge[1],
                rows,
            )
        )


def _range(frame: pl.DataFrame, column: str) -> tuple[Any, Any]:
    """Least and greatest value of a time column; (None, None) where the frame has no such column.

    A null is refused: a range over the known part would be too narrow, and the audit would trust it.
    """
    if column not in frame.columns:
        return None, None
    values = frame[column]
    if values.null_count():
        raise LedgerError(
            f"column {column!r} has {values.null_count()} null values; the fit window would be unknown"
        )
    if column in ("session", "label_end"):
        values = values.cast(pl.Date)
    elif isinstance(values.dtype, pl.Datetime):
        zone = values.dtype.time_zone
        values = values.dt.replace_time_zone("UTC") if zone is None else values.dt.convert_time_zone("UTC")
    else:
        raise LedgerError(f"column {column!r} is {values.dtype}; it must be a Datetime")
    return values.min(), values.max()


def key_hashes(frame: pl.DataFrame) -> np.ndarray:
    """(rows,) uint64, sorted: a hash of each row's (symbol, session), the same on every machine and version.

    Each symbol is hashed once with BLAKE2b and mixed with the session's number by the finalizer of SplitMix64
    (Steele, Lea & Flood 2014, https://doi.org/10.1145/2714064.2660195).

    Raises:
        LedgerError: a key column is missing or holds nulls, or `session` is no date.
    """
    for column in ("symbol", "session"):
        if column not in frame.columns:
            raise LedgerError(f"the rows have no column {column!r}; they have {', '.join(frame.columns)}")
        if frame[column].null_count():
            raise LedgerError(f"column {column!r} has {frame[column].null_count()} null values")
    if not isinstance(frame.schema["session"], pl.Date | pl.Datetime):
        raise LedgerError(f"column 'session' is {frame.schema['session']}; it must be a Date")
    symbols = frame["symbol"].cast(pl.String)
    names = symbols.unique().sort()
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(n.encode(), digest_size=8).digest(), "little") for n in names],
        dtype=np.uint64,
    )
    codes = symbols.cast(pl.Enum(names)).to_physical().to_numpy()
    sessions = frame["session"].cast(pl.Datetime("us")).to_physical().to_numpy().astype(np.uint64)
    return np.sort(_mix(hashes[codes] ^ _mix(sessions)))


def combined_hash(rows: np.ndarray) -> str:
    """Order-independent hash (32 hex digits) of a multiset of key hashes, such as `key_hashes` gives."""
    ordered = np.sort(np.asarray(rows, dtype="<u8"))
    return hashlib.blake2b(ordered.tobytes(), digest_size=16).hexdigest()


def row_hash(frame: pl.DataFrame) -> str:
    """Order-independent hash of the (symbol, session) keys of a frame."""
    return combined_hash(key_hashes(frame))


def _mix(values: np.ndarray) -> np.ndarray:
    """Finalizer of SplitMix64: a bijection of uint64 in which every input bit moves every output bit."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
