"""The ledger of looks at outcomes: what was scored against the outcomes of test months, by whom, on which rows.

A report, the choice of a champion and a cross-validation write down what they have scored before they tell its figures.
The ledger only grows, and is kept by the table of labels: other models, seeds, settings and studies that are judged by
the same outcomes are tries of the same. Predictions that the gate refuses are scored by nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import polars as pl

from trademl_pipeline.certificates.certificate import Certificate, CertificateError, KnownTries
from trademl_pipeline.evaluation.tries import (
    CHAMPION,
    CROSS_VALIDATION,
    ESTIMATOR,
    REPORT,
    Look,
    SessionRows,
    Tries,
    count,
    on_the_rows_of,
    packed,
    session_rows,
    unpacked,
)
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.schema import MONTH, UTC_TIME
from trademl_pipeline.market.calendar import month_key
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST
from trademl_pipeline.pipeline.months import RunInfo
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import TRIES, certificate_table
from trademl_pipeline.training.trials import TrialLedger

KEY = ["symbol", "session"]
# The first format of certificates that tells of tries: of months with older ones, earlier looks are not on record.
COUNTED_SINCE = 3


@dataclass(frozen=True)
class OnRecord:
    """The rows of the ledger at some outcomes.

    Attributes:
        scored_sets: in the order in which they were written down.
        rows: of the whole ledger.
        gaps: numbers that are missing in the whole ledger.
    """

    scored_sets: tuple[Look, ...]
    rows: int
    gaps: int


def ledger_of(store: Lake) -> pl.DataFrame:
    """Return the rows of the ledger of looks; none where nothing was looked at yet."""
    try:
        return store.read(TRIES)
    except MissingTableError:
        return TRIES.empty()


def scored_on_record(store: Lake, outcomes: str) -> OnRecord:
    """Return the looks at some outcomes.

    Args:
        store: the lake.
        outcomes: table of the labels.
    """
    ledger = ledger_of(store)
    rows = ledger.height
    last = int(ledger["number"].max() or 0)  # pyright: ignore[reportArgumentType]
    scored_sets: list[Look] = []
    mine = ledger.filter(pl.col("outcomes") == outcomes)
    for _, months in mine.group_by("study", "purpose", "look", "within", maintain_order=True):
        first = months.row(0, named=True)
        seen: dict[Any, SessionRows] = {}
        for text in months["looked_at"]:
            seen |= unpacked(text)
        runs = frozenset(run for text in months["runs"] for run in text.split())
        scored_sets.append(
            Look(
                first["study"],
                first["purpose"],
                first["model"],
                seen,
                settings=first["settings"],
                within=first["within"],
                runs=runs,
            )
        )
    return OnRecord(tuple(scored_sets), rows, last - rows)


def listed_on_record(store: Lake, outcomes: str) -> pl.DataFrame:
    """Return one row for each look at some outcomes, in the order in which they were written down.

    Args:
        store: the lake.
        outcomes: table of the labels.
    """
    identity = ["study", "purpose", "model", "setup", "settings", "look", "within"]
    return (
        ledger_of(store)
        .filter(pl.col("outcomes") == outcomes)
        .group_by(identity, maintain_order=True)
        .agg(
            pl.col("number", "as_of", "run_id", "recorded_at").first(),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("rows").sum(),
            pl.col("symbols").max(),
        )
    )


def record_scored(
    store: Lake, study: StudySpec, run: RunInfo, as_of: str, scored_sets: Sequence[Look]
) -> None:
    """Write down what was scored; what stands there already is not written again.

    Args:
        store: the lake.
        study: that looked.
        run: that looked.
        as_of: month by which outcomes were known.
        scored_sets: what was scored.
    """
    identity = ["outcomes", "study", "purpose", "look", "within"]
    with store.merging(TRIES, FROM_THE_FIRST):
        ledger = ledger_of(store)
        known = set(ledger.select(identity).unique().rows())
        rows: list[dict[str, Any]] = []
        for look in scored_sets:
            key = (study.labels.name, look.study, look.purpose, look.digest, look.within)
            if key not in known:
                known.add(key)
                rows += [dict(zip(identity, key, strict=True)) | month for month in _by_month(look, study)]
        if not rows:
            return
        number = int(ledger["number"].max() or 0)  # pyright: ignore[reportArgumentType]
        frame = pl.DataFrame(rows).with_columns(
            pl.int_range(number + 1, number + 1 + len(rows), dtype=pl.Int64).alias("number"),
            pl.lit(as_of).alias("as_of"),
            pl.lit(run.run_id).alias("run_id"),
            pl.lit(run.recorded_at).cast(UTC_TIME).alias("recorded_at"),
        )
        store.append(TRIES, frame.select(list(TRIES.columns)).cast(cast(Any, TRIES.polars_schema)))


def _by_month(look: Look, study: StudySpec) -> list[dict[str, Any]]:
    months: dict[str, dict[Any, SessionRows]] = {}
    for session, rows in sorted(look.rows.items()):
        months.setdefault(month_key(session), {})[session] = rows
    return [
        {
            MONTH: month,
            "model": look.model,
            "setup": look.setup or f"seed {study.seed}",
            "settings": look.settings,
            "runs": " ".join(sorted(look.runs)),
            "rows": sum(len(one.symbols) for one in rows.values()),
            "symbols": len({symbol for one in rows.values() for symbol in one.symbols}),
            "first": min(rows),
            "last": max(rows),
            "looked_at": packed(rows),
        }
        for month, rows in months.items()
    ]


def report_scored(study: StudySpec, inputs: Any, config: Any) -> list[Look]:
    """Return what a report scores: the predictions, judged by a portfolio, and those of every estimator beside.

    Args:
        study: the study.
        inputs, config: of the report.
    """
    values = list(study.task.output_schema)
    portfolio = {**asdict(config.portfolio_config), "confidence": config.confidence_threshold}
    evaluated = Look(
        study.name,
        REPORT,
        "the study",
        session_rows(inputs.predictions.select(*KEY, *values)),
        settings=json.dumps(portfolio, sort_keys=True, default=str),
        runs=frozenset(inputs.predictions["model_run"].unique()),
        setup=setup_of(study, inputs.folds),
    )
    beside = [
        replace(
            evaluated,
            purpose=ESTIMATOR,
            model=str(name),
            rows=session_rows(rows.select(*KEY, *values)),
            settings="",
            within=evaluated.digest,
        )
        for (name,), rows in inputs.estimator_predictions.group_by("member", maintain_order=True)
    ]
    return [evaluated, *beside]


def setup_of(study: StudySpec, models: pl.DataFrame) -> str:
    """Return with which presets and seed models were trained, in words.

    Args:
        study: the study.
        models: rows of the model table.
    """
    trained = models.select("size", "epochs", "only_symbols").unique().sort("size", "epochs", "only_symbols")
    presets = [
        f"preset {size}{f', {epochs} epochs' if epochs else ''}{f', only {only}' if only else ''}"
        for size, epochs, only in trained.iter_rows()
    ]
    return "; ".join([*presets, f"seed {study.seed}"])


def champion_scored(study: StudySpec, fold: str, scored: pl.DataFrame, models: pl.DataFrame) -> Look:
    """Return the look at what the model of a fold says of the decisions of a candidate period.

    Args:
        study: the study.
        fold: month key of the model.
        scored: symbol, session and what the model says.
        models: the fold's row of the model table.
    """
    return _by_models(study, CHAMPION, f"models of {fold[:7]}", scored, models)


def cross_validation_scored(study: StudySpec, scored: pl.DataFrame, models: pl.DataFrame) -> Look:
    """Return the look of a fold's cross-validation at rows of its training set, test rows of earlier months among them.

    Args:
        study: the study.
        scored: symbol, session and how the symbol's split was scored.
        models: the fold's row of the model table.
    """
    name = f"{study.training.base_learners[0].name}, splits of {models['fold'][0][:7]}"
    return _by_models(study, CROSS_VALIDATION, name, scored, models)


def _by_models(study: StudySpec, purpose: str, name: str, scored: pl.DataFrame, models: pl.DataFrame) -> Look:
    return Look(
        study.name,
        purpose,
        name,
        session_rows(scored),
        runs=frozenset(models["model_run"]),
        setup=setup_of(study, models),
    )


def tries_of(
    store: Lake, artifacts: Artifacts, study: StudySpec, scored_sets: Sequence[Look], months: Iterable[str]
) -> Tries:
    """Count the tries of a report's rows, its own looks included, whether they are on record already or not.

    Args:
        store: the lake.
        artifacts: the files of the data set, the ledger of searches among them.
        study: the study.
        scored_sets: of the report, the judged one first.
        months: of its predictions.
    """
    record = scored_on_record(store, study.labels.name)
    counted = count([*on_the_rows_of(record.scored_sets, scored_sets[0]), *scored_sets], scored_sets[0])
    return _told(store, artifacts, study, counted, record, months)


def tries_on_record(store: Lake, artifacts: Artifacts, study: StudySpec, months: tuple[str, str]) -> Tries:
    """Count the tries of the rows that a study has predicted, as its last report would.

    Args:
        store: the lake.
        artifacts: the files of the data set.
        study: the study.
        months: first and last month of the predictions.
    """
    predictions = store.read(study.predictions, months=months, columns=[*KEY, "fold"])
    record = scored_on_record(store, study.labels.name)
    counted = _counted(record, study, predictions)
    return _told(store, artifacts, study, counted, record, predictions["fold"].unique())


def known_tries(store: Lake, study: StudySpec, predictions: pl.DataFrame) -> KnownTries:
    """Return the looks at the outcomes of some rows that are on record, for their certificate.

    Args:
        store: the lake.
        study: the study.
        predictions: symbol and session of the rows.
    """
    record = scored_on_record(store, study.labels.name)
    counted = _counted(record, study, predictions)
    return KnownTries(counted.tries, counted.scored, record.rows)


def _counted(record: OnRecord, study: StudySpec, predictions: pl.DataFrame) -> Tries:
    """The tries of some rows, of which the study's last report tells which are its own."""
    rows = Look(study.name, REPORT, "", session_rows(predictions.select(KEY)))
    scored_sets = on_the_rows_of(record.scored_sets, rows)
    own = [look for look in scored_sets if (look.study, look.purpose) == (study.name, REPORT)]
    return count(scored_sets, own[-1] if own else None)


