from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.leakage import AuditInputError, audit_features
from trademl_pipeline.leakage.feature_audit.clocks import CLOCKS, clocks_of
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline.leakage.tables import Axis
from trademl_pipeline_tests.leakage.panels import RETURN, bars, features, probes, rank_within_session

BARS = bars(4, 50, gaps=False)
DAYS = BARS["session"].unique().sort().to_list()
CUT = ["truncation", "perturbation"]
# S00 and S01 trade in Tokyo, S02 and S03 in New York.
IN_TOKYO = pl.col("symbol") < "S02"
OPENING = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
CLOSES = OPENING + pl.when(IN_TOKYO).then(pl.duration(hours=6)).otherwise(pl.duration(hours=21))


def decided(frame: pl.DataFrame = BARS) -> pl.DataFrame:
    return frame.with_columns(event_time=CLOSES, knowledge_time=CLOSES + pl.duration(minutes=1)).with_columns(
        decision_time=pl.col("knowledge_time") + pl.duration(minutes=4)
    )


def known(frame: pl.DataFrame = BARS, jitter: int = 0) -> pl.DataFrame:
    minutes = pl.Series(np.random.default_rng(1).integers(0, jitter + 1, frame.height))
    return frame.with_columns(event_time=CLOSES).with_columns(
        knowledge_time=pl.col("event_time") + pl.duration(minutes=minutes)
    )


def happened(frame: pl.DataFrame = BARS) -> pl.DataFrame:
    return frame.with_columns(event_time=CLOSES)


def new_york(sessions_back: int):
    """The return of New York's S02 at the session, or one before it, for every symbol."""

    def extract(frame: pl.DataFrame) -> pl.DataFrame:
        other = frame.filter(pl.col("symbol") == "S02").sort("session")
        days = frame.select(pl.col("session").unique().sort()).join(
            other.select("session", move=RETURN), on="session", how="left"
        )
        days = days.with_columns(pl.col("move").shift(sessions_back))
        return frame.select("symbol", "session").join(days, on="session", how="left")

    return extract


@pytest.mark.parametrize("clocked", [decided, known, happened], ids=["decision", "knowledge", "event"])
def test_tokyo_cannot_use_the_close_of_new_york_of_its_date(clocked):
    report = audit_features(new_york(0), clocked(), probes=CUT)
    assert probes(report) == set(CUT)
    assert {v.symbol for v in report.violations} <= {"S00", "S01"}
    assert "than its decision (06:0" in report.violations[0].detail
    for extract in (new_york(1), features(RETURN)):
        audit_features(extract, clocked(), probes=CUT).assert_clean()
    parts = report.coverage["truncation"]["parts"]
    assert [part["clock"][:2] for part in parts] == ["06", "21"]


@pytest.mark.parametrize("clocked", [decided, known])
def test_new_york_may_use_what_tokyo_did_on_its_date(clocked):
    def tokyo(frame: pl.DataFrame) -> pl.DataFrame:
        other = frame.filter(pl.col("symbol") == "S00").sort("session").select("session", move=RETURN)
        rows = frame.filter(~IN_TOKYO).select("symbol", "session")
        return rows.join(other, on="session", how="left")

    audit_features(tokyo, clocked(), probes=CUT).assert_clean()


def test_incremental_and_adjustment_are_asked_once_of_all_rows():
    report = audit_features(features(RETURN), decided(), warmup=3).assert_clean()
    assert "parts" not in report.coverage["incremental"]
    assert report.coverage["adjustment"]["cells"] == 2 * BARS.height


def test_ranks_across_exchanges_are_refused_for_the_earlier_one():
    report = audit_features(rank_within_session, known(), probes=["truncation"])
    assert {v.symbol for v in report.violations} <= {"S00", "S01"}
    audit_features(rank_within_session, known(BARS.filter(IN_TOKYO)), probes=CUT).assert_clean()


def of_source(name: str):
    def extract(frame: pl.DataFrame, **given: pl.DataFrame) -> pl.DataFrame:
        daily = given[name].group_by("session").agg(pl.col("level").last())
        return frame.select("symbol", "session").join(daily, on="session", how="left")

    return extract


