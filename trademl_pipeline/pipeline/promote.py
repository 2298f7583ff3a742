"""The champion of a study: the model that serves, until a challenger has beaten it out of sample.

As of month M the challenger is the model that was trained `CANDIDATE_MONTHS` before; both are asked about every
decision of the months since whose outcome has matured, none of which either has learned from. The challenger takes
over only by the promotion rule; the decision and its figures are kept, and the aliases of the MLflow registry follow.
"""

from datetime import date
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.view import LakeReader, LakeView
from trademl_pipeline.market.calendar import month_key, month_sessions, offset_month
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, bars_behind, calendar_of, windows_of_keys
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.lookback import ALL_BEFORE, ALL_UNTIL, Lookback
from trademl_pipeline.pipeline.models import ModelMissingError, load_models
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo
from trademl_pipeline.pipeline.predict import context_of, read_by
from trademl_pipeline.pipeline.views import before_the_first_decision, reads_shown, view_of
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.registry.comparison import paired, row_scores
from trademl_pipeline.registry.promotion import (
    CHALLENGER,
    CHAMPION,
    Decision,
    PromotionRule,
    decide,
    decision_tags,
    write_mlflow_model,
)
from trademl_pipeline.registry.tracking import Tracker
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import champion_table
from trademl_pipeline.training.dataset import last_matured_session

CANDIDATE_MONTHS = 3
MIN_SESSIONS = 40


def rule_of(study: StudySpec) -> PromotionRule:
    """Return the promotion rule, fixed before anything is compared."""
    return PromotionRule(study.task.comparison.name, min_sessions=MIN_SESSIONS, require_interval=True)


def current_champion(store: LakeReader, study: StudySpec, month: str) -> str | None:
    """Return the fold of the champion before a month; None where there is none yet."""
    try:
        champions = store.read(champion_table(study.name), months=(FROM_THE_FIRST, offset_month(month, -1)))
    except MissingTableError:
        return None
    return None if champions.is_empty() else champions.sort("fold")["champion"][-1]


def champion_challenger_scores(
    workspace: Workspace, view: LakeView, study: StudySpec, month: str, champion: str, challenger: str
) -> pl.DataFrame | None:
    """Score both models on the decisions of the candidate period; None where no outcome has matured.

    Args:
        workspace: the data set.
        view: what is known as of the month.
        study: the study.
        month: month key, as of which outcomes are known.
        champion, challenger: folds of the models, as month keys.

    Returns:
        as `registry.comparison.paired` makes it.
    """
    first = max(champion, challenger)
    calendar = calendar_of(study, workspace.calendar)
    candidate_period = (first, month)
    matured = last_matured_session(month_sessions(month, calendar)[-1], study.label_horizon, calendar)
    labels = view.read(study.labels, months=candidate_period).filter(pl.col("session") <= matured)
    decisions = view.read(study.windows, months=candidate_period)
    rows = decisions.join(
        labels.drop("knowledge_time", "horizon", "last_price"), on=["symbol", "session"], how="inner"
    ).sort("symbol", "session")
    if rows.is_empty():
        return None
    windows = windows_of_keys(view, study, rows, month, workspace.calendar)
    context = context_of(study, windows)
    scores: list[np.ndarray] = []
    for fold in (champion, challenger):
        record = view.read(study.models, months=(fold, fold))
        fitted = load_models(workspace.artifacts, study, record, fold)
        values = fitted.combine(fitted.estimator_values(read_by(fitted, study, windows)))
        scores.append(row_scores(study.training.task, values, rows, context))
    return paired(rows["session"], *scores)


def champion_view(workspace: Workspace, study: StudySpec, month: str) -> LakeView:
    """Return what the choice of a month's champion may know: all until the first decision of the next month."""
    name = champion_table(study.name).name
    return view_of(
        workspace.lake,
        name,
        month,
        {**champion_reads(study), name: ALL_BEFORE},
        clock=before_the_first_decision(offset_month(month, 1), calendar_of(study, workspace.calendar)),
    )


