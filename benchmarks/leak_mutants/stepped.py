"""Steps of prediction and selection on a small lake: views, seals and runs again are the product's."""

import atexit
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from mutant import Mutant

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.lake.schema import UTC_TIME, UngatedTable
from trademl_pipeline.lake.view import FIRST, LakeView
from trademl_pipeline.leakage import AuditReport
from trademl_pipeline.leakage.probes.rerun import audit_rerun
from trademl_pipeline.market.calendar import close_utc, offset_sessions, sessions
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.predict import rerun
from trademl_pipeline.training.ledger import FitLedger

MONTHS, MONTH, H = ("2019-09-01", "2019-10-01", "2019-11-01"), "2019-10-01", 3
KEY = ["symbol", "session"]
CLOCKS = {"symbol": pl.String, "session": pl.Date, "decision_time": UTC_TIME, "knowledge_time": UTC_TIME}
FEATURES = UngatedTable(
    "mutant_features",
    {**CLOCKS, "momentum": pl.Float64, "value": pl.Float64},
    ("symbol", "session"),
    nullable=frozenset({"value"}),
)
LABELS = UngatedTable(
    "mutant_labels",
    {"symbol": pl.String, "session": pl.Date, "knowledge_time": UTC_TIME, "forward_return": pl.Float64},
    ("symbol", "session"),
)
# (decisions with features, view) -> the decisions with a score, and what else is published of them.
Predict = Callable[[pl.DataFrame, LakeView], pl.DataFrame]


def _rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    days = sessions(date(2019, 9, 3), date(2019, 11, 29))
    random = np.random.default_rng(11)
    keys = pl.DataFrame({"symbol": [f"S{i:02d}" for i in range(12)]}).join(
        pl.DataFrame({"session": days}), how="cross"
    )
    closes = pl.Series("decision_time", close_utc(keys["session"])).cast(UTC_TIME)
    outcome = pl.Series("forward_return", random.normal(0, 0.02, keys.height))
    features = keys.with_columns(
        closes,
        closes.alias("knowledge_time"),
        momentum=pl.Series(random.normal(size=keys.height)) + 5 * outcome,
        value=pl.Series(random.normal(size=keys.height)),
    ).with_columns(value=pl.when(pl.int_range(pl.len()) % 17 == 5).then(None).otherwise("value"))
    ends = offset_sessions(keys["session"], H)
    known = pl.Series("knowledge_time", close_utc(ends)).cast(UTC_TIME)
    return features, keys.with_columns(known, outcome)


@cache
def lake() -> Lake:
    """Two tables of three months: features with an honest signal, and the outcomes with the time they are known."""
    folder = tempfile.TemporaryDirectory(prefix="leak-mutants-")
    store = Lake(LakeConfig.local(Path(folder.name) / "lake"))
    atexit.register(folder.cleanup)
    atexit.register(store.close)
    for month in MONTHS:
        for table, rows in zip((FEATURES, LABELS), _rows(), strict=True):
            own = pl.col("session").dt.truncate("1mo") == date.fromisoformat(month)
            store.publish(table, rows.filter(own), month)
    return store


