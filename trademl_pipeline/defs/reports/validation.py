"""How good the predictions are, for a person who must decide: verdict first, beside baselines and intervals.

As of month M a study's report covers every prediction up to M whose outcome is known by then. It writes `report.html`,
`report.md` and `summary.json` to the data set's folder `reports/<study>/<month>/`; `validation_report` compares the
studies that have one, in `reports/comparison/<month>/`. A year of 60 symbols takes a few seconds.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline import settings
from trademl_pipeline.certificates.info_sheet import info_sheet
from trademl_pipeline.certificates.stored import certificate_in_force
from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.calendars import calendar_of
from trademl_pipeline.defs.figures import bars_figure
from trademl_pipeline.defs.gate import run_time
from trademl_pipeline.defs.metadata import OWNERS
from trademl_pipeline.defs.models.fold import FROM_THE_FIRST
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, same_month, until
from trademl_pipeline.defs.predictions.predictions import attention_file
from trademl_pipeline.defs.resources import (
    ArtifactsResource,
    LakeResource,
    TrackingResource,
    home,
)
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage.nightly import history_of, last_night
from trademl_pipeline.market.calendar import month_bounds, month_sessions, offset_month
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.pipeline.costs import costs_of
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.planted_labels import CHANCES
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import AUDITS, RAW_BARS
from trademl_pipeline.training.dataset import settled_by
from trademl_pipeline.training.study import CARD, TIMES
from trademl_pipeline.training.trials import TrialLedger

# Bars before the first prediction, from which baselines of volatility warm up.
MONTHS_BEFORE = 6
KEY = ["symbol", "session"]
COMPARISON = "comparison"

INFO_SHEET = "info_sheet.md"


def importances(models: pl.DataFrame) -> pl.DataFrame:
    """Share of gain of every feature in every fold, from the files that the models left."""
    rows: list[tuple[str, str, float]] = []
    for fold, artifact in models.select("fold", "artifact").iter_rows():
        path = (home() / artifact).parent.parent / "importance.json"
        rows += [(fold, name, share) for name, share in json.loads(path.read_text()).items()]
    return pl.DataFrame(
        rows, schema={"fold": pl.String, "feature": pl.String, "importance": pl.Float64}, orient="row"
    )


def training_costs(models: pl.DataFrame) -> pl.DataFrame:
    """Parameters and seconds of every member in every fold that was trained."""
    rows: list[tuple[str, str, int, float]] = []
    for fold, artifact in (
        models.filter(pl.col("fold") == pl.col("fitted")).select("fold", "artifact").iter_rows()
    ):
        folder = (home() / artifact).parent
        members = json.loads((folder / CARD).read_text())["members"]
        seconds = json.loads((folder / TIMES).read_text())
        rows += [(fold, name, int(m["parameters"]), float(seconds[name])) for name, m in members.items()]
    schema = {"fold": pl.String, "member": pl.String, "parameters": pl.Int64, "train_seconds": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_train_loss(models: pl.DataFrame) -> pl.DataFrame:
    """The folds with the first voter's training loss at the epoch that was kept; as they are where it has no epochs."""
    found: list[float | None] = []
    for artifact, best in models.select("artifact", "best_iteration").iter_rows():
        card = json.loads((home() / artifact).read_text())
        history = card["members"][card["voters"][0]]["history"]
        found.append(float(history[best]["train_loss"]) if 0 <= best < len(history) else None)
    if not any(loss is not None for loss in found):
        return models
    return models.with_columns(pl.Series("train_loss", found, dtype=pl.Float64))


def attention(study: StudySpec, models: pl.DataFrame) -> pl.DataFrame | None:
    """Where a network looked in the examples of each month; None where no member has attention."""
    kept = [attention_file(study, fold) for fold in models["fold"]]
    frames = [pl.read_parquet(path) for path in kept if path.exists()]
    return pl.concat(frames) if frames else None


def cross_validation(store: Lake, study: StudySpec, months: tuple[str, str]) -> pl.DataFrame | None:
    """Scores by symbol of the last fold that was cross-validated; None where none was."""
    if study.fit.cross_validate is None:
        return None
    try:
        made = store.read(study.cross_validation, months=months)
    except MissingTableError:
        return None
    return made.filter(pl.col("fold") == made["fold"].max()).drop("fold")


