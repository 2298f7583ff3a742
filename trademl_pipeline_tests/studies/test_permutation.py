"""With targets shuffled within dates a study falls to chance; with the market's own it does not."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.features.references import index_of_history
from trademl_pipeline.features.registry import compute, reference_inputs
from trademl_pipeline.folds import WalkForward
from trademl_pipeline.labels.targets import TARGETS
from trademl_pipeline.market import SimulatedMarket
from trademl_pipeline.market.calendar import month_expr
from trademl_pipeline.market.simulated_references import SECTOR_FUND
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.training.dataset import training_rows
from trademl_pipeline.training.intervals import Bootstrap
from trademl_pipeline.training.ledger import FitLedger
from trademl_pipeline.training.members import Setting
from trademl_pipeline.training.metrics import Score, rank_ic, rank_ic_by_session
from trademl_pipeline.training.study import fit_study
from trademl_pipeline.training.trials import TrialLedger
from trademl_pipeline.training.windows import windows_for

pytestmark = pytest.mark.slow

START, END = date(2012, 1, 3), date(2013, 12, 31)
FOLD, MONTHS = "2013-07-01", ("2013-07-01", "2013-08-01", "2013-09-01")
# Not the two whose score ranks without having learned anything: pattern_confidence's carries the technical signal,
# and a breakout's outcome ends at a barrier whose distance is known.
RANKED = ["mamba_forecast", "direction", "hybrid"]
CLOCK = pl.Datetime("us", "UTC")


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(seed=11, n_symbols=40, end=END)


def tables(market: SimulatedMarket, study: StudySpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features and labels of the whole history."""
    bars = market.fetch(None, START, END).with_columns(source=pl.lit(market.name))
    given = {}
    if reference_inputs(study.feature_set):
        reference = market.reference_bars().filter(pl.col("session") >= START)
        sector = pl.col("sector").replace_strict(SECTOR_FUND)
        universe = market.sectors().select("symbol", sector, start_date=pl.lit(START))
        given = {"reference": reference, "universe": universe, "names": index_of_history(reference, START)}
    features = compute(bars, study.feature_set, **given).sort("symbol", "session")
    return features, TARGETS[study.target].compute(bars, None).sort("symbol", "session")


def shuffled(labels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Every session's outcomes dealt anew among its symbols, each set of values together; rows keep their clocks."""
    own = [c for c in labels.columns if c not in ("symbol", "session", "label_start", "label_end")]
    dealt = labels.sort("session", "symbol").select(
        pl.struct(own).shuffle(seed=seed).over("session").alias("_")
    )
    return labels.sort("session", "symbol").drop(own).hstack(dealt.unnest("_")).select(labels.columns)


def skill(market: SimulatedMarket, study: StudySpec, folder, *, shuffle: bool) -> Score:
    """Rank IC of three months after a fold, against what really came."""
    features, labels = tables(market, study)
    taught = shuffled(labels, seed=5) if shuffle else labels
    first = date.fromisoformat(FOLD)
    known = features.select("symbol", "session").with_columns(
        n_valid=pl.lit(1, pl.Int32), knowledge_time=pl.col("session").cast(CLOCK)
    )
    plan = WalkForward(min_train=study.folds.min_train, embargo=study.folds.embargo)
    fold = plan.fold(FOLD, START)
    rows, _ = training_rows(
        known.filter(pl.col("session") < first),
        taught.filter(pl.col("label_end") < first).with_columns(
            knowledge_time=pl.col("label_end").cast(CLOCK)
        ),
        plan,
        fold,
        stride=study.train_stride,
        horizon=study.settled_after,
    )
    names = study.feature_names
    setting = Setting(names, "small", study.validation_sessions, study.folds.embargo, study.seed)
    windows = windows_for(rows, features, names, study.window)
    fit = replace(study.fit, members=tuple(m for m in study.fit.members if not m.baseline), fine_tune=())
    trials = TrialLedger(folder / "trials.jsonl")
    fitted = fit_study(fit, windows, setting, ledger=FitLedger(FOLD), trials=trials)
    decided = features.filter(month_expr().is_in(MONTHS)).select("symbol", "session")
    test = windows_for(decided, features, names, study.window)
    context = pl.DataFrame({n: test.matrix[test.row, names.index(n)] for n in study.task.context})
    position = [names.index(n) for n in fitted.names]
    values = fitted.combine(
        fitted.member_values(replace(test, matrix=np.ascontiguousarray(test.matrix[:, position])))
    )
    scored = decided.hstack(study.task.publish(values, context).select("score")).join(
        labels.select("symbol", "session", "forward_return"), on=["symbol", "session"]
    )
    daily = rank_ic_by_session(scored, min_symbols=10)
    return rank_ic(daily, Bootstrap(seed=1, horizon=study.horizon))


@pytest.mark.parametrize("name", RANKED)
def test_a_study_that_learns_shuffled_targets_knows_nothing(market: SimulatedMarket, name: str, tmp_path):
    score = skill(market, STUDIES[name], tmp_path, shuffle=True)
    assert score.sessions > 40
    assert not score.excludes(0.0), score


@pytest.mark.parametrize("name", ["mamba_forecast", "direction"])
def test_the_same_fold_with_the_markets_own_targets_shows_the_signal(
    market: SimulatedMarket, name: str, tmp_path
):
    score = skill(market, STUDIES[name], tmp_path, shuffle=False)
    assert score.low is not None
    assert score.low > 0.0, score
