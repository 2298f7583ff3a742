"""Targets, one table per target; a label is filed under the month in which it became known."""

from typing import Any

import polars as pl

from trademl_pipeline.labels import Target
from trademl_pipeline.labels.month import bars_start, by_known_session, label_month
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.leakage.probes.published import audit_published
from trademl_pipeline.market.calendar import month_sessions
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.inputs import bars_from
from trademl_pipeline.pipeline.lookback import sessions_back
from trademl_pipeline.pipeline.stage import Stage, of_the_month

BAR_COLUMNS = ("open", "high", "low", "close", "volume", "split_factor", "dividend")

COLUMNS = {
    "symbol": "Name of the instrument.",
    "session": "Session at whose close the decision is taken.",
    "label_start": "Session after which the label's interval begins; = session.",
    "label_end": "Last session whose prices the label reads.",
    "horizon": "Sessions that the longest interval of the target spans.",
    "last_price": "The symbol did not trade at label_end: its last price stands in.",
    "knowledge_time": "First moment at which the label could be known.",
}


def audit_label_month(
    published: pl.DataFrame, bars: pl.DataFrame, target: Target, month: str, sample: Sample, calendar: str
) -> AuditReport:
    """Audit that no label moves when what came after its label_end is deleted, and that its clock is right.

    Args:
        published: the month's labels.
        bars: that they were made of.
        target: which labels.
        month: month key.
        sample: how hard the gate looks.
        calendar: of the data set.
    """
    sessions = month_sessions(month, calendar)

    def known(frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame.filter(pl.col("session").is_between(sessions[0], sessions[-1]))
        return by_known_session(label_month(frame, target, month), target, rows)

    audited = audit_features(
        known,
        bars,
        probes=("truncation",),
        cutoffs=sample.cutoffs,
        sessions=sessions,
        seed=sample.seed_of(target.table.name, month),
    ) + audit_published(published, label_month(bars, target, month))
    if published.is_empty():
        # The first months of a history, or no pattern that ended: there is no clock to look at.
        return audited + AuditReport((), {"knowledge": {"rows": 0, "note": "no label became known"}})
    # The clock: a label is not known before its last session has closed.
    closes = bars.group_by(pl.col("session").alias("label_end")).agg(pl.col("event_time").max())
    clock = published.join(closes, on="label_end", how="left")
    return audited + audit_knowledge(clock, decision_time="knowledge_time", knowledge_time="event_time")


def class_shares(target: Target, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the share of every class among the labels that have one."""
    shares: dict[str, Any] = {}
    for column, names in target.classes.items():
        present = frame[column].drop_nulls()
        prefix = "share" if column == "target" else f"share_{column}"
        for code, name in names.items():
            slug = name.lower().replace(" ", "_")
            shares[f"{prefix}_{slug}"] = float((present == code).sum()) / max(len(present), 1)
    return shares


def label_stage(target: Target, calendar: str) -> Stage:
    """Return one target as a stage."""
    lineage = {
        "symbol": [("raw_bars", "symbol")],
        **{c: [("raw_bars", "session")] for c in ("session", "label_start", "label_end", "last_price")},
        **{c: [("raw_bars", column) for column in BAR_COLUMNS] for c in target.values},
        "knowledge_time": [("raw_bars", "knowledge_time")],
    }
    where = "Pattern observations only. " if target.decisions == "pattern_observations" else ""
    return Stage(
        schema=target.table,
        description=f"{target.title}.\n\n{where}A label reads up to {target.horizon} sessions ahead. It is filed "
        "under the month of its last session, in which it became known, so no partition needs a later month. "
        f"Definition: {target.source}.",
        group="labels",
        reads={"raw_bars": sessions_back(target.lookback + target.horizon)},
        read=lambda store, month: {
            "bars": bars_from(store, bars_start(target, month, calendar), month, reader=target.table.name)
        },
        compute=lambda inputs, month: label_month(inputs["bars"], target, month),
        audit=lambda written, inputs, month, sample: audit_label_month(
            written, inputs["bars"], target, month, sample, calendar
        ),
        figures=of_the_month(lambda frame: class_shares(target, frame)),
        lineage=lineage,
        columns={**COLUMNS, **target.column_docs},
    )
