from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from trademl_pipeline.leakage import AuditInputError, audit_features
from trademl_pipeline.leakage.feature_audit.views import Panel
from trademl_pipeline_tests.leakage.panels import RETURN, bars, features, probes

BARS = bars(4, 60, gaps=False)
DAYS = BARS["session"].unique().sort().to_list()
CUT = ["truncation", "perturbation"]


def at(day: date, hours: float) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hours)


def clocked(hours: float, frame: pl.DataFrame = BARS) -> pl.DataFrame:
    opening = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(knowledge_time=opening + pl.duration(minutes=int(hours * 60)))


def restated(frame: pl.DataFrame, symbol: str, day: date, days_later: int) -> pl.DataFrame:
    bar = (pl.col("symbol") == symbol) & (pl.col("session") == day)
    later = pl.col("knowledge_time") + pl.duration(days=days_later)
    return frame.with_columns(knowledge_time=pl.when(bar).then(later).otherwise("knowledge_time"))


@pytest.mark.parametrize("hours", [21, 30, 60], ids=["at the close", "overnight", "two days later"])
def test_a_vendor_with_its_usual_delay_is_not_late(hours):
    panel = Panel(clocked(hours))
    assert panel.late == 0
    audit_features(features(RETURN), clocked(hours), probes=CUT, cutoffs=5).assert_clean()


def test_a_restated_bar_is_not_there_until_it_is_known():
    late = restated(clocked(21), "S01", DAYS[30], 14)
    panel = Panel(late)
    assert panel.late == 1
    known = next(i for i, d in enumerate(DAYS) if d >= DAYS[30] + timedelta(days=14))
    row = panel.axis.symbols.index("S01") * 60 + 30
    assert row not in panel.rows_at(known - 1)
    assert row in panel.rows_at(known)


def test_a_feature_made_of_a_restated_bar_is_refused():
    late = restated(clocked(21), "S01", DAYS[30], 14)
    report = audit_features(features(RETURN), late, probes=CUT)
    assert {(v.symbol, v.first_leak) for v in report.violations if v.column == "<rows>"} == {
        ("S01", DAYS[30])
    }
    assert "x0" in {v.column for v in report.violations if v.probe == "perturbation"}


def test_a_feature_that_waits_for_the_restatement_passes():
    late = restated(clocked(21), "S01", DAYS[30], 14)

    def patient(frame: pl.DataFrame) -> pl.DataFrame:
        closes = pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(hours=21)
        return features(RETURN)(frame.filter(pl.col("knowledge_time") <= closes))

    audit_features(patient, late, probes=CUT).assert_clean()


REPORTS = pl.DataFrame(
    {
        "symbol": [f"S{i:02d}" for i in range(4) for _ in range(3)],
        "session": [DAYS[k] for _ in range(4) for k in (2, 22, 42)],
        "earnings": [float(i + k) for i in range(4) for k in (1, 2, 5)],
    }
).with_columns(
    knowledge_time=pl.col("session").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    + pl.duration(days=10)
)