def _told(
    store: Lake,
    artifacts: Artifacts,
    study: StudySpec,
    counted: Tries,
    record: OnRecord,
    months: Iterable[str],
) -> Tries:
    """The count with what searches tried, and with what is not on record."""
    searches = TrialLedger(artifacts.trials).to_frame()
    searches = searches.filter(pl.col("study").str.starts_with(f"{study.training.task}/"))
    searched = searches.select("study", "fold", "params").n_unique()
    missing = missing_records(store, study.name, sorted(set(months)), record)
    return replace(counted, searched=searched, complete=not missing, missing="; ".join(missing))


def missing_records(store: Lake, study: str, months: Sequence[str], record: OnRecord) -> list[str]:
    """Return why looks at the outcomes of some months may be missing, in words; nothing where none can be.

    Args:
        store: the lake.
        study: name of the study.
        months: of its predictions.
        record: what the ledger holds.
    """
    why: list[str] = []
    if not months:
        return why
    try:
        stored = store.read(certificate_table(study), months=list(months), columns=["fold", "certificate"])
    except MissingTableError:
        stored = certificate_table(study).empty().select("fold", "certificate")
    formats: dict[str, int] = {}
    recorded = 0
    unread: set[str] = set()
    for fold, text in stored.iter_rows():
        try:
            certified = Certificate.from_json(text)
        except CertificateError:
            unread.add(fold[:7])
            continue
        formats[fold] = min(certified.format, formats.get(fold, COUNTED_SINCE))
        recorded = max(recorded, certified.tries.recorded if certified.tries else 0)
    if unread:
        why.append(f"a certificate of {', '.join(sorted(unread))} cannot be read (trademl verify tells more)")
    older = [m for m in months if m[:7] not in unread and formats.get(m, 0) < COUNTED_SINCE]
    if older:
        span = older[0][:7] if len(older) == 1 else f"{older[0][:7]} to {older[-1][:7]}"
        why.append(f"predictions of {span} were published before looks at outcomes were counted")
    gone = max(record.gaps, recorded - record.rows, _appended(store) - record.rows)
    if gone > 0:
        why.append(f"{gone} rows were taken from the ledger of looks (tries)")
    return why


def _appended(store: Lake) -> int:
    """Rows that the ledger gained by the commits that the lake can still tell of."""
    details = [json.loads(text) for text in store.snapshots()["detail"].drop_nulls()]
    return sum(one["rows"] for detail in details for one in detail if one.get("table") == TRIES.name)
