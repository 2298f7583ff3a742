"""What was once readable as known at t stays readable as known at t."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.market.calendar import close_utc, month_sessions
from trademl_pipeline.market.ingest.versions import Merged, Revisions, Scope, bars, bars_at, merge
from trademl_pipeline.tables import QUARANTINED_BARS, RAW_BARS
from trademl_pipeline.tables.bar_tables import BAR_VERSIONS, bar_tables
from trademl_pipeline_tests.past_the_gate import vouched

MONTH = "2016-03-01"
DAYS = month_sessions(MONTH)
TABLES = bar_tables()
FIRST_RUN = datetime(2016, 4, 1, 6, tzinfo=UTC)
EVERYTHING = Scope(None, DAYS[0], DAYS[-1])


def bar(symbol: str, day: int, close: float = 10.0, **other: Any) -> dict[str, Any]:
    event = close_utc(DAYS[day])
    return {
        "symbol": symbol,
        "session": DAYS[day],
        "open": close,
        "high": close + 1,
        "low": close - 1,
        "close": close,
        "volume": 100.0,
        "split_factor": 1.0,
        "dividend": 0.0,
        "adjusted": False,
        "event_time": event,
        "knowledge_time": event,
        "source": "test",
        **other,
    }


class History:
    """A month that is fetched again and again."""

    def __init__(self, revisions: Revisions = "first") -> None:
        self.revisions: Revisions = revisions
        self.bars, self.ledger = RAW_BARS.empty(), BAR_VERSIONS.empty()

    def fetch(
        self, rows: list[dict], at: datetime, scope: Scope = EVERYTHING, refused: list[dict] | None = None
    ) -> Merged:
        good = pl.DataFrame([{**row, "ingested_at": at} for row in rows], schema=RAW_BARS.polars_schema)
        merged = merge(
            good,
            stored=self.bars,
            ledger=self.ledger,
            refused=pl.DataFrame(refused or [], schema=QUARANTINED_BARS.polars_schema),
            scopes=[scope],
            tables=TABLES,
            month=MONTH,
            ingested_at=at,
            revisions=self.revisions,
        )
        self.bars = merged.bars
        self.ledger = pl.concat([self.ledger, merged.versions]).sort(BAR_VERSIONS.order)
        return merged

    def closes(self, at: datetime | None = None) -> dict[tuple[str, date], float]:
        return closes(bars_at(self.ledger, TABLES, at))

    def held(self, at: datetime) -> dict[tuple[str, date], float]:
        return closes(bars_at(self.ledger, TABLES, at, "ingested_at"))


def closes(frame: pl.DataFrame) -> dict[tuple[str, date], float]:
    return {(s, d): c for s, d, c in frame.select("symbol", "session", "close").iter_rows()}


def later(days: int) -> datetime:
    return FIRST_RUN + timedelta(days=days)


def test_the_same_bars_again_say_nothing_new():
    history = History()
    history.fetch([bar("A", 0), bar("A", 1)], FIRST_RUN)
    before = history.bars
    again = history.fetch([bar("A", 0), bar("A", 1, close=10.0 + 1e-6)], later(1))
    assert again.versions.is_empty()
    assert again.bars.equals(before)
    assert (again.new, again.restated, again.late, again.withdrawn) == (0, 0, 0, 0)


@pytest.mark.parametrize("revisions", ["first", "latest"])
def test_a_restated_value_is_a_new_version_and_the_old_one_stays(revisions: Revisions):
    history = History(revisions)
    history.fetch([bar("A", 0, 10.0), bar("A", 1, 11.0)], FIRST_RUN)
    merged = history.fetch([bar("A", 0, 10.5), bar("A", 1, 11.0)], later(3))
    assert merged.restated == 1
    key = ("A", DAYS[0])
    assert history.closes(close_utc(DAYS[0]))[key] == 10.0
    assert history.closes(later(3) - timedelta(microseconds=1))[key] == 10.0
    assert history.closes(later(3))[key] == 10.5
    assert closes(history.bars)[key] == (10.0 if revisions == "first" else 10.5)
    assert (history.bars["knowledge_time"] == history.bars["event_time"]).all()


def test_before_a_bar_is_known_it_is_not_there():
    history = History()
    history.fetch([bar("A", 0), bar("A", 1)], FIRST_RUN)
    assert list(history.closes(close_utc(DAYS[0]))) == [("A", DAYS[0])]
    assert history.closes(close_utc(DAYS[0]) - timedelta(seconds=1)) == {}
    assert bars_at(history.ledger, TABLES, close_utc(DAYS[1]), "ingested_at").is_empty()


def test_a_bar_that_comes_behind_its_successor_was_not_known_before():
    history = History()
    history.fetch([bar("A", 0), bar("A", 2)], FIRST_RUN)
    merged = history.fetch([bar("A", 0), bar("A", 1), bar("A", 2)], later(1))
    assert (merged.new, merged.late) == (0, 1)
    assert ("A", DAYS[1]) not in history.closes(later(1) - timedelta(seconds=1))
    assert ("A", DAYS[1]) in history.closes(later(1))
    assert ("A", DAYS[1]) not in closes(history.bars)


def test_the_next_bars_of_a_series_are_taken_at_their_sources_word():
    history = History()
    history.fetch([bar("A", 0)], FIRST_RUN)
    merged = history.fetch([bar("A", 0), bar("A", 1), bar("B", 0)], later(1))
    assert (merged.new, merged.late) == (2, 0)
    assert history.bars.height == 3


def test_a_bar_that_the_source_takes_back_is_withdrawn():
    history = History()
    history.fetch([bar("A", 0), bar("A", 1)], FIRST_RUN)
    merged = history.fetch([bar("A", 0)], later(1))
    assert merged.withdrawn == 1
    assert ("A", DAYS[1]) in history.closes(later(1) - timedelta(seconds=1))
    assert ("A", DAYS[1]) not in history.closes(later(1))
    assert ("A", DAYS[1]) in closes(history.bars)
    assert history.fetch([bar("A", 0)], later(2)).versions.is_empty()
    back = history.fetch([bar("A", 0), bar("A", 1)], later(3))
    assert back.restated == 1
    assert ("A", DAYS[1]) in history.closes(later(3))


def test_a_name_that_a_vendor_no_longer_has_keeps_its_history():
    history = History()
    history.fetch([bar("A", 0), bar("DELISTED", 0)], FIRST_RUN)
    assert history.fetch([bar("A", 0)], later(1)).withdrawn == 0
    assert ("DELISTED", DAYS[0]) in history.closes()


def test_a_bar_that_the_source_garbles_is_not_withdrawn():
    history = History()
    history.fetch([bar("A", 0), bar("A", 1)], FIRST_RUN)
    garbled = {
        **bar("A", 1),
        "close": float("nan"),
        "ingested_at": later(1),
        "reason": "not_finite",
        "row": 1,
    }
    assert history.fetch([bar("A", 0)], later(1), refused=[garbled]).withdrawn == 0


def test_what_was_not_asked_for_is_left_alone():
    for revisions in ("first", "latest"):
        history = History(revisions)
        history.fetch([bar("A", 0), bar("A", 5), bar("B", 0)], FIRST_RUN)
        history.fetch([bar("A", 5)], later(1), scope=Scope(("A",), DAYS[3], DAYS[-1]))
        assert set(closes(history.bars)) == {("A", DAYS[0]), ("A", DAYS[5]), ("B", DAYS[0])}
        assert set(history.closes()) == set(closes(history.bars))


def test_a_file_that_was_put_right_stands_as_it_says_now():
    history = History("latest")
    history.fetch([bar("A", 0, 1.0), bar("A", 1, 2.0)], FIRST_RUN)
    kept = history.bars.filter(pl.col("session") == DAYS[0])
    history.fetch([bar("A", 0, 1.0), bar("A", 2, 3.0)], later(1))
    assert closes(history.bars) == {("A", DAYS[0]): 1.0, ("A", DAYS[2]): 3.0}
    assert history.bars.filter(pl.col("session") == DAYS[0]).equals(kept)
    assert ("A", DAYS[1]) in history.closes(later(1) - timedelta(seconds=1))


def test_months_published_before_there_was_a_ledger_are_taken_into_it():
    history = History()
    history.fetch([bar("A", 0), bar("A", 1)], FIRST_RUN)
    history.ledger = BAR_VERSIONS.empty()
    history.fetch([bar("A", 0, 12.0), bar("A", 1)], later(1))
    assert history.closes(later(0))[("A", DAYS[0])] == 10.0
    assert history.closes(later(1))[("A", DAYS[0])] == 12.0


FETCHES = st.lists(
    st.dictionaries(st.tuples(st.sampled_from("AB"), st.integers(0, 3)), st.sampled_from([10.0, 11.0, 12.5])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15, deadline=None)
@given(fetches=FETCHES, revisions=st.sampled_from(["first", "latest"]))
def test_the_past_never_changes(fetches: list[dict[tuple[str, int], float]], revisions: Revisions):
    history, told = History(revisions), {}
    for number, rows in enumerate(fetches):
        history.fetch([bar(s, d, c) for (s, d), c in rows.items()], later(number))
        told[later(number)] = history.closes(later(number)), history.held(later(number))
        for moment, (known, held) in told.items():
            # A series may grow at its end by bars whose source says they were known before; nothing else may move.
            assert known.items() <= history.closes(moment).items()
            assert held == history.held(moment)
        assert history.bars.select(RAW_BARS.key).n_unique() == history.bars.height
        # What a row of the table claims to have been known, the ledger has as known no later.
        if revisions == "first":
            for row in history.bars.iter_rows(named=True):
                then = history.closes(row["knowledge_time"])
                assert then[(row["symbol"], row["session"])] == row["close"]


def test_reads_as_of_a_moment_come_from_the_lake(tmp_path):
    with Lake(LakeConfig.local(tmp_path)) as lake:
        history = History()
        for number, close in enumerate((10.0, 10.5)):
            merged = history.fetch([bar("A", 0, close), bar("B", 0, 7.0)], later(number))
            lake.publish_many(
                [vouched(RAW_BARS, merged.bars, MONTH)], append=[(BAR_VERSIONS, merged.versions)]
            )
        assert closes(bars(lake, as_of=later(0)))[("A", DAYS[0])] == 10.0
        now = bars(lake, symbols=["A"], months=(MONTH, MONTH))
        assert closes(now) == {("A", DAYS[0]): 10.5}
        assert now.columns == list(RAW_BARS.columns)
        assert closes(lake.read(RAW_BARS))[("A", DAYS[0])] == 10.0
        with pytest.raises(ValueError, match="no time zone"):
            bars(lake, as_of=datetime(2016, 4, 1))
        with pytest.raises(ValueError, match="'5min'"):
            bars(lake, timeframe="5min")
