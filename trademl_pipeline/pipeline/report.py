"""Reports: how good the predictions of a study were, beside baselines, costs and intervals.

As of month M a study's report covers every prediction up to M whose outcome is known by then. It writes `report.html`,
`report.md` and `summary.json` to the data set's folder `reports/<study>/<month>/`; the comparison puts the studies that
have one side by side, in `reports/comparison/<month>/`. A year of 60 symbols takes a few seconds.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from trademl_pipeline.certificates.info_sheet import info_sheet
from trademl_pipeline.certificates.stored import certificate_in_force
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.leakage.nightly import history_of, last_night
from trademl_pipeline.market.calendar import month_bounds, month_sessions, offset_month
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.audited import audits_in_force, recorded, study_tables
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.figures import bars_figure
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, calendar_of
from trademl_pipeline.pipeline.gate import GateRefusedError
from trademl_pipeline.pipeline.lookback import ALL_UNTIL, Lookback
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo
from trademl_pipeline.pipeline.shown import FilePath, Markdown
from trademl_pipeline.pipeline.tries import record_scored, report_scored, tries_of
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.simulation.planted_labels import PLANTED_PROBABILITIES
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline.training.dataset import last_matured_session
from trademl_pipeline.training.fitted_study import CARD, TIMES

# Bars before the first prediction, from which baselines of volatility warm up.
MONTHS_BEFORE = 6
KEY = ["symbol", "session"]
COMPARISON = "comparison"

INFO_SHEET = "info_sheet.md"


def importances(artifacts: Artifacts, models: pl.DataFrame) -> pl.DataFrame:
    """Read the share of gain of every feature in every fold, from the files that the models left."""
    rows: list[tuple[str, str, float]] = []
    for fold, artifact in models.select("fold", "artifact").iter_rows():
        path = artifacts.path(artifact).parent.parent / "importance.json"
        rows += [(fold, name, share) for name, share in json.loads(path.read_text()).items()]
    return pl.DataFrame(
        rows, schema={"fold": pl.String, "feature": pl.String, "importance": pl.Float64}, orient="row"
    )


def training_costs(artifacts: Artifacts, models: pl.DataFrame) -> pl.DataFrame:
    """Read parameters and seconds of every estimator in every fold that was trained."""
    rows: list[tuple[str, str, int, float]] = []
    for fold, artifact in (
        models.filter(pl.col("fold") == pl.col("fitted")).select("fold", "artifact").iter_rows()
    ):
        folder = artifacts.path(artifact).parent
        estimators = json.loads((folder / CARD).read_text())["members"]
        seconds = json.loads((folder / TIMES).read_text())
        rows += [(fold, name, int(m["parameters"]), float(seconds[name])) for name, m in estimators.items()]
    schema = {"fold": pl.String, "member": pl.String, "parameters": pl.Int64, "train_seconds": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_train_loss(artifacts: Artifacts, models: pl.DataFrame) -> pl.DataFrame:
    """Return the folds with the first base learner's training loss at the best epoch; as they are where it has none."""
    losses: list[float | None] = []
    for artifact, best in models.select("artifact", "best_iteration").iter_rows():
        card = json.loads(artifacts.path(artifact).read_text())
        history = card["members"][card["voters"][0]]["history"]
        losses.append(float(history[best]["train_loss"]) if 0 <= best < len(history) else None)
    if not any(loss is not None for loss in losses):
        return models
    return models.with_columns(pl.Series("train_loss", losses, dtype=pl.Float64))


def attention(artifacts: Artifacts, study: str, models: pl.DataFrame) -> pl.DataFrame | None:
    """Read the attention of a network in the examples of each month; None where no estimator has attention."""
    paths = [artifacts.attention(study, fold) for fold in models["fold"]]
    frames = [pl.read_parquet(path) for path in paths if path.exists()]
    return pl.concat(frames) if frames else None


def cross_validation(store: Lake, study: StudySpec, months: tuple[str, str]) -> pl.DataFrame | None:
    """Read scores by symbol of the last fold that was cross-validated; None where none was."""
    if study.training.cross_validate is None:
        return None
    try:
        scores = store.read(study.cross_validation, months=months)
    except MissingTableError:
        return None
    return scores.filter(pl.col("fold") == scores["fold"].max()).drop("fold")


