"""How good the predictions are, for a person who must decide: verdict first, beside baselines and intervals.

As of month M it covers every prediction up to M whose outcome is known by then, for each study that has any. It writes
`report.html`, `report.md` and `summary.json` to the data set's folder `reports/<study>/<month>/`. A year of 60 symbols
takes a few seconds.
"""

import json
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.figures import bars_figure
from trademl_pipeline.defs.gate import run_time
from trademl_pipeline.defs.metadata import OWNERS
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, until
from trademl_pipeline.defs.resources import (
    ArtifactsResource,
    LakeResource,
    TrackingResource,
    home,
)
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.schemas import AUDITS, RAW_BARS, label_table, model_table, prediction_table
from trademl_pipeline.market import SimulatedMarket
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.studies import StudySpec

FROM_THE_FIRST = "1900-01-01"


def importances(models: pl.DataFrame) -> pl.DataFrame:
    """Share of gain of every feature in every fold, from the files that the models left."""
    rows: list[tuple[str, str, float]] = []
    for fold, artifact in models.select("fold", "artifact").iter_rows():
        path = (home() / artifact).with_name("importance.json")
        rows += [(fold, name, share) for name, share in json.loads(path.read_text()).items()]
    return pl.DataFrame(rows, schema=["fold", "feature", "importance"], orient="row")


def report_inputs(store: Lake, study: StudySpec, month: str, source: BarSource, ran: str) -> Any:
    """Frames and settings of a study's report as of a month; None where the study has no prediction yet."""
    from trademl_pipeline.reports import ReportConfig, ReportInputs

    until_month = (FROM_THE_FIRST, month)
    try:
        predictions = store.read(prediction_table(study.name), months=until_month)
    except MissingTableError:
        return None
    if predictions.is_empty():
        return None
    first = predictions["fold"].min()
    labels = store.read(label_table(study.name), months=(str(first), month))
    bars = store.read(RAW_BARS, months=(str(first), month))
    models = store.read(model_table(study.name), months=until_month)
    models = models.filter(pl.col("fold").is_in(predictions["fold"].unique().to_list()))
    tables = [
        t
        for t in store.tables()
        if t == "raw_bars" or t.endswith((f"_{study.name}", f"_{study.feature_set}"))
    ]
    audits = store.read(AUDITS).filter(pl.col("table_name").is_in(tables) & (pl.col("month") <= month))
    simulated = isinstance(source, SimulatedMarket)
    inputs = ReportInputs(
        predictions,
        labels,
        bars,
        audits=audits,
        importances=importances(models),
        folds=models,
        oracle=source.oracle(study.horizon) if simulated else None,
        metadata={
            "source of bars": source.name,
            "feature set": study.feature_set,
            "window": f"{study.window} sessions, lags {', '.join(map(str, study.lags))}",
            "label": f"return over {study.horizon} sessions against {study.k} volatilities",
            "lake snapshot": store.snapshot(),
            "made by run": ran,
        },
    )
    config = ReportConfig(
        study.name, study.title, horizon=study.horizon, seed=study.seed, simulated=simulated
    )
    return inputs, config


def report_assets(studies: list[StudySpec]) -> list[dg.AssetsDefinition]:
    """The report asset over all studies."""

    @dg.asset(
        description=__doc__,
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dep
            for study in studies
            for dep in (
                dg.AssetDep(prediction_table(study.name).name, partition_mapping=until()),
                dg.AssetDep(label_table(study.name).name, partition_mapping=until()),
            )
        ],
        group_name="reports",
        kinds={"plotly", "html", "mlflow"},
        owners=OWNERS,
    )
    def validation_report(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        bars: BarsResource,
        artifacts: ArtifactsResource,
        tracking: TrackingResource,
    ) -> dg.MaterializeResult:
        from trademl_pipeline.reports import build_report

        store, source, month = lake.open(), bars.open(), context.partition_key
        metadata: dict[str, Any] = {
            "as_of": month[:7],
            "time": run_time(context).isoformat(timespec="seconds"),
        }
        for study in studies:
            made = report_inputs(store, study, month, source, context.run.run_id)
            if made is None:
                context.log.info(f"{study.name}: no predictions up to {month[:7]}, nothing to report")
                continue
            with tracking.run("validation_report", month, {"study": study.name}) as run:
                report = build_report(*made)
                paths = report.write(artifacts.reports(study.name) / month[:7])
                summary = report.summary()
                scores = {
                    name.replace(" ", "_"): score["value"]
                    for name, score in summary["scores"].items()
                    if score["value"] is not None
                }
                run.log_metrics(scores)
                run.log_params({"study": study.name, "as_of": month, "snapshot": store.snapshot()})
                run.log_artifact(paths.markdown)
                run.log_artifact(paths.summary)
                run.log_artifact(paths.html)
                metadata |= {f"{study.name}: {name}": float(value) for name, value in scores.items()}
                metadata |= {
                    f"{study.name}: verdict": summary["verdict"]["headline"],
                    f"{study.name}: report": dg.MetadataValue.path(str(paths.html)),
                    f"{study.name}: mlflow_run": run.run_id,
                    f"{study.name}: rank IC by month": bars_figure(ic_by_month(made[0], made[1]), "rank IC"),
                    f"{study.name}: summary": dg.MetadataValue.md(paths.markdown.read_text()[:20_000]),
                }
        if len(metadata) == 2:
            raise dg.Failure(
                f"no study has predictions up to {month[:7]}; materialize predictions_<study> for that month first"
            )
        return dg.MaterializeResult(metadata=metadata)

    return [validation_report]


def ic_by_month(inputs: Any, config: Any) -> dict[str, float]:
    """Mean daily rank IC of each month that has one."""
    from trademl_pipeline.training.metrics import rank_ic_by_session

    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    daily = rank_ic_by_session(rows, score="score", min_symbols=config.min_symbols)
    monthly = daily.group_by(pl.col("session").dt.strftime("%Y-%m").alias("month")).agg(pl.col("ic").mean())
    return dict(monthly.sort("month").iter_rows())
