"""Targets: one declaration each, from which its table, its asset, its audit and its docs are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from trademl_pipeline.labels.horizon import Sessions
from trademl_pipeline.lake.schema import GatedTable
from trademl_pipeline.tables import label_table

Compute = Callable[[pl.DataFrame, Sessions], pl.DataFrame]


@dataclass(frozen=True)
class Target:
    """One target: what the models of a study learn to say.

    Attributes:
        name: of the target; its table is `labels_<name>`.
        title: one sentence for people.
        values: columns and their Polars types, in the table's order. `forward_return`, a log return, is always
            among them, so that a report can rank predictions of any target against one column.
        horizon: sessions that the longest label interval spans.
        lookback: sessions of bars that a label needs before its decision, warm-up included.
        compute: `compute(bars, sessions)`: symbol, session, label_start, label_end, last_price and the values,
            one row per symbol and session. Bars as for `features.compute`; sessions are the exchange's up to
            the end of the bars, None for those on which anything traded.
        column_docs: what each value is, with its unit.
        nullable: values that may be missing in a row.
        classes: for columns of classes, the name of each code, from the lowest.
        decisions: "sessions": every session has a label; "pattern_observations": active sessions of consolidation
            patterns.
        source: where the definition comes from.
    """

    name: str
    title: str
    values: Mapping[str, Any]
    horizon: int
    lookback: int
    compute: Compute
    column_docs: Mapping[str, str]
    nullable: frozenset[str] = frozenset()
    classes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    decisions: Literal["sessions", "pattern_observations"] = "sessions"
    source: str = ""

    def __post_init__(self) -> None:
        if self.values.get("forward_return") != pl.Float64:
            raise ValueError(
                f"target {self.name}: values lack forward_return (Float64), against which reports rank"
            )
        if self.horizon < 1 or self.lookback < 0:
            raise ValueError(
                f"target {self.name}: horizon is {self.horizon} and lookback {self.lookback}; a label looks at least "
                "1 session ahead and 0 back"
            )
        for what, names in (
            ("column_docs", self.column_docs),
            ("nullable", self.nullable),
            ("classes", self.classes),
        ):
            unknown = sorted(set(names) - set(self.values))
            if unknown:
                raise ValueError(
                    f"target {self.name}: {what} names {', '.join(unknown)}, not among its values"
                )
        silent = sorted(set(self.values) - set(self.column_docs))
        if silent:
            raise ValueError(f"target {self.name}: describe {', '.join(silent)}: what it is, and its unit")

    @property
    def table(self) -> GatedTable:
        """Its table in the lake."""
        return label_table(self.name, self.values, nullable=self.nullable, description=f"{self.title}.")
