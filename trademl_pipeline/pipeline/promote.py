"""The champion of a study: the model that serves, until a challenger has beaten it out of sample.

As of month M the challenger is the model that was trained `CANDIDATE_MONTHS` before; both are asked about every
decision of the months since whose outcome has matured, none of which either has learned from. The challenger takes
over only by the promotion rule; the decision and its figures are kept, and the aliases of the MLflow registry follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.intervals import Bootstrap
from trademl_pipeline.lake.errors import MissingTableError
from trademl_pipeline.lake.view import LakeReader, LakeView
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.probes.rerun import audit_rerun
from trademl_pipeline.market.calendar import month_key, month_sessions, offset_month
from trademl_pipeline.pipeline.audited import (
    audit_contents,
    audits_in_force,
    market_tables,
    recorded,
)
from trademl_pipeline.pipeline.fold import FROM_THE_FIRST, bars_behind, calendar_of, windows_of_keys
from trademl_pipeline.pipeline.gate import month_metadata, publish
from trademl_pipeline.pipeline.history import published_months
from trademl_pipeline.pipeline.lookback import ALL_BEFORE, ALL_UNTIL, Lookback
from trademl_pipeline.pipeline.models import ModelMissingError, load_models
from trademl_pipeline.pipeline.months import Body, MonthResult, RunInfo, result_of
from trademl_pipeline.pipeline.predict import context_of, read_by
from trademl_pipeline.pipeline.shown import Metadata
from trademl_pipeline.pipeline.tries import champion_scored, record_scored
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
from trademl_pipeline.training.fitted_study import FittedStudy

# Called with the fold of a model and what it says of decisions whose outcomes are looked at.
OnScored = Callable[[str, pl.DataFrame], None]

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


@dataclass(frozen=True)
class ChampionStep:
    """Decides who is champion as of a month, from whatever view of the lake it is given.

    Attributes:
        study: the study.
        month: month key, as of which outcomes are known.
        calendar: of the data set.
        models: the champion's and the challenger's, by fold; none where they need not be compared.
    """

    study: StudySpec
    month: str
    calendar: str
    models: Mapping[str, FittedStudy]

    def run(self, view: LakeReader, on_scored: OnScored | None = None) -> pl.DataFrame:
        """Return the month's row of the champion table.

        Args:
            view: of the lake, cut where the month is over.
            on_scored: called with what each model says of the decisions that it is scored on, if it is.
        """
        study, month, rule = self.study, self.month, rule_of(self.study)
        now, challenger, trained = contenders(view, study, month)
        rival = challenger if challenger in trained else ""
        decision = self._decided(view, now, rival, rule, on_scored)
        return pl.DataFrame(
            {
                "fold": [month],
                "champion": [challenger if decision.promote else now],
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
            schema=champion_table(study.name).polars_schema,
        )

    def scores(
        self, view: LakeReader, champion: str, challenger: str, on_scored: OnScored | None = None
    ) -> pl.DataFrame | None:
        """Score both models on the decisions of the candidate period; None where no outcome has matured.

        Args:
            view: what is known as of the month.
            champion, challenger: folds of the models, as month keys.
            on_scored: called with each fold and what its model says: symbol, session, and values by number.

        Returns:
            as `registry.comparison.paired` makes it.
        """
        study, month = self.study, self.month
        calendar = calendar_of(study, self.calendar)
        candidate_period = (max(champion, challenger), month)
        matured = last_matured_session(month_sessions(month, calendar)[-1], study.label_horizon, calendar)
        labels = view.read(study.labels, months=candidate_period).filter(pl.col("session") <= matured)
        decisions = view.read(study.windows, months=candidate_period)
        rows = decisions.join(
            labels.drop("knowledge_time", "horizon", "last_price"), on=["symbol", "session"], how="inner"
        ).sort("symbol", "session")
        if rows.is_empty():
            return None
        windows = windows_of_keys(view, study, rows, month, self.calendar)
        context = context_of(study, windows)
        scores: list[np.ndarray] = []
        for fold in (champion, challenger):
            fitted = self.models[fold]
            values = fitted.combine(fitted.estimator_values(read_by(fitted, study, windows)))
            if on_scored is not None:
                said = pl.DataFrame({str(i): column for i, column in enumerate(values.T)})
                on_scored(fold, rows.select("symbol", "session").hstack(said))
            scores.append(row_scores(study.training.task, values, rows, context))
        return paired(rows["session"], *scores)

    def _decided(
        self,
        view: LakeReader,
        champion: str,
        challenger: str,
        rule: PromotionRule,
        on_scored: OnScored | None,
    ) -> Decision:
        bootstrap = Bootstrap(seed=self.study.seed, horizon=self.study.horizon)
        if champion == challenger:
            return decide(rule, None, bootstrap)
        if challenger <= champion:
            return Decision(False, None, None, None, 0, 0, "no newer model has had a candidate period")
        scores = self.scores(view, champion, challenger, on_scored)
        if scores is None:
            return Decision(
                False, None, None, None, 0, 0, "no outcome of the candidate period has matured yet"
            )
        return decide(rule, scores, bootstrap)


class Contenders(NamedTuple):
    """Folds of the champion before a month and of its challenger, as month keys, and all that have a model."""

    champion: str
    challenger: str
    trained: list[str]


def contenders(view: LakeReader, study: StudySpec, month: str) -> Contenders:
    """Return who is compared as of a month.

    Args:
        view: what is known as of the month.
        study: the study.
        month: month key.

    Raises:
        ModelMissingError: the study has no model yet.
    """
    trained = [m for m in published_months(view, study.models.name) if m <= month]
    if not trained:
        raise ModelMissingError(
            f"{study.name} has no model up to {month[:7]}; materialize {study.models.name} first"
        )
    now, challenger = current_champion(view, study, month), offset_month(month, -CANDIDATE_MONTHS)
    return Contenders(now or trained[0], challenger if now else trained[0], trained)


def champion_step(workspace: Workspace, view: LakeView, study: StudySpec, month: str) -> ChampionStep:
    """Return what decides who is champion as of a month, with the models that it compares.

    The models are loaded here, so that the step reads no file.

    Args:
        workspace: the data set.
        view: what is known as of the month.
        study: the study.
        month: month key.

    Raises:
        ModelMissingError: there is no model yet, or its files are not those that were published.
    """
    now, challenger, trained = contenders(view, study, month)
    compared = (now, challenger) if challenger in trained and challenger > now else ()
    models = {
        fold: load_models(workspace.artifacts, study, view.read(study.models, months=(fold, fold)), fold)
        for fold in compared
    }
    return ChampionStep(study, month, workspace.calendar, models)


def audit_champion(
    workspace: Workspace, published: pl.DataFrame, step: ChampionStep, view: LakeView
) -> AuditReport:
    """Audit the choice of a champion: decided again on a view cut where the month is over, of what passed the gate.

    Args:
        workspace: the data set.
        published: the month's row of the champion table.
        step: that made it.
        view: that the step was given.
    """
    study, month = step.study, step.month
    over = before_the_first_decision(offset_month(month, 1), calendar_of(study, workspace.calendar))

    def again(cut: datetime) -> pl.DataFrame:
        earlier = view.at(cut)
        with earlier.sealed():
            return step.run(earlier)

    decided = published.with_columns(pl.lit(over).alias("decision_time"))
    tables = [*market_tables(), study.features, study.labels, study.windows, study.models]
    behind = recorded(workspace.lake, tables, (FROM_THE_FIRST, month), view.snapshot())
    audits = audits_in_force(workspace.lake, behind, month)
    return audit_rerun(decided, again, [over], key=("fold",)) + audit_contents(audits)


def audit_champion_month(workspace: Workspace, study: StudySpec, month: str) -> AuditReport:
    """Audit the champion of a month as the lake holds it.

    Args:
        workspace: the data set.
        study: the study.
        month: month key.
    """
    view = champion_view(workspace, study, month)
    written = workspace.lake.read(champion_table(study.name), months=(month, month))
    return audit_champion(workspace, written, champion_step(workspace, view, study, month), view)


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
    schema, rule = champion_table(study.name), rule_of(study)

    def month_of(month: str) -> MonthResult:
        view = champion_view(workspace, study, month)
        step = champion_step(workspace, view, study, month)
        looked: dict[str, pl.DataFrame] = {}
        with view.sealed():
            record = step.run(view, looked.__setitem__)
        scored_sets = [
            champion_scored(study, fold, scored, view.read(study.models, months=(fold, fold)))
            for fold, scored in looked.items()
        ]
        record_scored(workspace.lake, study, run, month, scored_sets)
        published = publish(
            run,
            workspace.lake,
            schema,
            record,
            month,
            lambda written: audit_champion(workspace, written, step, view),
        )
        decided = record.row(0, named=True)
        chosen, challenger = decided["champion"], decided["challenger"]
        tags = decision_tags(rule, decision_of(record))
        if challenger in contenders(view, study, month).trained:
            _follow(tracker, workspace, study, CHALLENGER, challenger, tags)
        # without a promotion the tags of the champion's own one stay
        _follow(tracker, workspace, study, CHAMPION, chosen, tags if decided["promoted"] else {})
        run.log.info(f"champion of {study.name} as of {month[:7]}: {chosen[:7]}; {decided['reason']}")
        shown: Metadata = {
            **month_metadata(published, record),
            "champion": chosen[:7],
            "challenger": challenger[:7],
            "promoted": decided["promoted"],
            "reason": decided["reason"],
            "tries": len(scored_sets),
            "reads": reads_shown(view.reads),
        }
        return result_of(published, shown)

    return month_of


def decision_of(record: pl.DataFrame) -> Decision:
    """Return the decision that a row of the champion table tells.

    Args:
        record: the row.
    """
    row = record.row(0, named=True)
    figures = (row[name] for name in ("gain", "low", "high", "sessions", "rows", "reason"))
    return Decision(row["promoted"], *figures)


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