def report_inputs(
    workspace: Workspace,
    study: StudySpec,
    month: str,
    source: BarSource,
    ran: str,
    costs: Costs | None = None,
) -> Any:
    """Read the frames and settings of a study's report as of a month; None where the study has no prediction yet.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
        source: of the bars; the simulated market knows the best forecaster.
        ran: the run that makes the report.
        costs: of trading; None: those of the study's portfolio.

    Returns:
        (inputs, configuration) of `reports.build_report`.
    """
    from trademl_pipeline.reports import ReportConfig, ReportInputs

    store, artifacts, calendar = workspace.lake, workspace.artifacts, workspace.calendar
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
    audits = audits_in_force(store, recorded(store, study_tables(study), until_month), month)
    labels = matured_labels(store, study, covered, calendar)
    before = offset_month(first, -MONTHS_BEFORE)
    simulated = isinstance(source, SimulatedMarket)
    # The oracle is asked with the whole history.
    bars = store.read(RAW_BARS, months=until_month if simulated else (before, month))
    oracle = None
    if simulated:
        keys = predictions.select(KEY).join(labels, on=KEY, how="semi", maintain_order="left")
        oracle = oracle_of(source, study, keys, bars)
        bars = bars.filter(pl.col("session") >= month_bounds(before)[0])
    inputs = ReportInputs(
        predictions,
        labels,
        bars,
        audits=audits,
        importances=importances(artifacts, models),
        folds=with_train_loss(artifacts, models),
        oracle=oracle,
        estimator_predictions=store.read(study.estimator_predictions, months=covered),
        training=training_costs(artifacts, models),
        attention=attention(artifacts, study.name, models),
        sequences=store.read(study.windows, months=covered),
        cross_validation=cross_validation(store, study, until_month),
        metadata={
            "source of bars": source.name,
            "feature set": study.feature_set,
            "window": f"{study.window} sessions",
            "target": TARGETS[study.target].title,
            "models": ", ".join(f"{m.name} ({m.kind})" for m in study.training.estimators),
            "lake snapshot": store.snapshot(),
            "last nightly audit": last_night(history_of(store)),
            "certificate": certificate_in_force(store, study.name, last_month).digest,
            "model info sheet": Path(INFO_SHEET),
            "made by run": ran,
        },
    )
    config = ReportConfig(
        study.name,
        study.title,
        horizon=study.horizon,
        seed=study.seed,
        task=study.training.task,
        simulated=simulated,
        portfolio=study.portfolio,
        calendar=calendar_of(study, calendar),
        costs=costs,
    )
    months = predictions["fold"].unique()
    tries = tries_of(store, artifacts, study, report_scored(study, inputs, config), months)
    return inputs, replace(config, trials=tries.trials, tries=tries)


def oracle_of(
    market: SimulatedMarket, study: StudySpec, keys: pl.DataFrame, bars: pl.DataFrame
) -> pl.DataFrame | None:
    """Return what the best forecaster of a simulated market would have said; None where nothing can be asked.

    Args:
        market: the market.
        study: the study.
        keys: symbol and session of decisions.
        bars: bars of the whole history that the study read.
    """
    forecasts = market.oracle(study.horizon) if study.decisions == "sessions" else None
    planted_probabilities = PLANTED_PROBABILITIES.get(study.target)
    if planted_probabilities is None or keys.is_empty():
        return forecasts
    probabilities = planted_probabilities(market, bars, keys)
    if forecasts is None:
        return probabilities
    return forecasts.join(probabilities, on=KEY, how="left", maintain_order="left")


def matured_labels(store: Lake, study: StudySpec, months: tuple[str, str], calendar: str) -> pl.DataFrame:
    """Read labels of decisions whose whole horizon has passed.

    Those that are decided early would be no fair sample.

    Args:
        store: the lake.
        study: the study.
        months: first and last month key; by the last outcomes are known.
        calendar: of the data set.
    """
    calendar = calendar_of(study, calendar)
    last = last_matured_session(month_sessions(months[1], calendar)[-1], study.label_horizon, calendar)
    return store.read(study.labels, months=months).filter(pl.col("session") <= last)


def any_matured(inputs: Any, config: Any) -> bool:
    """Return whether any prediction has an outcome by which it can be judged."""
    known = inputs.outcomes.filter(pl.col(config.kind.outcome).is_not_null())
    return not inputs.predictions.join(known, on=KEY, how="semi").is_empty()


