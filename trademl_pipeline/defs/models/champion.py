"""The champion of a study: the model that serves, until a challenger has beaten it out of sample.

As of month M the challenger is the model that was trained `TRIAL_MONTHS` before; both are asked about every decision
of the months since whose outcome is settled, none of which either has learned from. The challenger takes over only by
the promotion rule; the decision and its figures are kept, and the aliases of the MLflow registry follow.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from trademl_pipeline.defs.calendars import calendar_of
from trademl_pipeline.defs.gate import each_month
from trademl_pipeline.defs.metadata import OWNERS, table_metadata
from trademl_pipeline.defs.models.fold import FROM_THE_FIRST, windows_of_keys
from trademl_pipeline.defs.models.model import ModelMissingError, load_models
from trademl_pipeline.defs.partitions import MONTHS, RUN_PER_MONTH, until
from trademl_pipeline.defs.predictions.predictions import context_of, read_by
from trademl_pipeline.defs.resources import LakeResource, TrackingResource, home
from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.lake import Lake
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.market.calendar import month_key, month_sessions, offset_month
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
from trademl_pipeline.sequences.windows import Windows
from trademl_pipeline.studies import StudySpec
from trademl_pipeline.tables import champion_table
from trademl_pipeline.tables.descriptions import CHAMPIONS
from trademl_pipeline.training.dataset import settled_by

TRIAL_MONTHS = 3
LEAST_SESSIONS = 40


def rule_of(study: StudySpec) -> PromotionRule:
    """The promotion rule, fixed before anything is compared."""
    return PromotionRule(study.task.comparison.name, least_sessions=LEAST_SESSIONS, sure=True)


def standing(store: Lake, study: StudySpec, month: str) -> str | None:
    """Fold of the champion before a month; None where there is none yet."""
    try:
        kept = store.read(champion_table(study.name), months=(FROM_THE_FIRST, offset_month(month, -1)))
    except MissingTableError:
        return None
    return None if kept.is_empty() else kept.sort("fold")["champion"][-1]


def contest(store: Lake, study: StudySpec, month: str, champion: str, challenger: str) -> pl.DataFrame | None:
    """Scores of both models for the decisions of the trial; None where no outcome is settled."""
    first, calendar = max(champion, challenger), calendar_of(study)
    trial = (first, month)
    settled = settled_by(month_sessions(month, calendar)[-1], study.settled_after, calendar)
    labels = store.read(study.labels, months=trial).filter(pl.col("session") <= settled)
    decisions = store.read(study.windows, months=trial)
    rows = decisions.join(
        labels.drop("knowledge_time", "horizon", "last_price"), on=["symbol", "session"], how="inner"
    ).sort("symbol", "session")
    if rows.is_empty():
        return None
    windows = windows_of_keys(store, study, rows, month)
    context = context_of(study, windows)
    scores = []
    for fold in (champion, challenger):
        fitted = load_models(study, store.read(study.models, months=(fold, fold)), fold)
        values = fitted.combine(fitted.member_values(read_by(fitted, study, windows)))
        scores.append(row_scores(study.fit.task, values, rows, context))
    return paired(rows["session"], *scores)


def champion_assets(study: StudySpec) -> list[dg.AssetsDefinition]:
    """The asset that decides who is champion."""
    schema = champion_table(study.name)

    @dg.asset(
        name=schema.name,
        description=f"{study.title}: which model serves.\n\n{__doc__}",
        partitions_def=MONTHS,
        backfill_policy=RUN_PER_MONTH,
        deps=[
            dg.AssetDep(study.models.name, partition_mapping=until()),
            dg.AssetDep(study.windows.name, partition_mapping=until()),
            dg.AssetDep(study.labels.name, partition_mapping=until()),
        ],
        group_name="models",
        kinds={"mlflow", "duckdb"},
        owners=OWNERS,
        tags={"study": study.name},
        metadata=table_metadata(schema, descriptions=CHAMPIONS),
    )
    def champion(context: dg.AssetExecutionContext, lake: LakeResource, tracking: TrackingResource) -> None:
        store = lake.open()

        def month_of(month: str) -> dict[str, Any]:
            rule, now = rule_of(study), standing(store, study, month)
            trained = [m for m in store.months(study.models.name) if m <= month]
            challenger = offset_month(month, -TRIAL_MONTHS)
            if not trained:
                raise ModelMissingError(
                    f"{study.name} has no model up to {month[:7]}; materialize {study.models.name} first"
                )
            if now is None:
                challenger = now = trained[0]
            decision = _decided(store, study, month, now, challenger if challenger in trained else "", rule)
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
                _follow(tracking, store, study, CHALLENGER, challenger, decision_tags(rule, decision))
            # without a promotion the tags of the champion's own one stay
            own = decision_tags(rule, decision) if decision.promote else {}
            _follow(tracking, store, study, CHAMPION, chosen, own)
            context.log.info(f"champion of {study.name} as of {month[:7]}: {chosen[:7]}; {decision.reason}")
            return {
                "dagster/row_count": 1,
                "champion": chosen[:7],
                "challenger": challenger[:7],
                "promoted": decision.promote,
                "reason": decision.reason,
                "snapshot": int(published.snapshot),
            }

        each_month(context, month_of)

    return [champion]


def _decided(
    store: Lake, study: StudySpec, month: str, champion: str, challenger: str, rule: PromotionRule
) -> Decision:
    bootstrap = Bootstrap(seed=study.seed, horizon=study.horizon)
    if champion == challenger:
        return decide(rule, None, bootstrap)
    if challenger <= champion:
        return Decision(False, None, None, None, 0, 0, "no newer model has stood a trial")
    scores = contest(store, study, month, champion, challenger)
    if scores is None:
        return Decision(False, None, None, None, 0, 0, "no outcome of the trial is settled yet")
    return decide(rule, scores, bootstrap)


def _follow(
    tracking: TrackingResource,
    store: Lake,
    study: StudySpec,
    alias: str,
    fold: str,
    tags: dict[str, str],
) -> None:
    """Have an alias of the registry point at a fold's models, registered as an MLflow model once."""
    record = store.read(study.models, months=(fold, fold))
    snapshot = int(record["snapshot"][0])

    def make(folder: Path) -> None:
        fitted = load_models(study, record, fold)  # refuses files that are not the published ones
        told = {"study": study.name, "fold": fold, "dataset_snapshot": snapshot}
        example = read_by(fitted, study, _example(store, study, fold, snapshot))
        write_mlflow_model((home() / record["artifact"][0]).parent, folder, example, told)

    told = {"fold": fold, "dataset_snapshot": str(snapshot), "artifact_sha256": record["artifact_sha256"][0]}
    tracking.alias(study.name, alias, record["model_run"][0], "model", told | tags, make)


def _example(store: Lake, study: StudySpec, fold: str, snapshot: int) -> Windows:
    """The last two training decisions before a fold, as the model's input example."""
    last = offset_month(fold, -1)
    keys = store.read(study.windows, months=(FROM_THE_FIRST, last), snapshot=snapshot)
    keys = keys.sort("session", "symbol").tail(2)
    return windows_of_keys(store, study, keys, month_key(keys["session"].max()), snapshot)  # pyright: ignore
