"""The gate's ledger, read for people: which month passed what, what was refused and whether it has healed."""

import json
from dataclasses import dataclass

import polars as pl

from trademl_pipeline.leakage.evidence import coverage_totals, coverage_words
from trademl_pipeline.leakage.suspicion import suspicions_in

PROBES = {
    "truncation": ("T", "values stay when everything later is deleted"),
    "perturbation": ("P", "values stay when everything later is corrupted"),
    "adjustment": ("A", "a later split does not rescale the past"),
    "incremental": ("B", "a month computed alone equals itself"),
    "knowledge": ("K", "no input becomes known after its decision"),
    "vintage": ("V", "members and restatements as known at the time"),
    "folds": ("L", "training labels end, with the embargo, before the test"),
    "fit_ledger": ("F", "every fitted object saw training rows only"),
    "access": ("R", "test rows are read once, after all is fitted"),
    "model": ("M", "padding, other rows and later steps do not move outputs"),
    "execution": ("X", "fills after orders, at prices to be had, in an account that adds up"),
    "plausibility": ("C", "no column knows more of the next return than honest features (warns)"),
    "statistics": ("S", "scores stay below what only a leak explains"),
}

SUSPICIONS = {"table_name": pl.String, "month": pl.String, "words": pl.String}
_LATEST = ("table_name", "month")


@dataclass(frozen=True)
class GateResults:
    """The gate's record for the months of a report.

    Attributes:
        cells: table_name, month, probe, passed, refused (number of violations), tested (text): the latest
            audit of each table and month.
        refusals: table_name, month, probe, detail, column, symbol, first_leak, max_delta, standing (not
            healed by a later audit of the table, month and probe), newest first.
        coverage: probe, months (audited), passed, refused (months), tested (text): summed over tables and
            months.
        suspicions: table_name, month, words: columns that know more of the next return than is plausible, by the
            latest audit of each month; nothing was refused for them.
    """

    cells: pl.DataFrame
    refusals: pl.DataFrame
    coverage: pl.DataFrame
    suspicions: pl.DataFrame

    @property
    def latest_refusals(self) -> list[tuple[str, str]]:
        """(table, month) that the latest audit refused, sorted."""
        return sorted(self.cells.filter(~pl.col("passed")).select("table_name", "month").unique().rows())


def gate_results(audits: pl.DataFrame | None) -> GateResults:
    """Read the rows of the lake's `audits` table that belong to a report.

    Args:
        audits: rows of the table; None or no row where the gate has recorded nothing.
    """
    if audits is None or audits.is_empty():
        none = pl.DataFrame
        return GateResults(
            none(schema=["table_name", "month", "probe", "passed", "refused", "tested"]).cast(
                {"passed": pl.Boolean}
            ),
            none(schema=["table_name", "month", "probe", "detail", "standing"]),
            none(schema=["probe", "months", "passed", "refused", "tested"]),
            none(schema=SUSPICIONS),
        )
    known = [c for c in ("column", "symbol", "first_leak", "max_delta") if c in audits.columns]
    newest = pl.col("recorded_at") == pl.col("recorded_at").max().over(*_LATEST, "probe")
    marked = audits.with_columns(standing=newest)
    latest = marked.filter("standing")
    cells = (
        latest.group_by(*_LATEST, "probe")
        .agg(
            pl.col("passed").all(),
            (~pl.col("passed")).sum().alias("refused"),
            pl.col("coverage").first(),
        )
        .sort("month", "table_name", "probe")
    )
    order = {probe: i for i, probe in enumerate(PROBES)}
    coverage = pl.DataFrame(
        [
            {
                "probe": probe,
                "months": probe_cells["month"].n_unique(),
                "passed": int(probe_cells.group_by("month").agg(pl.col("passed").all())["passed"].sum()),
                "refused": int((~probe_cells.group_by("month").agg(pl.col("passed").all())["passed"]).sum()),
                "tested": coverage_text(probe_cells["coverage"].to_list()),
            }
            for (probe,), probe_cells in cells.group_by("probe", maintain_order=True)
        ]
    ).sort(pl.col("probe").replace_strict(order, default=len(order)))
    refusals = (
        marked.filter(~pl.col("passed"))
        .sort("recorded_at", "table_name", "month", "probe", descending=True)
        .select(*_LATEST, "probe", "detail", *known, "standing")
    )
    suspicions = [
        (table, month, suspicion.words)
        for table, month, text in cells.select("table_name", "month", "coverage").iter_rows()
        for suspicion in suspicions_in(json.loads(text or "{}"))
    ]
    texts = [coverage_text([c]) for c in cells["coverage"]]
    return GateResults(
        cells.drop("coverage").with_columns(pl.Series("tested", texts, dtype=pl.String)),
        refusals,
        coverage,
        pl.DataFrame(suspicions, schema=SUSPICIONS, orient="row"),
    )


def coverage_text(coverages: list[str]) -> str:
    """Add up what probes tested over their JSON coverages: "210 cutoffs, 36,000 cells"."""
    return coverage_words(coverage_totals(coverages))