@cache
def outcomes_file() -> Path:
    """A Parquet file with all outcomes, outside of the lake."""
    folder = tempfile.TemporaryDirectory(prefix="leak-mutants-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "outcomes.parquet"
    _rows()[1].write_parquet(path)
    return path


def outcomes() -> pl.DataFrame:
    return _rows()[1].select(*KEY, "forward_return")


def honest_score(decisions: pl.DataFrame, view: LakeView) -> pl.DataFrame:
    return decisions.with_columns(score=pl.col("momentum") + 0.2 * pl.col("value").fill_null(0.0))


@dataclass(frozen=True)
class Step:
    """Predicts a month as `PredictionStep` does: from a view, its decisions read through the ledger."""

    predict: Predict
    member: Predict

    def run(
        self, view: LakeView, ledger: FitLedger, on_windows: object = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        decisions = view.read(FEATURES, months=(MONTH, MONTH))
        scored = ledger.read_test(decisions, lambda rows: self.predict(rows, view))
        member = self.member(decisions, view).select(*KEY, "score")
        by_estimator = pl.concat(
            [
                scored.select(*KEY, "score", member=pl.lit("first")),
                member.with_columns(member=pl.lit("second")),
            ]
        )
        return scored.drop("momentum", "value"), by_estimator


def view_of_month(step: str, *, reads_labels: bool) -> LakeView:
    """What the decisions of the month may know, as the product's prediction step declares it."""
    store = lake()
    reads = {FEATURES.name: (FIRST, MONTH)} | ({LABELS.name: (FIRST, MONTH)} if reads_labels else {})
    last = store.read(FEATURES, months=(MONTH, MONTH))["decision_time"].max()
    assert isinstance(last, datetime)
    return LakeView(store, f"{step} {MONTH[:7]}", reads, clock=last)


def audit_step(name: str, predict: Predict, member: Predict, *, reads_labels: bool) -> AuditReport:
    """Run a step under seal and then again, by the product's own `rerun`."""
    step, ledger = Step(predict, member), FitLedger(MONTH)
    ledger.fit("model", lake().read(FEATURES, months=(MONTHS[0], MONTHS[0])), len)
    ledger.freeze()
    view = view_of_month(name.split("/")[1], reads_labels=reads_labels)
    with view.sealed():
        frame, by_estimator = step.run(view, ledger)
    # The product's step is of the same form, of a study.
    return rerun(frame, by_estimator, step, ledger, view, Sample(2, 0))  # pyright: ignore[reportArgumentType]


def step_mutant(
    name: str,
    title: str,
    origin: str,
    leaky: Predict,
    clean: Predict = honest_score,
    *,
    members: tuple[Predict, Predict] = (honest_score, honest_score),
    reads_labels: bool = False,
    kills: str = "rerun",
    survives: str = "",
) -> Mutant:
    """A prediction step that knows too much, and an honest one of the same form.

    Args:
        name, title, origin, survives: of the mutant.
        leaky, clean: what the step does with the decisions of the month.
        members: the same of the ensemble's second member.
        reads_labels: whether the step declares that it reads outcomes.
        kills: probes of which one has to refuse it.
    """

    def audit(is_leaky: bool) -> AuditReport:
        predict, member = (leaky, members[0]) if is_leaky else (clean, members[1])
        return audit_step(name, predict, member, reads_labels=reads_labels)

    return Mutant(name, title, origin, frozenset(kills.split()), audit, survives=survives)


def champion_mutant(
    name: str,
    title: str,
    origin: str,
    leaky: Mapping[str, object],
    choose: Callable[[pl.DataFrame, pl.DataFrame], str],
    *,
    kills: str = "rerun",
) -> Mutant:
    """A champion chosen on a view with another clock than that of its month, and decided again as the product does.

    Args:
        name, title, origin: of the mutant.
        leaky: arguments of the view that the leaky choice is given, such as a later clock.
        choose: (features, outcomes known) -> the champion.
        kills: probes of which one has to refuse it.
    """

    def audit(is_leaky: bool) -> AuditReport:
        over = close_utc(date(2019, 10, 31))
        reads = {FEATURES.name: (FIRST, MONTHS[2]), LABELS.name: (FIRST, MONTHS[2])}
        given = LakeView(lake(), name, reads, **(leaky if is_leaky else {"clock": over}))  # pyright: ignore
        honest = LakeView(lake(), name, reads, clock=over)

        def decided(view: LakeView) -> pl.DataFrame:
            with view.sealed():
                known = view.read(LABELS, months=(MONTHS[0], MONTHS[2]))
                champion = choose(view.read(FEATURES, months=(MONTHS[0], MONTHS[2])), known)
            return pl.DataFrame({"fold": [MONTH], "champion": [champion], "rows": [known.height]})

        published = decided(given).with_columns(decision_time=pl.lit(over))
        return audit_rerun(published, lambda cut: decided(honest.at(cut)), [over], key=("fold",))

    return Mutant(name, title, origin, frozenset(kills.split()), audit)
