"""The audit ledger, folded: which probes passed for which months of a table, and what they tested."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from trademl_pipeline.leakage.report import AuditReport

# Numbers in a coverage that say how a probe was set, and that nothing is gained by adding up.
SETTINGS = frozenset(
    ("rtol", "atol", "seed", "tolerance", "warmup", "embargo", "groups", "window", "length", "ceiling")
)
KEY = ("table_name", "month", "probe")


@dataclass(frozen=True)
class Evidence:
    """The evidence of one probe about one table.

    Attributes:
        table: name of the table.
        probe: name of the probe.
        months: number of months audited, each by its latest audit.
        first, last: month keys.
        passed: months that passed.
        coverage: what was tested, added up over the months (cut-offs, cells, rows, …).
    """

    table: str
    probe: str
    months: int
    first: str
    last: str
    passed: int
    coverage: dict[str, int | float] = field(default_factory=dict[str, int | float])


def latest_audits(audits: pl.DataFrame) -> pl.DataFrame:
    """Rows of the lake's `audits` table that no later audit of the same table, month and probe has replaced."""
    return audits.filter(pl.col("recorded_at") == pl.col("recorded_at").max().over(*KEY))


def evidence_of(audits: pl.DataFrame) -> tuple[Evidence, ...]:
    """The latest audits, one item a table and probe, in the order of their names."""
    items: list[Evidence] = []
    for (table, probe), rows in (
        latest_audits(audits).sort(*KEY).group_by("table_name", "probe", maintain_order=True)
    ):
        months = rows.group_by("month", maintain_order=True).agg(
            pl.col("passed").all(), pl.col("coverage").first()
        )
        items.append(
            Evidence(
                str(table),
                str(probe),
                months.height,
                months["month"][0],
                months["month"][-1],
                int(months["passed"].sum()),
                coverage_totals(months["coverage"].to_list()),
            )
        )
    return tuple(sorted(items, key=lambda e: (e.table, e.probe)))


def evidence_in(report: AuditReport, table: str, month: str) -> tuple[Evidence, ...]:
    """The probes of one month's report that ran, as evidence of that month."""
    refused = {v.probe for v in report.violations}
    return tuple(
        Evidence(
            table,
            probe,
            1,
            month,
            month,
            int(probe not in refused),
            coverage_totals([json.dumps(report.coverage[probe], default=str)]),
        )
        for probe in sorted(report.tested)
    )


def coverage_totals(coverages: Iterable[str | None]) -> dict[str, int | float]:
    """Numbers of JSON coverages, added up by name; `skipped` counts the parts that were not run."""
    totals: dict[str, int | float] = {}
    for text in coverages:
        for part in _parts(json.loads(text) if text else {}):
            if "skipped" in part:
                totals["skipped"] = totals.get("skipped", 0) + 1
            for key, value in part.items():
                if key in SETTINGS or isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                totals[key] = totals.get(key, 0) + value
    return totals


def coverage_words(totals: Mapping[str, int | float]) -> str:
    """Numbers of `coverage_totals` for people: "210 cutoffs, 36,000 cells"."""
    words = [f"{v:,.0f} {k.replace('_', ' ')}" for k, v in totals.items() if v and k != "skipped"]
    if totals.get("skipped"):
        words.append(f"{totals['skipped']:,} skipped")
    return ", ".join(words) or "not stated"


def _parts(coverage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "parts" in coverage:
        return [p for part in coverage["parts"] for p in _parts(part)]
    return [coverage]