@pytest.mark.parametrize(
    ("clock", "refused"),
    [
        ({}, True),
        ({"event_time": OPENING + pl.duration(hours=20)}, True),
        ({"knowledge_time": OPENING + pl.duration(hours=20)}, True),
        ({"decision_time": OPENING + pl.duration(hours=20)}, True),
        ({"knowledge_time": OPENING + pl.duration(hours=5)}, False),
    ],
)
def test_a_source_is_cut_by_the_decision_of_each_row(clock, refused):
    index = pl.DataFrame({"session": DAYS, "level": np.arange(50.0)}).with_columns(**clock)
    report = audit_features(of_source("index"), decided(), sources={"index": index}, probes=["truncation"])
    assert {v.symbol for v in report.violations} <= {"S00", "S01"}
    assert report.passed is not refused


def test_a_source_by_symbol_is_known_with_the_bar_of_its_symbol():
    shares = BARS.select("symbol", "session", level=pl.col("close") * 2)

    def own(frame: pl.DataFrame, shares: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "session").join(shares, on=["symbol", "session"], how="left")

    audit_features(own, decided(), sources={"shares": shares}, probes=["truncation"]).assert_clean()


def late(frame: pl.DataFrame, hours: float) -> pl.DataFrame:
    bar = (pl.col("symbol") == "S03") & (pl.col("session") == DAYS[30])
    later = pl.col("knowledge_time") + pl.duration(minutes=int(hours * 60))
    return frame.with_columns(knowledge_time=pl.when(bar).then(later).otherwise("knowledge_time"))


@pytest.mark.parametrize("clocked", [decided, known])
@pytest.mark.parametrize("hours", [1.9, 30])
def test_a_delay_within_the_day_is_a_delay(clocked, hours):
    frame = late(clocked(), hours)
    assert Panel(frame).late == 1
    report = audit_features(features(RETURN), frame, probes=["truncation"])
    assert {(v.symbol, v.first_leak) for v in report.violations if v.column == "<rows>"} == {
        ("S03", DAYS[30])
    }


def test_minutes_of_jitter_and_a_change_of_the_clocks_are_no_delay():
    summer = pl.when(pl.col("session") > DAYS[20]).then(pl.duration(hours=1)).otherwise(pl.duration(hours=0))
    one = known(BARS.filter(~IN_TOKYO), jitter=20).with_columns(pl.col("knowledge_time") - summer)
    panel = Panel(one)
    assert panel.late == 0
    assert panel.by_clock() == [panel]
    audit_features(rank_within_session, one, probes=CUT, cutoffs=6).assert_clean()
    both = Panel(known(jitter=20))
    assert both.late == 0
    assert len(both.by_clock()) == 2


def test_a_holiday_of_one_exchange_makes_no_other_clock():
    frame = known().filter(~IN_TOKYO | ~pl.col("session").is_in(DAYS[10:13]))
    assert len(Panel(frame).by_clock()) == 2
    audit_features(features(RETURN), frame, probes=CUT, cutoffs=8).assert_clean()


def test_many_decisions_of_a_session_are_audited_by_the_widest_gaps():
    rng = np.random.default_rng(0)
    wide = bars(20, 12, gaps=False)
    opening = wide.with_columns(decision_time=OPENING + pl.duration(hours=20))
    frame = opening.with_columns(
        pl.col("decision_time") + pl.duration(seconds=pl.Series(rng.integers(0, 600, wide.height)))
    )
    panel = Panel(frame)
    assert 1 < len(panel.by_clock()) <= CLOCKS
    report = audit_features(features(RETURN), frame, probes=["truncation"]).assert_clean()
    assert 0 < report.coverage["truncation"]["parts"][0]["decisions_apart"] < 600


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12))
def test_every_row_is_decided_on_by_a_clock_that_never_goes_backwards(seed, symbols, exchanges):
    rng = np.random.default_rng(seed)
    frame = bars(symbols, 12, gaps=True).sort("symbol", "session")
    hours = rng.integers(0, exchanges, frame.height)
    frame = frame.with_columns(decision_time=OPENING + pl.duration(hours=pl.Series(hours)))
    axis = Axis(frame)
    clocks = clocks_of(frame, axis)
    assert (np.diff(clocks.decisions, axis=1) >= 0).all()
    own = clocks.decisions[clocks.of_row, axis.codes(frame)[1]]
    stated = frame["decision_time"].dt.replace_time_zone(None).to_physical().to_numpy()
    assert (own >= stated).all()
    assert (own == stated).all() or clocks.merged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit(None, pl.Datetime("us", "UTC")), "nulls; give each row its decision"),
        (pl.col("session"), "must be a Datetime"),
        (
            pl.lit(date(2019, 1, 1)).cast(pl.Datetime("us")) - (OPENING - OPENING.min()),
            "before the session that goes",
        ),
    ],
)
def test_decisions_that_cannot_be_are_an_error(change, message):
    with pytest.raises(AuditInputError, match=message):
        Panel(BARS.with_columns(decision_time=change))


