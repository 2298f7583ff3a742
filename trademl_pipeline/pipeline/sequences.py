"""Input windows of a study: which rows of the feature table each decision sees."""

from typing import Any

import polars as pl

from trademl_pipeline.lake.view import LakeReader
from trademl_pipeline.leakage import AuditReport, audit_features, audit_knowledge
from trademl_pipeline.market.calendar import month_key, month_sessions, sessions_before
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.history import read_months
from trademl_pipeline.pipeline.lookback import SAME_MONTH, sessions_back
from trademl_pipeline.pipeline.stage import Inputs, Stage, of_the_month
from trademl_pipeline.sequences.month import CLOCKS, PATTERN_COLUMNS, sequence_month
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import PATTERNS, UNIVERSE_MEMBERS
from trademl_pipeline.tables.descriptions import KEY_COLUMNS

COLUMNS = {
    **KEY_COLUMNS,
    "session": "Session at whose close the decision is taken; the last of the window.",
    "window_start": "First session of the window.",
    "n_valid": "Rows in the window; fewer than its length only after a symbol's first row.",
    "pattern": "Pattern of the observation: <symbol>@<activation>.",
    "pattern_start": "First qualifying session of the pattern.",
    "activation": "Session from which on the pattern was active.",
}


def on_pattern_observations(study: StudySpec) -> bool:
    """Return whether a study decides on observations of consolidation patterns only, not on every session."""
    return study.decisions == "pattern_observations"


def window_inputs(store: LakeReader, study: StudySpec, month: str, calendar: str) -> Inputs:
    """Read what the month's windows are made of.

    Args:
        store: the lake.
        study: the study.
        month: month key.
        calendar: of the data set.

    Returns:
        `rows`, keys and clocks of the feature rows that windows may span; `members`, who belonged to the universe;
        `observations`, the month's pattern observations, if they decide.

    Raises:
        MissingMonthsError: one of the months is not published.
    """
    start = sessions_before(month, study.window - 1, calendar)
    reader = f"sequences_{study.name} {month[:7]}"
    columns = ("symbol", "session", *CLOCKS)
    rows = read_months(store, study.features, month_key(start), month, reader=reader, columns=columns)
    inputs = {
        "rows": rows.filter(pl.col("session") >= start),
        "members": read_months(store, UNIVERSE_MEMBERS, month, month, reader=reader),
    }
    if on_pattern_observations(study):
        inputs["observations"] = read_months(store, PATTERNS, month, month, reader=reader)
    return inputs


def windows_of_month(inputs: Inputs, study: StudySpec, month: str, calendar: str) -> pl.DataFrame:
    """Return the study's windows that end in the month.

    Args:
        inputs: as `window_inputs` reads them.
        study: the study.
        month: month key.
        calendar: of the data set.
    """
    return sequence_month(
        inputs["rows"],
        study.window,
        month,
        stride=study.stride,
        observations=inputs.get("observations"),
        members=inputs["members"],
        calendar=calendar,
    )


def audit_sequence_month(
    published: pl.DataFrame, inputs: Inputs, study: StudySpec, month: str, sample: Sample, calendar: str
) -> AuditReport:
    """Audit that no window moves when later rows are deleted, or spans anything known after the decision.

    Args:
        published: the month's windows.
        inputs: as `window_inputs` reads them.
        study: the study.
        month: month key.
        sample: how hard the gate looks.
        calendar: of the data set.
    """
    sessions = month_sessions(month, calendar)

    def on_every_session(month_windows: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        inside = rows.filter(pl.col("session").is_between(sessions[0], sessions[-1]))
        values = month_windows.drop("pattern", *CLOCKS, strict=False)
        return inside.select("symbol", "session").join(values, on=["symbol", "session"], how="left")

    def windows(rows: pl.DataFrame, **sources: pl.DataFrame) -> pl.DataFrame:
        return on_every_session(windows_of_month({"rows": rows, **sources}, study, month, calendar), rows)

    audited = audit_features(
        windows,
        inputs["rows"],
        sources={name: frame for name, frame in inputs.items() if name != "rows"},
        probes=("truncation",),
        cutoffs=sample.cutoffs,
        sessions=sessions,
        seed=sample.seed_of(study.windows.name, month),
        published=on_every_session(published, inputs["rows"]),
    )
    if published.is_empty():
        return audited + AuditReport((), {"knowledge": {"rows": 0, "note": "no decision in the month"}})
    return audited + audit_knowledge(published)


def full_share(study: StudySpec, frame: pl.DataFrame) -> dict[str, Any]:
    """Return the share of the windows that are not padded."""
    full = float((frame["n_valid"] == study.window).sum()) / max(frame.height, 1)
    return {"full_windows_share": full}


def sequence_stage(study: StudySpec, calendar: str) -> Stage:
    """Return a study's windows as a stage."""
    schema, upstream, on_observations = study.windows, study.features.name, on_pattern_observations(study)
    named = {"pattern": "pattern", "pattern_start": "start", "activation": "activation"}
    lineage = {
        **{c: [(upstream, c)] for c in ("symbol", "session", *CLOCKS)},
        **{c: [(upstream, "session")] for c in ("window_start", "n_valid")},
        **({c: [(PATTERNS.name, named[c])] for c in PATTERN_COLUMNS} if on_observations else {}),
    }
    reads = {upstream: sessions_back(study.window - 1), UNIVERSE_MEMBERS.name: SAME_MONTH}
    if on_observations:
        reads[PATTERNS.name] = SAME_MONTH
    stride = study.stride
    decisions = "observation of a consolidation pattern" if on_observations else "decision"
    every = f", every {stride} sessions" if stride > 1 else ""
    return Stage(
        schema=schema,
        description=f"{study.title}: the window of up to {study.window} sessions behind every {decisions}{every}."
        f"\n\nAn index into `{upstream}`, not a copy of it; windows are padded only before a symbol's first row.",
        group="sequences",
        reads=reads,
        read=lambda store, month: window_inputs(store, study, month, calendar),
        compute=lambda inputs, month: windows_of_month(inputs, study, month, calendar),
        audit=lambda written, inputs, month, sample: audit_sequence_month(
            written, inputs, study, month, sample, calendar
        ),
        figures=of_the_month(lambda frame: full_share(study, frame)),
        lineage=lineage,
        columns={c: text for c, text in COLUMNS.items() if c in schema.columns},
        study=study.name,
    )