def joined_on(column: str):
    def extract(frame: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
        known = (
            reports.with_columns(on=pl.col(column).cast(pl.Date))
            .sort("on")
            .select("symbol", "on", "earnings")
        )
        return (
            frame.sort("session")
            .join_asof(known, left_on="session", right_on="on", by="symbol", check_sortedness=False)
            .select("symbol", "session", x="earnings")
        )

    return extract


def test_a_report_is_used_when_it_is_known_not_when_its_period_ends():
    report = audit_features(joined_on("session"), clocked(21), sources={"reports": REPORTS}, probes=CUT)
    assert probes(report) == set(CUT)
    audit_features(
        joined_on("knowledge_time"), clocked(21), sources={"reports": REPORTS}, probes=CUT
    ).assert_clean()


def test_sources_come_as_keywords_or_as_a_dictionary():
    extract = joined_on("knowledge_time")
    sources = {"reports": REPORTS}
    ways = [
        extract,
        lambda frame, given: extract(frame, given["reports"]),
        lambda frame, **given: extract(frame, given["reports"]),
    ]
    for way in ways:
        audit_features(way, clocked(21), sources=sources, probes=CUT, cutoffs=4).assert_clean()


INDEX = (
    BARS.group_by("session").agg(level=pl.col("close").mean(), traded=pl.col("volume").sum()).sort("session")
)


@pytest.mark.parametrize(("ahead", "refused"), [(0, set()), (1, set(CUT))])
def test_an_index_is_cut_with_the_bars(ahead, refused):
    def extract(frame: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        moved = index.sort("session").select(
            "session", x=pl.col("level").shift(-ahead) / pl.col("level").shift(1)
        )
        return frame.select("symbol", "session").join(moved, on="session")

    report = audit_features(extract, BARS, sources={"index": INDEX}, probes=CUT)
    assert probes(report) == refused


MEMBERSHIP_INTERVALS = pl.DataFrame(
    {
        "symbol": ["S00", "S01", "S02", "S03"],
        "start_date": [DAYS[0], DAYS[10], DAYS[0], DAYS[20]],
        "end_date": [None, None, DAYS[40], DAYS[50]],
    },
    schema_overrides={"end_date": pl.Date},
)


def membership(expression: pl.Expr):
    def extract(frame: pl.DataFrame, membership_intervals: pl.DataFrame) -> pl.DataFrame:
        return frame.join(membership_intervals, on="symbol", how="left").select(
            "symbol", "session", x=expression
        )

    return extract


def test_membership_as_of_today_passes_and_a_known_end_does_not():
    member = (pl.col("start_date") <= pl.col("session")) & (
        pl.col("end_date").is_null() | (pl.col("session") < pl.col("end_date"))
    )
    sources = {"membership_intervals": MEMBERSHIP_INTERVALS}
    audit_features(membership(member.fill_null(False)), BARS, sources=sources, probes=CUT).assert_clean()
    days_left = (pl.col("end_date") - pl.col("session")).dt.total_days()
    report = audit_features(membership(days_left), BARS, sources=sources, probes=CUT)
    assert probes(report) == {"truncation"}


def test_a_source_without_time_is_not_audited_unless_vouched_for():
    sectors = pl.DataFrame({"symbol": ["S00", "S01", "S02", "S03"], "sector": [1, 1, 2, 2]})

    def extract(frame: pl.DataFrame, sectors: pl.DataFrame) -> pl.DataFrame:
        return frame.join(sectors, on="symbol").select("symbol", "session", x="sector")

    report = audit_features(extract, BARS, sources={"sectors": sectors}, probes=CUT, cutoffs=3)
    assert not report.passed
    assert report.unaudited == ("sectors: a source without a time by which to cut it",)
    assert not report.to_frame().height
    report = audit_features(
        extract, BARS, sources={"sectors": sectors}, probes=CUT, cutoffs=3, allow=["sectors"]
    )
    assert report.passed
    assert report.coverage["truncation"]["static_sources"] == ["sectors"]


def test_a_source_whose_time_is_unclear_is_an_error():
    unclear = pl.DataFrame({"opened": DAYS, "closed": DAYS, "x": 1.0})
    with pytest.raises(AuditInputError, match="opened, closed"):
        audit_features(features(RETURN), BARS, sources={"unclear": unclear})
    with pytest.raises(AuditInputError, match="source 'list' is list"):
        audit_features(features(RETURN), BARS, sources={"list": []})


def test_news_of_the_evening_is_not_known_at_the_close():
    panel = clocked(21)
    news = pl.DataFrame(
        {"symbol": "S00", "event_time": [at(DAYS[20], 20.5), at(DAYS[40], 22.0)], "tone": [1.0, 2.0]}
    )

    def by_day(frame: pl.DataFrame, news: pl.DataFrame) -> pl.DataFrame:
        daily = news.select("symbol", "tone", session=pl.col("event_time").dt.date())
        return frame.select("symbol", "session").join(daily, on=["symbol", "session"], how="left")

    report = audit_features(by_day, panel, sources={"news": news}, probes=["truncation"])
    assert [v.first_leak for v in report.violations] == [DAYS[40]]


def test_a_delisting_date_that_lies_ahead_is_unknown():
    ends = pl.DataFrame({"symbol": ["S00", "S01"], "delisting_date": [DAYS[30], DAYS[40]]})
    dead = BARS.join(ends, on="symbol", how="left").filter(
        pl.col("delisting_date").is_null() | (pl.col("session") <= pl.col("delisting_date"))
    )

    def days_left(frame: pl.DataFrame) -> pl.DataFrame:
        left = (pl.col("delisting_date") - pl.col("session")).dt.total_days()
        return features(RETURN)(frame).with_columns(left=frame.select(left).to_series())

    report = audit_features(days_left, dead, probes=["truncation"])
    assert {v.column for v in report.violations} == {"left"}
    audit_features(features(RETURN), dead, probes=CUT, cutoffs=5).assert_clean()


def test_a_listing_is_known_from_its_day_and_its_end_not_before():
    listings = MEMBERSHIP_INTERVALS.rename({"start_date": "list_date", "end_date": "delist_date"})

    def extract(frame: pl.DataFrame, listings: pl.DataFrame) -> pl.DataFrame:
        gone = pl.col("delist_date").is_not_null() & pl.lit(ahead)
        return frame.join(listings, on="symbol", how="left").select("symbol", "session", x=gone.cast(pl.Int8))

    ahead = True
    assert not audit_features(extract, BARS, sources={"listings": listings}, probes=["truncation"]).passed
