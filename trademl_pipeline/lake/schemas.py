"""Every table of the lake and its columns: the one place that knows them.

A table is partitioned by month. Its `month` column (pl.String, "YYYY-MM-01", Dagster's monthly partition
key) is set by `publish` and does not appear in `TableSchema.columns`, except in a ledger, which names it
itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl
from polars.datatypes import DataTypeClass

MONTH = "month"
UTC_TIME = pl.Datetime("us", "UTC")

SQL_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.Date: "DATE",
    UTC_TIME: "TIMESTAMP WITH TIME ZONE",
    pl.Datetime("us"): "TIMESTAMP",
}


@dataclass(frozen=True)
class TableSchema:
    """The declaration of one table.

    name: table name in the lake (lower case letters, digits, underscores).
    columns: column name -> Polars type, in the order in which `read` returns them.
    key: columns that identify a row, unique within a month and never null; () where rows have no identity.
    nullable: columns that may hold nulls (and NaN, where they are floats); "all" for every column.
    month_column: the date or UTC time column whose month must be the partition's; None where there is none.
    order: columns by which `read` sorts; the key where nothing else is said.
    may_be_empty: a month without rows is a valid month of this table.
    unversioned: columns that do not count for the data version, such as the moment of ingestion.
    """

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType] | DataTypeClass]
    key: tuple[str, ...]
    nullable: frozenset[str] | Literal["all"] = frozenset()
    description: str = ""
    month_column: str | None = None
    order: tuple[str, ...] = ()
    may_be_empty: bool = False
    unversioned: frozenset[str] = field(default=frozenset({"ingested_at"}))

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ValueError(
                f"table name {self.name!r}: use lower case letters, digits and underscores, a letter first"
            )
        folded = [c.lower() for c in self.columns]
        twice = sorted({c for c in folded if folded.count(c) > 1 or (c == MONTH and c not in self.columns)})
        if twice:
            raise ValueError(f"table {self.name}: columns {twice} differ from others by upper case only")
        for column, dtype in self.columns.items():
            if dtype not in SQL_TYPES:
                raise ValueError(
                    f"table {self.name}, column {column}: the lake cannot store {dtype}; use one of "
                    f"{', '.join(str(t) for t in SQL_TYPES)}"
                )
        named = {"key": self.key, "order": self.order, "month_column": (self.month_column,)}
        if self.nullable != "all":
            named["nullable"] = tuple(self.nullable)
        for what, names in named.items():
            unknown = [n for n in names if n is not None and n not in self.columns]
            if unknown:
                raise ValueError(
                    f"table {self.name}: {what} names {unknown}, which are not among its columns"
                )
        if not self.order:
            object.__setattr__(self, "order", self.key)

    @property
    def is_ledger(self) -> bool:
        """True for append-only tables, which carry the month in their own `month` column."""
        return MONTH in self.columns

    @property
    def required(self) -> list[str]:
        """Columns that may hold neither null nor NaN, in table order; the key is always among them."""
        if self.nullable == "all":
            return list(self.key)
        return [c for c in self.columns if c not in self.nullable or c in self.key]

    @property
    def polars_schema(self) -> pl.Schema:
        """The columns as a Polars schema, ready for `pl.DataFrame(..., schema=...)`."""
        return pl.Schema(self.columns)

    def empty(self) -> pl.DataFrame:
        """A frame of this schema without rows."""
        return pl.DataFrame(schema=self.polars_schema)


_PANEL_KEY = ("symbol", "session")

RAW_BARS = TableSchema(
    name="raw_bars",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
        "split_factor": pl.Float64,
        "dividend": pl.Float64,
        "adjusted": pl.Boolean,
        "event_time": UTC_TIME,
        "knowledge_time": UTC_TIME,
        "source": pl.String,
        "ingested_at": UTC_TIME,
    },
    key=_PANEL_KEY,
    month_column="session",
    description="Daily bars as traded. split_factor is 2.0 on the ex-date of a 2:1 split and 1.0 elsewhere; "
    "dividend is cash per share on its ex-date.",
)

QUARANTINED_BARS = TableSchema(
    name="quarantined_bars",
    columns={**RAW_BARS.columns, "reason": pl.String, "row": pl.Int64},
    key=(),
    nullable="all",
    order=("symbol", "session", "row"),
    may_be_empty=True,
    description="Bars that were refused, as the source gave them, with the reasons and the row in the "
    "source's frame.",
)


REFERENCE_BARS = TableSchema(
    name="reference_bars",
    columns={**RAW_BARS.columns, "kind": pl.String},
    key=_PANEL_KEY,
    nullable=frozenset({"volume"}),
    month_column="session",
    description="Bars of what symbols are compared with: index and sector funds, the VIX, and an index built from "
    "raw_bars. kind is fund, sector, volatility or synthetic; a volatility index has no volume.",
)

QUARANTINED_REFERENCES = TableSchema(
    name="quarantined_references",
    columns=QUARANTINED_BARS.columns,
    key=(),
    nullable="all",
    order=QUARANTINED_BARS.order,
    may_be_empty=True,
    description="Reference bars that were refused, with the reasons.",
)


SECTORS = TableSchema(
    name="sectors",
    columns={"symbol": pl.String, "sector": pl.String, "start_date": pl.Date},
    key=("symbol", "start_date"),
    may_be_empty=True,
    description="Which fund of reference_bars stands for a symbol's sector, since when, as known in the month. Symbols "
    "of which nothing is known are not in it.",
)


UNIVERSE_MEMBERS = TableSchema(
    name="universe_members",
    columns={"symbol": pl.String, "session": pl.Date},
    key=_PANEL_KEY,
    month_column="session",
    description="Who belonged to the universe on which session and has a bar of it: whom one may decide on. Those that "
    "left later are in it while they belonged.",
)


def quality_table(table: str) -> TableSchema:
    """Table of the quality checks of a table of bars: one row per check and month."""
    return TableSchema(
        name={"raw_bars": "bar_quality", "reference_bars": "reference_quality"}[table],
        columns={
            "check": pl.String,
            "severity": pl.String,
            "rows": pl.Int64,
            "count": pl.Int64,
            "symbols": pl.Int64,
            "share": pl.Float64,
            "limit": pl.Float64,
            "passed": pl.Boolean,
            "examples": pl.String,
        },
        key=("check",),
        description=f"Quality of {table} by month: how many findings of each check (count) among how many bars (rows), "
        "the share that may be found (limit), and examples.",
    )


def label_table(
    target: str,
    values: Mapping[str, Any] | None = None,
    *,
    nullable: Iterable[str] = (),
    description: str = "",
) -> TableSchema:
    """Table `labels_<target>`: what became of every decision, filed under the month of its label_end.

    Args:
        target: name of the target.
        values: the target's columns and their types; None takes those of a direction: forward_return,
            threshold and target.
        nullable: values that may be missing in a row.
        description: of the values.
    """
    if values is None:
        values = {"forward_return": pl.Float64, "threshold": pl.Float64, "target": pl.Int8}
    return TableSchema(
        name=f"labels_{target}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "label_start": pl.Date,
            "label_end": pl.Date,
            **values,
            "horizon": pl.Int16,
            "last_price": pl.Boolean,
            "knowledge_time": UTC_TIME,
        },
        key=_PANEL_KEY,
        nullable=frozenset(nullable),
        month_column="label_end",
        may_be_empty=True,
        description=f"{description} A label reads (label_start, label_end] and is filed under the month of its "
        "label_end, the month in which it became known. last_price: the name did not trade at label_end, and its "
        "last price stands in.".strip(),
    )


LABEL_DIRECTION = label_table("direction", description="Sell (0), Hold (1), Buy (2) by the log return.")

AUDITS = TableSchema(
    name="audits",
    columns={
        "table_name": pl.String,
        MONTH: pl.String,
        "probe": pl.String,
        "passed": pl.Boolean,
        "column": pl.String,
        "symbol": pl.String,
        "cutoff": pl.Date,
        "first_leak": pl.Date,
        "max_delta": pl.Float64,
        "detail": pl.String,
        "coverage": pl.String,
        "run_id": pl.String,
        "recorded_at": UTC_TIME,
    },
    key=(),
    nullable=frozenset({"column", "symbol", "cutoff", "first_leak", "max_delta"}),
    order=("recorded_at", "table_name", MONTH, "probe", "column", "symbol"),
    description="The ledger of the gate: one row for each probe and violation, appended and never replaced.",
)


NIGHTLY_AUDITS = TableSchema(
    name="nightly_audits",
    columns={
        "table_name": pl.String,
        MONTH: pl.String,
        "passed": pl.Boolean,
        "violations": pl.Int64,
        "cutoffs": pl.Int64,
        "cells": pl.Int64,
        "carried": pl.Boolean,
        "fingerprint": pl.String,
        "as_of": pl.String,
        "run_id": pl.String,
        "recorded_at": UTC_TIME,
    },
    key=(),
    order=("recorded_at", "table_name", MONTH),
    description="The history of the nightly audit: one row for each night, table and month. carried: passed before, "
    "and neither the rows, what they are made of, nor the code has changed since (fingerprint).",
)


def feature_table(set_name: str, feature_names: Sequence[str]) -> TableSchema:
    """Table `features_<set_name>`: the panel key, the decision and knowledge times, one Float64 per feature.

    A feature is null while it warms up. Adding a name adds a column to an existing table; dropping one is
    refused.
    """
    return TableSchema(
        name=f"features_{set_name}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
            **dict.fromkeys(feature_names, pl.Float64),
        },
        key=_PANEL_KEY,
        nullable=frozenset(feature_names),
        month_column="session",
        description=f"Features of the set {set_name!r}, known at decision_time (the session's close).",
    )


PATTERNS = TableSchema(
    name="patterns",
    columns={
        "symbol": pl.String,
        "session": pl.Date,
        "decision_time": UTC_TIME,
        "knowledge_time": UTC_TIME,
        "pattern": pl.String,
        "start": pl.Date,
        "activation": pl.Date,
        "days_since_activation": pl.Int32,
        "upper": pl.Float64,
        "lower": pl.Float64,
        "power": pl.Float64,
        "baseline_bbw": pl.Float64,
        "baseline_volume_ratio": pl.Float64,
        "baseline_volatility": pl.Float64,
    },
    key=_PANEL_KEY,
    month_column="session",
    may_be_empty=True,
    description="Snapshots of consolidation patterns: one row for each session on which one is active.",
)


def sequence_table(study: str, *, snapshots: bool = False) -> TableSchema:
    """Table `sequences_<study>`: one row per decision, saying which sessions its window spans.

    Args:
        study: name of the study.
        snapshots: decisions are active sessions of consolidation patterns, whose start and activation the rows name;
            a month may have none.
    """
    pattern = {"pattern": pl.String, "pattern_start": pl.Date, "activation": pl.Date} if snapshots else {}
    return TableSchema(
        name=f"sequences_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "window_start": pl.Date,
            "n_valid": pl.Int32,
            **pattern,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
        },
        key=_PANEL_KEY,
        month_column="session",
        may_be_empty=snapshots,
        description=f"Windows of the study {study!r}: window_start is the session of the first of n_valid "
        "rows.",
    )


_DIRECTION: dict[str, Any] = dict.fromkeys(("p_sell", "p_hold", "p_buy", "score"), pl.Float64)


def prediction_table(
    study: str, values: Mapping[str, Any] | None = None, *, may_be_empty: bool = False
) -> TableSchema:
    """Table `predictions_<study>`: what is predicted for each decision and the evidence it carries.

    fold is the month key, model_run the MLflow run id, snapshot the lake snapshot that the model was trained on,
    certificate the digest of its row in `certificates_<study>`.

    Args:
        study: name of the study.
        values: columns that its task publishes, with their types; None takes those of a direction: p_sell, p_hold,
            p_buy and score = p_buy - p_sell.
        may_be_empty: whether a month may hold no decision, as one without an active pattern.
    """
    return TableSchema(
        name=f"predictions_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "decision_time": UTC_TIME,
            "knowledge_time": UTC_TIME,
            **(values or _DIRECTION),
            "fold": pl.String,
            "model_run": pl.String,
            "snapshot": pl.Int64,
            "certificate": pl.String,
        },
        key=_PANEL_KEY,
        month_column="session",
        may_be_empty=may_be_empty,
        description=f"Out-of-sample predictions of the study {study!r}, one walk-forward fold per month.",
    )


def member_table(study: str, values: Mapping[str, Any]) -> TableSchema:
    """Table `members_<study>`: what each member of the ensemble predicted by itself, baselines included."""
    return TableSchema(
        name=f"members_{study}",
        columns={
            "symbol": pl.String,
            "session": pl.Date,
            "fold": pl.String,
            "member": pl.String,
            **values,
        },
        key=(*_PANEL_KEY, "member"),
        month_column="session",
        may_be_empty=True,
        description=f"Out-of-sample predictions of every member of the study {study!r}.",
    )


def model_table(study: str) -> TableSchema:
    """Table `model_<study>`: one row per fold, saying what its model saw and where the files lie.

    fitted is the fold that was trained, an earlier one where models are not refitted every month; artifact is a path
    relative to the data set's state folder, artifact_sha256 the digest of that file, snapshot the lake snapshot the
    training set was read at, ledger_digest the digest of the fold's fit ledger. best_iteration and validation_loss are
    the first member's. only_symbols names those it was trained on, where the run asked for some only.
    """
    return TableSchema(
        name=f"model_{study}",
        columns={
            "fold": pl.String,
            "fitted": pl.String,
            "train_start": pl.Date,
            "train_end": pl.Date,
            "test_start": pl.Date,
            "test_end": pl.Date,
            "embargo": pl.Int32,
            "rows": pl.Int64,
            "sessions": pl.Int64,
            "symbols": pl.Int64,
            "size": pl.String,
            "parameters": pl.Int64,
            "train_seconds": pl.Float64,
            "best_iteration": pl.Int64,
            "validation_loss": pl.Float64,
            "snapshot": pl.Int64,
            "model_run": pl.String,
            "artifact": pl.String,
            "artifact_sha256": pl.String,
            "ledger_digest": pl.String,
            "only_symbols": pl.String,
            "epochs": pl.Int64,
        },
        key=("fold",),
        nullable=frozenset({"validation_loss"}),
        unversioned=frozenset({"train_seconds"}),
        description=f"Trained folds of the study {study!r}.",
    )


CROSS_VALIDATION_COLUMNS: Mapping[str, Any] = {
    "symbol": pl.String,
    "split": pl.Int32,
    "train_rows": pl.Int64,
    "last_label_end": pl.Date,
    "test_start": pl.Date,
    "test_end": pl.Date,
    "rows": pl.Int64,
    "auc": pl.Float64,
    "accuracy": pl.Float64,
    "majority": pl.Float64,
    "correlation": pl.Float64,
}


def cross_validation_table(study: str) -> TableSchema:
    """Table `cross_validation_<study>`: how each symbol did in gapped cross-validation within a fold's training rows.

    split counts from 0, the earliest; last_label_end is the last session that a label reads from which the split's
    model learned, before test_start. Empty in months that go on with an earlier fold's models.
    """
    return TableSchema(
        name=f"cross_validation_{study}",
        columns={"fold": pl.String, **CROSS_VALIDATION_COLUMNS},
        key=("fold", "symbol", "split"),
        nullable=frozenset({"auc", "accuracy", "majority", "correlation"}),
        may_be_empty=True,
        description=f"Gapped cross-validation by symbol of the study {study!r}, within training rows.",
    )


def champion_table(study: str) -> TableSchema:
    """Table `champion_<study>`: as of each month, the fold whose model serves, and how the last contest ended."""
    return TableSchema(
        name=f"champion_{study}",
        columns={
            "fold": pl.String,
            "champion": pl.String,
            "before": pl.String,
            "challenger": pl.String,
            "promoted": pl.Boolean,
            "metric": pl.String,
            "gain": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "sessions": pl.Int64,
            "rows": pl.Int64,
            "reason": pl.String,
        },
        key=("fold",),
        nullable=frozenset({"gain", "low", "high"}),
        description=f"Champions of the study {study!r}.",
    )


def certificate_table(study: str) -> TableSchema:
    """Table `certificates_<study>`: the evidence of each month of predictions, by digest.

    A month keeps the certificates of what was published for it before; `predictions_<study>.certificate` names the
    one in force. certificate is the canonical text that the digest is of, passed whether all audits on it passed.
    """
    return TableSchema(
        name=f"certificates_{study}",
        columns={
            "fold": pl.String,
            "digest": pl.String,
            "passed": pl.Boolean,
            "data_snapshot": pl.Int64,
            "training_snapshot": pl.Int64,
            "certificate": pl.String,
            "run_id": pl.String,
            "recorded_at": UTC_TIME,
        },
        key=("fold", "digest"),
        order=("fold", "recorded_at", "digest"),
        description=f"Certificates of the predictions of the study {study!r}.",
    )