SECTORS = pl.DataFrame({"symbol": ["S00", "S01", "S02", "S03"], "sector": [1.0, 1.0, 2.0, 2.0]})
FOUNDED = SECTORS.with_columns(founded=pl.Series([date(1950, 1, 1) + timedelta(days=i) for i in range(4)]))
BY_MONTH = pl.DataFrame({"month": ["2019-01", "2019-02", "2019-03"], "level": [1.0, 2.0, 3.0]})
UNDATED = {
    "sectors": (SECTORS, "without a time"),
    "founded": (FOUNDED, "one row for each symbol, whose only time, founded,"),
    "months in words": (BY_MONTH, "without a time"),
    "months as numbers": (BY_MONTH.with_columns(month=pl.Series([201901, 201902, 201903])), "without a time"),
    "years": (
        BY_MONTH.with_columns(month=pl.Series([2017, 2018, 2019])).rename({"month": "year"}),
        "without a time",
    ),
    "dates as text": (
        pl.DataFrame({"session": [str(d) for d in DAYS], "level": np.arange(50.0)}),
        "without a time",
    ),
    "months as dates": (
        BY_MONTH.with_columns(month=pl.Series([date(2019, m, 1) for m in (1, 2, 3)])),
        "month, names a period",
    ),
    "weights with a gap": (
        pl.DataFrame({"session": [None, *DAYS[1:]], "level": np.arange(50.0)}),
        "1 rows without a time",
    ),
}


@pytest.mark.parametrize("kind", UNDATED)
def test_a_source_that_does_not_say_when_it_was_known_is_not_audited(kind):
    frame, reason = UNDATED[kind]

    def extract(panel: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        return features(RETURN)(panel).with_columns(n=pl.lit(table.height))

    report = audit_features(extract, BARS, sources={"table": frame}, probes=["truncation"], cutoffs=2)
    assert not report.passed
    (named,) = report.unaudited
    assert named.startswith("table: ")
    assert reason in named
    trusted = audit_features(
        extract, BARS, sources={"table": frame}, probes=["truncation"], cutoffs=2, allow=["table"]
    )
    assert trusted.unaudited == ()
    assert trusted.coverage["truncation"]["vouched_for"] == ["table"]


@pytest.mark.parametrize("kind", UNDATED)
def test_a_table_that_an_extractor_holds_has_to_be_dated_too(kind):
    table, _ = UNDATED[kind]

    def extract(panel: pl.DataFrame) -> pl.DataFrame:
        return features(RETURN)(panel).with_columns(n=pl.lit(table.height))

    report = audit_features(extract, BARS, probes=["truncation"], cutoffs=2)
    assert not report.passed
    assert "table" in report.unaudited[0]


def test_a_value_of_a_day_is_not_known_within_it():
    hours = pl.datetime_ranges(pl.col("day"), pl.col("day") + pl.duration(hours=5), "1h")
    frame = (
        BARS.filter(IN_TOKYO, pl.col("session") < DAYS[12])
        .with_columns(day=pl.col("session").cast(pl.Datetime("us")) + pl.duration(hours=9))
        .with_columns(session=hours)
        .explode("session")
        .drop("day")
    )
    frame = frame.with_columns(close=pl.col("close") * (1 + 0.01 * pl.int_range(pl.len()).sin()))
    level = pl.DataFrame({"session": DAYS[:12], "level": np.arange(12.0)})

    def same_day(panel: pl.DataFrame, level: pl.DataFrame) -> pl.DataFrame:
        rows = panel.select("symbol", "session", date=pl.col("session").dt.date())
        return rows.join(level.rename({"session": "date"}), on="date", how="left").drop("date")

    def day_before(panel: pl.DataFrame, level: pl.DataFrame) -> pl.DataFrame:
        rows = panel.select("symbol", "session", date=pl.col("session").dt.date().dt.offset_by("-1d"))
        known = level.sort("session").rename({"session": "date"})
        return rows.sort("date").join_asof(known, on="date").drop("date")

    sources = {"level": level}
    assert probes(audit_features(same_day, frame, sources=sources, probes=["truncation"])) == {"truncation"}
    audit_features(day_before, frame, sources=sources, probes=["truncation"]).assert_clean()
