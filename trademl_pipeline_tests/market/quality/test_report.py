"""The table of quality: counts and shares per check, rules by configuration, a month alone as in a range."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from trademl_pipeline.market import split_bars
from trademl_pipeline.market.calendar import month_range, month_sessions, offset
from trademl_pipeline.market.quality.checks import LOOKBACK
from trademl_pipeline.market.quality.report import (
    DEFAULT_RULES,
    DESCRIPTIONS,
    QualityRuleError,
    Rule,
    calendar_of,
    quality_of_months,
    rules_from,
)
from trademl_pipeline.tables import quality_table

NOW = datetime(2026, 1, 5, tzinfo=UTC)
MONTHS = month_range("2016-03-01", "2016-08-01")


def spoiled(bars: pl.DataFrame) -> pl.DataFrame:
    """A panel with something of everything, every few rows."""
    rows = bars.filter(pl.col("session").dt.year().is_in([2015, 2016])).with_row_index()
    turn = pl.col("index")
    rows = rows.with_columns(
        pl.when(turn % 97 == 0).then(pl.col("close") * 1.9).otherwise("close").alias("close"),
        pl.when(turn % 61 < 7).then(0.0).otherwise("volume").alias("volume"),
        pl.when(turn % 211 == 0).then(0.5).otherwise("high").alias("high"),
    )
    stuck = rows.with_columns(
        pl.when(turn % 61 < 7).then(None).otherwise(pl.col(c)).forward_fill().over("symbol").alias(c)
        for c in ("open", "high", "low", "close")
    )
    whole = stuck.filter(turn % 53 > 1).drop_nulls(["close"]).drop("index")
    # One name is away for longer than any gap.
    away = (pl.col("symbol") == pl.col("symbol").min()) & pl.col("session").is_between(
        date(2015, 12, 1), date(2016, 3, 10)
    )
    return whole.filter(~away)


def lines(report: pl.DataFrame) -> dict[str, dict]:
    return {row["check"]: row for row in report.iter_rows(named=True)}


def test_every_check_has_a_rule_and_a_description() -> None:
    assert set(DEFAULT_RULES) == set(DESCRIPTIONS)


def test_a_sound_month_passes_every_check(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(small_market, ingested_at=NOW)
    report = quality_of_months(good, bad, MONTHS)
    assert list(report) == MONTHS
    for month in report.values():
        assert month.schema == quality_table("raw_bars").polars_schema
        assert month["passed"].all()
        assert month["count"].sum() == 0
        assert set(month["check"]) == set(DEFAULT_RULES) - {
            "vendor_disagreement",
            "members_without_prices",
        }


def test_a_month_alone_is_the_month_of_a_range(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(spoiled(small_market), ingested_at=NOW)
    whole = quality_of_months(good, bad, MONTHS)
    assert sum(report["count"].sum() for report in whole.values()) > 200
    for month in MONTHS:
        start = offset(month_sessions(month)[0], -LOOKBACK)
        inside = pl.col("session").is_between(start, month_sessions(month)[-1])
        alone = quality_of_months(good.filter(inside), bad.filter(inside), [month])[month]
        assert alone.equals(whole[month]), month


def test_quarantined_rows_count_for_the_check_that_their_reason_says(small_market: pl.DataFrame) -> None:
    month = small_market.filter(pl.col("session").is_between(date(2016, 3, 1), date(2016, 3, 31)))
    rows = month.with_row_index()
    low = pl.col("index") == 3
    rows = rows.with_columns(
        pl.when(low).then(0.01).otherwise("high").alias("high"),
        pl.when(low | (pl.col("index") == 5)).then(float("nan")).otherwise("volume").alias("volume"),
    ).drop("index")
    good, bad = split_bars(pl.concat([rows, rows.slice(10, 2)]), ingested_at=NOW)
    assert bad.height == 4
    got = lines(quality_of_months(good, bad, ["2016-03-01"])["2016-03-01"])
    assert {c: got[c]["count"] for c in ("duplicates", "ohlc_order", "bad_rows")} == {
        "duplicates": 2,
        "ohlc_order": 1,
        "bad_rows": 2,
    }
    assert got["duplicates"]["rows"] == month.height + 2
    assert got["duplicates"]["severity"] == "ERROR"
    assert not got["duplicates"]["passed"]
    assert "duplicate: says the same" in got["duplicates"]["examples"]


def test_a_refused_row_without_a_date_counts_in_the_month_that_it_came_with(
    small_market: pl.DataFrame,
) -> None:
    month = small_market.filter(pl.col("session").is_between(date(2016, 3, 1), date(2016, 3, 31)))
    undated = month.head(2).with_columns(pl.lit(None, pl.Date).alias("session"))
    good, bad = split_bars(pl.concat([month, undated]), ingested_at=NOW)
    reports = quality_of_months(good, bad.with_columns(month=pl.lit("2016-03-01")), MONTHS[:2])
    assert [lines(reports[m])["bad_rows"]["count"] for m in MONTHS[:2]] == [2, 0]


def test_members_without_prices_show_a_history_of_survivors(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(small_market, ingested_at=NOW)
    days = month_sessions(MONTHS[0])
    membership_intervals = pl.DataFrame(
        {
            "symbol": [good.filter(pl.col("session") == days[0])["symbol"][0], "GONE"],
            "start_date": [date(2010, 1, 4), date(2010, 1, 4)],
            "end_date": [None, days[4]],
        },
        schema={"symbol": pl.String, "start_date": pl.Date, "end_date": pl.Date},
    )
    got = lines(
        quality_of_months(good, bad, MONTHS[:1], membership_intervals=membership_intervals)[MONTHS[0]]
    )["members_without_prices"]
    assert (got["rows"], got["count"], got["symbols"]) == (len(days) + 4, 4, 1)
    assert got["examples"].startswith(f"GONE {days[0]}: a member without a bar")


def test_a_limit_decides_what_passes(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(spoiled(small_market), ingested_at=NOW)
    share = lines(quality_of_months(good, bad, MONTHS)[MONTHS[0]])["zero_volume"]["share"]
    assert 0.05 < share < 0.3
    for limit, passes in ((share, True), (share * 0.99, False)):
        rules = {"zero_volume": Rule("WARN", limit)}
        report = quality_of_months(good, bad, MONTHS[:1], rules=rules)[MONTHS[0]]
        assert report.select("check", "limit", "passed").rows() == [("zero_volume", limit, passes)]


def test_a_second_source_is_compared_where_there_is_one(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(small_market, ingested_at=NOW)
    hit = (pl.col("symbol") == good["symbol"][0]) & (pl.col("session") == date(2016, 3, 8))
    other = good.with_columns(pl.when(hit).then(pl.col("close") * 1.1).otherwise("close").alias("close"))
    got = lines(quality_of_months(good, bad, MONTHS[:1], other=other)[MONTHS[0]])["vendor_disagreement"]
    assert got["count"] == 2
    assert "% here" in got["examples"]


def test_examples_are_few_and_the_largest_first(small_market: pl.DataFrame) -> None:
    good, bad = split_bars(spoiled(small_market), ingested_at=NOW)
    gaps = lines(quality_of_months(good, bad, MONTHS)[MONTHS[1]])["missing_sessions"]
    assert gaps["count"] > 5
    assert len(gaps["examples"].split("; ")) == 5
    counted = [int(example.split(": ")[1].split(" ")[0]) for example in gaps["examples"].split("; ")]
    assert counted == sorted(counted, reverse=True)
    assert counted[0] > 1


def test_the_calendar_is_told_by_the_weekends(small_market: pl.DataFrame) -> None:
    assert calendar_of(small_market) == "XNYS"
    sunday = small_market.head(1).with_columns(session=pl.lit(date(2016, 3, 13)))
    assert calendar_of(pl.concat([small_market.head(5), sunday])) == "24/7"


def test_rules_are_configured_by_check() -> None:
    assert rules_from(None) == rules_from("") == DEFAULT_RULES
    changed = rules_from('{"missing_sessions": "ERROR", "zero_volume": {"limit": 0.5}}')
    assert changed["missing_sessions"] == Rule("ERROR", DEFAULT_RULES["missing_sessions"].limit)
    assert changed["zero_volume"] == Rule("WARN", 0.5)
    assert changed["duplicates"] == DEFAULT_RULES["duplicates"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["not JSON", "quality.rules"]),
        ("[1]", ["maps checks"]),
        ('{"gaps": "WARN"}', ["'gaps'", "missing_sessions"]),
        ('{"missing_sessions": "FATAL"}', ["'FATAL'", "WARN or ERROR"]),
        ('{"missing_sessions": {"level": "WARN"}}', ["severity and limit"]),
        ('{"missing_sessions": {"limit": 3}}', ["share from 0 to 1"]),
        ('{"missing_sessions": {"limit": true}}', ["share from 0 to 1"]),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(text: str, words: list[str]) -> None:
    with pytest.raises(QualityRuleError) as error:
        rules_from(text)
    for word in words:
        assert word in str(error.value)
