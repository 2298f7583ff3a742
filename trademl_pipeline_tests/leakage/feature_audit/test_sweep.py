from datetime import date

import polars as pl
import pytest

from trademl_pipeline.leakage import audit_features
from trademl_pipeline.leakage.feature_audit import plans
from trademl_pipeline.leakage.feature_audit import probes as feature_probes
from trademl_pipeline.leakage.feature_audit.extractor import Extractor, View
from trademl_pipeline_tests.leakage.panels import CLOSE, RETURN, bars, features, probes, rank_within_session

BARS = bars(12, 120)
SLOW_EMA = CLOSE / CLOSE.ewm_mean(span=12) - 1


@pytest.fixture
def small_budget(monkeypatch):
    """Thresholds at which windows and groups are used on panels of test size."""

    def set_budget(exact: int, budget: int) -> None:
        monkeypatch.setattr(plans, "EXACT_ROWS", exact)
        monkeypatch.setattr(plans, "BUDGET_ROWS", budget)
        monkeypatch.setattr(plans, "BUDGET_TIMES", 0)
        monkeypatch.setattr(plans, "SMALL_BUDGET", budget)
        monkeypatch.setattr(feature_probes, "PERTURBATION_EXACT_ROWS", exact)
        monkeypatch.setattr(feature_probes, "PERTURBATION_BUDGET_ROWS", budget)
        monkeypatch.setattr(feature_probes, "PERTURBATION_BUDGET_TIMES", 0)

    return set_budget


def truncated(extract, **kwargs):
    report = audit_features(extract, BARS, probes=["truncation"], **kwargs)
    return report, report.coverage["truncation"]


def test_a_small_panel_is_computed_in_windows_that_lie_side_by_side():
    _, coverage = truncated(features(RETURN))
    assert coverage["window"] == 16
    assert coverage["calls"] <= 16
    # All but the three sessions that were looked at before, and the first with a value.
    assert coverage["side_by_side"] == 115
    assert coverage["cells"] == BARS.filter(pl.col("session") < BARS["session"].max()).height


def test_a_small_panel_is_computed_with_all_its_history_where_no_window_suffices():
    report, coverage = truncated(features(RETURN.cum_sum()))
    report.assert_clean()
    assert "window" not in coverage
    assert coverage["side_by_side"] == 115
    assert "looked_at_again" not in coverage


def test_a_declared_warmup_that_is_too_short_is_not_believed():
    report, coverage = truncated(features(SLOW_EMA), warmup=4)
    report.assert_clean()
    assert coverage.get("window", 120) > 4
    assert "looked_at_again" not in coverage


def test_an_extractor_that_mixes_symbols_has_a_call_for_each_session():
    report, coverage = truncated(rank_within_session)
    report.assert_clean()
    assert "side_by_side" not in coverage
    assert coverage["calls"] >= 119


DEAR = {
    "window": (features(RETURN.rolling_std(10)), 10),
    "undeclared window": (features(CLOSE / CLOSE.shift(12) - 1), None),
    "long memory": (features(RETURN.cum_sum()), None),
    "average of long memory": (features(CLOSE / CLOSE.ewm_mean(span=60)), None),
    "mixed symbols": (rank_within_session, None),
    "mixed symbols of long memory": (
        lambda b: features(RETURN.cum_sum())(b).with_columns(pl.col("x0").rank().over("session")),
        None,
    ),
}


@pytest.mark.parametrize("name", DEAR)
def test_an_audit_hands_over_less_than_sixty_times_the_bars(name, monkeypatch):
    extract, warmup = DEAR[name]
    frame, handed = bars(6, 84, gaps=False), []
    called = Extractor._output

    def counted(self: Extractor, view: View, where: str, *, fresh: bool = True) -> object:
        handed.append(view.bars.height)
        return called(self, view, where, fresh=fresh)

    monkeypatch.setattr(Extractor, "_output", counted)
    audit_features(extract, frame, warmup=warmup).assert_clean()
    assert sum(handed) < 60 * frame.height
    assert len(handed) < (130 if "mixed" in name else 40)


# Of one row alone, so that no sample shows that the extractor mixes symbols.
RARE = (pl.col("symbol") == "S06") & (pl.col("session") == date(2019, 5, 14))
POOLED = {
    "greatest of all": (CLOSE / pl.col("open")).max(),
    "least of all": (CLOSE / pl.col("open")).min(),
    "mean of all": RETURN.mean(),
    "share of all": CLOSE.rank() / pl.len(),
    "number of all": pl.len(),
    "last of all": CLOSE.last(),
    "next session's mean": pl.col("market").shift(-1).over("symbol"),
    "next row": RETURN.shift(-1),
}


@pytest.mark.parametrize("warmup", [None, 5])
@pytest.mark.parametrize("name", POOLED)
def test_one_row_that_pools_over_everything_does_not_hide_among_copies(name, warmup):
    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        ordered = frame.sort("symbol", "session").with_columns(market=RETURN.mean().over("session"))
        return ordered.select(
            "symbol", "session", x=pl.when(RARE).then(POOLED[name]).otherwise(RETURN.over("symbol"))
        )

    report, coverage = truncated(extract, warmup=warmup)
    assert coverage["side_by_side"] > 50
    assert [(v.symbol, v.first_leak) for v in report.violations] == [("S06", date(2019, 5, 14))]