def champion_months(workspace: Workspace, tracker: Tracker, study: StudySpec, run: RunInfo) -> Body:
    """Return what decides and records who is champion as of one month, and has the registry follow.

    Args:
        workspace: the data set.
        tracker: whose registry keeps the aliases.
        study: the study.
        run: that decides.
    """
    store, schema = workspace.lake, champion_table(study.name)

    def month_of(month: str) -> MonthResult:
        view = champion_view(workspace, study, month)
        rule, now = rule_of(study), current_champion(view, study, month)
        trained = [m for m in published_months(view, study.models.name) if m <= month]
        challenger = offset_month(month, -CANDIDATE_MONTHS)
        if not trained:
            raise ModelMissingError(
                f"{study.name} has no model up to {month[:7]}; materialize {study.models.name} first"
            )
        if now is None:
            challenger = now = trained[0]
        with view.sealed([workspace.artifacts.home]):
            decision = _decided(
                workspace, view, study, month, now, challenger if challenger in trained else "", rule
            )
        chosen = challenger if decision.promote else now
        record = pl.DataFrame(
            {
                "fold": [month],
                "champion": [chosen],
                "before": [now],
                "challenger": [challenger],
                "promoted": [decision.promote],
                "metric": [rule.metric],
                "gain": [decision.gain],
                "low": [decision.low],
                "high": [decision.high],
                "sessions": [decision.sessions],
                "rows": [decision.rows],
                "reason": [decision.reason],
            },
            schema=schema.polars_schema,
        )
        published = store.publish(schema, record, month)
        if challenger in trained:
            _follow(tracker, workspace, study, CHALLENGER, challenger, decision_tags(rule, decision))
        # without a promotion the tags of the champion's own one stay
        promotion_tags = decision_tags(rule, decision) if decision.promote else {}
        _follow(tracker, workspace, study, CHAMPION, chosen, promotion_tags)
        run.log.info(f"champion of {study.name} as of {month[:7]}: {chosen[:7]}; {decision.reason}")
        return MonthResult(
            {
                "dagster/row_count": 1,
                "champion": chosen[:7],
                "challenger": challenger[:7],
                "promoted": decision.promote,
                "reason": decision.reason,
                "snapshot": int(published.snapshot),
                "reads": reads_shown(view.reads),
            }
        )

    return month_of


def _decided(
    workspace: Workspace,
    view: LakeView,
    study: StudySpec,
    month: str,
    champion: str,
    challenger: str,
    rule: PromotionRule,
) -> Decision:
    bootstrap = Bootstrap(seed=study.seed, horizon=study.horizon)
    if champion == challenger:
        return decide(rule, None, bootstrap)
    if challenger <= champion:
        return Decision(False, None, None, None, 0, 0, "no newer model has had a candidate period")
    scores = champion_challenger_scores(workspace, view, study, month, champion, challenger)
    if scores is None:
        return Decision(False, None, None, None, 0, 0, "no outcome of the candidate period has matured yet")
    return decide(rule, scores, bootstrap)


def _follow(
    tracker: Tracker,
    workspace: Workspace,
    study: StudySpec,
    alias: str,
    fold: str,
    tags: dict[str, str],
) -> None:
    """Have an alias of the registry point at a fold's models, registered as an MLflow model once."""
    store = workspace.lake
    record = store.read(study.models, months=(fold, fold))
    snapshot = int(record["snapshot"][0])

    def make(folder: Path) -> None:
        fitted = load_models(
            workspace.artifacts, study, record, fold
        )  # refuses files that are not the published ones
        metadata = {"study": study.name, "fold": fold, "dataset_snapshot": snapshot}
        example = read_by(fitted, study, _example(workspace, study, fold, snapshot))
        write_mlflow_model(workspace.artifacts.path(record["artifact"][0]).parent, folder, example, metadata)

    fold_tags = {
        "fold": fold,
        "dataset_snapshot": str(snapshot),
        "artifact_sha256": record["artifact_sha256"][0],
    }
    tracker.alias(study.name, alias, record["model_run"][0], "model", fold_tags | tags, make)


def _example(workspace: Workspace, study: StudySpec, fold: str, snapshot: int) -> Windows:
    """The last two training decisions before a fold, as the model's input example."""
    store, last = workspace.lake, offset_month(fold, -1)
    keys = store.read(study.windows, months=(FROM_THE_FIRST, last), snapshot=snapshot)
    keys = keys.sort("session", "symbol").tail(2)
    latest = month_key(cast(date, keys["session"].max()))
    return windows_of_keys(store, study, keys, latest, workspace.calendar, snapshot)


def champion_reads(study: StudySpec) -> dict[str, Lookback]:
    """Return which months of which assets the choice of a month's champion reads."""
    tables = (study.models, study.windows, study.labels, study.features, *bars_behind(study))
    return {table.name: ALL_UNTIL for table in tables}