def report_inputs(store: Lake, study: StudySpec, month: str, source: BarSource, ran: str) -> Any:
    """Frames and settings of a study's report as of a month; None where the study has no prediction yet."""
    from trademl_pipeline.reports import ReportConfig, ReportInputs

    until_month = (FROM_THE_FIRST, month)
    try:
        predictions = store.read(study.predictions, months=until_month)
    except MissingTableError:
        return None
    if predictions.is_empty():
        return None
    first, last_month = str(predictions["fold"].min()), str(predictions["fold"].max())
    covered = (first, month)
    models = store.read(study.models, months=until_month)
    models = models.filter(pl.col("fold").is_in(predictions["fold"].unique().to_list()))
    shared = {RAW_BARS.name, study.features.name, study.labels.name}
    tables = [t for t in store.tables() if t in shared or t.endswith(f"_{study.name}")]
    audits = store.read(AUDITS).filter(pl.col("table_name").is_in(tables) & (pl.col("month") <= month))
    labels = settled_labels(store, study, covered)
    before = offset_month(first, -MONTHS_BEFORE)
    simulated = isinstance(source, SimulatedMarket)
    # The oracle is asked with the whole history.
    bars = store.read(RAW_BARS, months=until_month if simulated else (before, month))
    oracle = None
    if simulated:
        asked = predictions.select(KEY).join(labels, on=KEY, how="semi", maintain_order="left")
        oracle = oracle_of(source, study, asked, bars)
        bars = bars.filter(pl.col("session") >= month_bounds(before)[0])
    inputs = ReportInputs(
        predictions,
        labels,
        bars,
        audits=audits,
        importances=importances(models),
        folds=with_train_loss(models),
        oracle=oracle,
        members=store.read(study.members, months=covered),
        training=training_costs(models),
        attention=attention(study, models),
        sequences=store.read(study.windows, months=covered),
        cross_validation=cross_validation(store, study, until_month),
        metadata={
            "source of bars": source.name,
            "feature set": study.feature_set,
            "window": f"{study.window} sessions",
            "target": TARGETS[study.target].title,
            "models": ", ".join(f"{m.name} ({m.kind})" for m in study.fit.members),
            "lake snapshot": store.snapshot(),
            "last nightly audit": last_night(history_of(store)),
            "certificate": certificate_in_force(store, study.name, last_month).digest,
            "model info sheet": Path(INFO_SHEET),
            "made by run": ran,
        },
    )
    tried = TrialLedger(home() / "trials.jsonl").to_frame()["study"].str.starts_with(f"{study.fit.task}/")
    config = ReportConfig(
        study.name,
        study.title,
        horizon=study.horizon,
        seed=study.seed,
        task=study.fit.task,
        simulated=simulated,
        portfolio=study.book,
        costs=costs_of(settings.current()),
        calendar=calendar_of(study),
        trials=len(study.fit.members) + int(tried.sum()),
    )
    return inputs, config


def oracle_of(
    market: SimulatedMarket, study: StudySpec, keys: pl.DataFrame, bars: pl.DataFrame
) -> pl.DataFrame | None:
    """What the best forecaster of a simulated market would have said; None where nothing can be asked.

    Args:
        market: the market.
        study: the study.
        keys: symbol and session of decisions.
        bars: bars of the whole history that the study read.
    """
    said = market.oracle(study.horizon) if study.decisions == "sessions" else None
    chances = CHANCES.get(study.target)
    if chances is None or keys.is_empty():
        return said
    told = chances(market, bars, keys)
    return told if said is None else said.join(told, on=KEY, how="left", maintain_order="left")


def settled_labels(store: Lake, study: StudySpec, months: tuple[str, str]) -> pl.DataFrame:
    """Labels of decisions whose whole horizon has passed: those that are decided early would be no fair sample."""
    calendar = calendar_of(study)
    last = settled_by(month_sessions(months[1], calendar)[-1], study.settled_after, calendar)
    return store.read(study.labels, months=months).filter(pl.col("session") <= last)


def settled(inputs: Any, config: Any) -> bool:
    """Whether any prediction has an outcome by which it can be judged."""
    key = ["symbol", "session"]
    known = inputs.outcomes.filter(pl.col(config.kind.outcome).is_not_null())
    return not inputs.predictions.join(known, on=key, how="semi").is_empty()