def test_a_declared_warmup_makes_each_session_cheap(small_budget):
    small_budget(exact=0, budget=10**9)
    extract = features(RETURN.rolling_std(10), CLOSE / CLOSE.rolling_mean(20))
    report, coverage = truncated(extract, warmup=25)
    report.assert_clean()
    assert coverage["window"] == 25
    assert "looked_at_again" not in coverage
    assert coverage["bars_handed_over"] <= 26 * BARS.height
    assert coverage["cells"] == 2 * BARS.filter(pl.col("session") < BARS["session"].max()).height


def test_an_undeclared_window_is_looked_for(small_budget):
    small_budget(exact=0, budget=10**9)
    report, coverage = truncated(features(CLOSE / CLOSE.shift(12) - 1))
    report.assert_clean()
    assert coverage["window"] == 16


def test_a_feature_that_remembers_everything_is_given_everything(small_budget):
    small_budget(exact=0, budget=10**9)
    report, coverage = truncated(features(RETURN.cum_sum()))
    report.assert_clean()
    assert "window" not in coverage


def test_too_short_a_window_costs_a_second_look_and_refuses_nobody(small_budget):
    small_budget(exact=0, budget=10**9)
    report, coverage = truncated(features(SLOW_EMA), warmup=4)
    report.assert_clean()
    assert coverage["looked_at_again"] >= 3
    assert coverage.get("window", 120) > 4


def test_groups_take_turns_when_even_windows_are_too_dear(small_budget):
    small_budget(exact=0, budget=10_000)
    report, coverage = truncated(features(RETURN.rolling_std(10), CLOSE / CLOSE.ewm_mean(span=4)), warmup=55)
    report.assert_clean()
    assert coverage["window"] == 55
    assert coverage["groups"] > 2
    assert coverage["bars_handed_over"] < 40_000


def test_every_row_is_still_compared_once_when_groups_take_turns(small_budget):
    small_budget(exact=0, budget=2_000)
    _, coverage = truncated(features(RETURN), warmup=5)
    # The last session has nothing after it and is the only one that no cut-off tests.
    assert coverage["groups"] > 1
    assert coverage["cells"] >= BARS.filter(pl.col("session") < BARS["session"].max()).height


def test_an_extractor_that_mixes_symbols_is_never_split(small_budget):
    small_budget(exact=0, budget=10_000)
    report, coverage = truncated(rank_within_session, warmup=6)
    report.assert_clean()
    assert "groups" not in coverage


LEAKS = {
    "everywhere": features(RETURN.shift(-1)),
    "far ahead": features(CLOSE.shift(-20) / CLOSE - 1),
    "until the end": features(pl.len() - pl.int_range(pl.len())),
    "among symbols": lambda b: rank_within_session(b).with_columns(pl.col("x0").shift(-1).over("symbol")),
    "mean of the sample": features(RETURN - RETURN.mean()),
}


@pytest.mark.parametrize("budget", [10_000, 10**9])
@pytest.mark.parametrize("name", LEAKS)
def test_no_leak_hides_behind_windows_and_groups(small_budget, name, budget):
    small_budget(exact=0, budget=budget)
    report, _ = truncated(LEAKS[name], warmup=25)
    assert not report.passed


def test_windows_find_a_single_peek(small_budget):
    small_budget(exact=0, budget=10**9)
    rare = (pl.col("symbol") == "S06") & (pl.col("session") == date(2019, 5, 14))
    peek = pl.when(rare).then(RETURN.shift(-1)).otherwise(RETURN)
    report, coverage = truncated(features(peek, RETURN.rolling_std(5)), warmup=10)
    (violation,) = report.violations
    assert coverage["window"] == 10
    assert (violation.symbol, violation.first_leak, violation.count) == ("S06", date(2019, 5, 14), 1)


def test_a_peek_as_far_as_the_groups_are_many_is_always_found(small_budget):
    small_budget(exact=0, budget=2_000)
    for day in (14, 15, 16, 17, 20):
        rare = (pl.col("symbol") == "S06") & (pl.col("session") == date(2019, 5, day))
        peek = pl.when(rare).then(RETURN.shift(-12)).otherwise(RETURN)
        report, coverage = truncated(features(peek, RETURN), warmup=5)
        assert 1 < coverage["groups"] <= 12
        assert [v.symbol for v in report.violations] == ["S06"]


def test_the_sweep_ends_when_every_feature_is_refused():
    _, coverage = truncated(features(RETURN.shift(-1)))
    assert coverage["ended_early"] < "2019-02-01"
    _, coverage = truncated(features(RETURN.shift(-1), RETURN))
    assert "ended_early" not in coverage


def test_made_up_futures_find_a_filter_that_fired_once(small_budget):
    small_budget(exact=0, budget=10**9)
    crash = features((CLOSE.shift(-1) < 0.7 * CLOSE).cast(pl.Int8), RETURN)
    report = audit_features(crash, BARS, probes=["perturbation"], warmup=5)
    assert {v.column for v in report.violations} == {"x0"}


def test_made_up_futures_clear_clean_features_in_windows_and_groups(small_budget):
    small_budget(exact=0, budget=20_000)
    for extract in (features(RETURN.rolling_std(10), SLOW_EMA), rank_within_session):
        report = audit_features(extract, BARS, probes=["perturbation"], warmup=30)
        report.assert_clean()


def test_the_wrong_probe_does_not_take_the_credit(small_budget):
    small_budget(exact=0, budget=10**9)
    report = audit_features(LEAKS["until the end"], BARS, probes=["truncation", "perturbation"], warmup=5)
    assert probes(report) == {"truncation"}