def report_months(
    workspace: Workspace,
    tracker: Tracker,
    study: StudySpec,
    source: BarSource,
    run: RunInfo,
    costs: Costs | None = None,
) -> Body:
    """Return what writes the report of a study as of one month.

    Args:
        workspace: the data set.
        tracker: where the report's run is recorded.
        study: the study.
        source: of the bars; the simulated market knows the best forecaster.
        run: that writes.
        costs: of trading; None: those of the study's portfolio.

    Raises (when called with a month):
        StepError: the study has no predictions up to that month.
        GateRefusedError: a portfolio is not what its predictions and bars give.
    """

    def month_of(month: str) -> MonthResult:
        from trademl_pipeline.reports import build_report
        from trademl_pipeline.reports.portfolios import PortfolioRefusedError
        from trademl_pipeline.reports.tries import tries_sentence

        store, reports = workspace.lake, workspace.artifacts.reports(study.name)
        made = report_inputs(workspace, study, month, source, run.run_id, costs)
        if made is None:
            raise StepError(
                f"{study.name} has no predictions up to {month[:7]}; materialize {study.predictions.name} for that "
                "month first"
            )
        if not any_matured(*made):
            sessions = f"{study.label_horizon} sessions"
            verdict = f"no outcome has matured yet: it takes {sessions} from a decision to its outcome"
            run.log.warning(f"{study.name} as of {month[:7]}: {verdict}")
            return MonthResult({"as_of": month[:7], "verdict": verdict})
        with tracker.run(report_name(study.name), month, {"study": study.name}) as tracked:
            try:
                made_report = build_report(*made)
            except PortfolioRefusedError as error:
                raise GateRefusedError(report_name(study.name), month, error.report) from error
            # Nobody has seen a figure yet.
            record_scored(store, study, run, month, report_scored(study, *made))
            paths, summary = _written(made_report, reports / month[:7])
            certificate = certificate_in_force(store, study.name, str(made[0].predictions["fold"].max()))
            sheet = paths[0].with_name(INFO_SHEET)
            sheet.write_text(info_sheet(certificate, claim=study.title))
            paths.append(sheet)
            scores = _scores(summary)
            tracked.log_metrics(scores)
            tries = made[1].tries
            params = {"study": study.name, "as_of": month, "snapshot": store.snapshot()}
            tracked.log_params({**params, "tries": tries.tries, "trials": tries.trials})
            for path in paths:
                tracked.log_artifact(path)
        html, markdown = paths[0], paths[1]
        return MonthResult(
            {
                "as_of": month[:7],
                "time": run.recorded_at.isoformat(timespec="seconds"),
                "verdict": summary["verdict"]["headline"],
                "report": FilePath(str(html)),
                "mlflow_run": tracked.run_id,
                "tries": tries.tries,
                "tries_in_words": tries_sentence(tries),
                "rank IC by month": bars_figure(ic_by_month(*made), "rank IC"),
                "summary": Markdown(markdown.read_text()[:20_000]),
                **scores,
            }
        )

    return month_of


def comparison_months(artifacts: Artifacts, studies: Sequence[str]) -> Body:
    """Return what compares the studies that have a report as of one month.

    Raises (when called with a month):
        StepError: no study has a report of that month.
    """

    def month_of(month: str) -> MonthResult:
        from trademl_pipeline.reports import build_comparison

        files = [artifacts.reports(study) / month[:7] / "summary.json" for study in studies]
        summaries = [json.loads(path.read_text()) for path in files if path.exists()]
        if not summaries:
            raise StepError(
                f"no study has a report of {month[:7]}; materialize report_<study> for that month first"
            )
        paths, _ = _written(build_comparison(summaries), artifacts.reports(COMPARISON) / month[:7])
        return MonthResult(
            {
                "studies": len(summaries),
                "report": FilePath(str(paths[0])),
                "summary": Markdown(paths[1].read_text()[:20_000]),
            }
        )

    return month_of


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
    """Return the mean daily rank IC of each month that has one."""
    from trademl_pipeline.evaluation.metrics import rank_ic_by_session

    outcome = config.kind.outcome
    outcomes = inputs.outcomes.select(*KEY, pl.col(outcome).alias("forward_return"))
    rows = inputs.predictions.select(*KEY, "score").join(outcomes, on=KEY)
    daily = rank_ic_by_session(rows, score="score", min_symbols=config.min_symbols)
    monthly = daily.group_by(pl.col("session").dt.strftime("%Y-%m").alias("month")).agg(pl.col("ic").mean())
    return dict(monthly.sort("month").iter_rows())


def report_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets the report as of a month reads."""
    return {study.predictions.name: ALL_UNTIL, study.labels.name: ALL_UNTIL}


def report_name(study: str) -> str:
    """Return the name of a study's report among the assets."""
    return f"report_{study}"