def report_assets(study: StudySpec) -> list[dg.AssetsDefinition]:
    """The report of one study."""

    @dg.asset(
        name=f"report_{study.name}",
        description=f"{study.title}: the validation report.\n\n{__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(study.predictions.name, partition_mapping=until()),
            dg.AssetDep(study.labels.name, partition_mapping=until()),
        ],
        group_name="reports",
        kinds={"plotly", "html", "mlflow"},
        owners=OWNERS,
        tags={"study": study.name},
    )
    def report(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        bars: BarsResource,
        artifacts: ArtifactsResource,
        tracking: TrackingResource,
    ) -> dg.MaterializeResult:
        from trademl_pipeline.reports import build_report

        store, month = lake.open(), context.partition_key
        made = report_inputs(store, study, month, bars.open(), context.run.run_id)
        if made is None:
            raise dg.Failure(
                f"{study.name} has no predictions up to {month[:7]}; materialize {study.predictions.name} for that "
                "month first"
            )
        if not settled(*made):
            told = f"no outcome is settled yet: it takes {study.settled_after} sessions from a decision to its outcome"
            context.log.warning(f"{study.name} as of {month[:7]}: {told}")
            return dg.MaterializeResult(metadata={"as_of": month[:7], "verdict": told})
        with tracking.run(f"report_{study.name}", month, {"study": study.name}) as run:
            paths, summary = _written(build_report(*made), artifacts.reports(study.name) / month[:7])
            certificate = certificate_in_force(store, study.name, str(made[0].predictions["fold"].max()))
            sheet = paths[0].with_name(INFO_SHEET)
            sheet.write_text(info_sheet(certificate, claim=study.title))
            paths.append(sheet)
            scores = _scores(summary)
            run.log_metrics(scores)
            run.log_params({"study": study.name, "as_of": month, "snapshot": store.snapshot()})
            for path in paths:
                run.log_artifact(path)
        html, markdown = paths[0], paths[1]
        return dg.MaterializeResult(
            metadata={
                "as_of": month[:7],
                "time": run_time(context).isoformat(timespec="seconds"),
                "verdict": summary["verdict"]["headline"],
                "report": dg.MetadataValue.path(str(html)),
                "mlflow_run": run.run_id,
                "rank IC by month": bars_figure(ic_by_month(*made), "rank IC"),
                "summary": dg.MetadataValue.md(markdown.read_text()[:20_000]),
                **scores,
            }
        )

    return [report]


def comparison_asset(studies: list[StudySpec]) -> dg.AssetsDefinition:
    """The studies side by side."""

    @dg.asset(
        description="Which study to trust how far: one table over all studies that have a report as of the month.",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[dg.AssetDep(f"report_{study.name}", partition_mapping=same_month()) for study in studies],
        group_name="reports",
        kinds={"plotly", "html"},
        owners=OWNERS,
    )
    def validation_report(
        context: dg.AssetExecutionContext, artifacts: ArtifactsResource
    ) -> dg.MaterializeResult:
        from trademl_pipeline.reports import build_comparison

        month = context.partition_key
        found = [artifacts.reports(study.name) / month[:7] / "summary.json" for study in studies]
        summaries = [json.loads(path.read_text()) for path in found if path.exists()]
        if not summaries:
            raise dg.Failure(
                f"no study has a report of {month[:7]}; materialize report_<study> for that month first"
            )
        paths, _ = _written(build_comparison(summaries), artifacts.reports(COMPARISON) / month[:7])
        return dg.MaterializeResult(
            metadata={
                "studies": len(summaries),
                "report": dg.MetadataValue.path(str(paths[0])),
                "summary": dg.MetadataValue.md(paths[1].read_text()[:20_000]),
            }
        )

    return validation_report


def _written(report: Any, folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """HTML, Markdown and summary of a report on disk."""
    paths = report.write(folder)
    return [paths.html, paths.markdown, paths.summary], report.summary()


def _scores(summary: dict[str, Any]) -> dict[str, float]:
    return {
        name.replace(" ", "_"): float(score["value"])
        for name, score in summary["scores"].items()
        if score["value"] is not None
    }


def ic_by_month(inputs: Any, config: Any) -> dict[str, float]:
    """Mean daily rank IC of each month that has one."""
    from trademl_pipeline.evaluation.metrics import rank_ic_by_session

    outcome = config.kind.outcome
    came = inputs.outcomes.select("symbol", "session", pl.col(outcome).alias("forward_return"))
    rows = inputs.predictions.select("symbol", "session", "score").join(came, on=["symbol", "session"])
    daily = rank_ic_by_session(rows, score="score", min_symbols=config.min_symbols)
    monthly = daily.group_by(pl.col("session").dt.strftime("%Y-%m").alias("month")).agg(pl.col("ic").mean())
    return dict(monthly.sort("month").iter_rows())
