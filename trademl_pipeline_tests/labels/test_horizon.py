"""Where labels end: exchange sessions, halts, delistings and the end of the history."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trademl_pipeline.labels import LabelInputError
from trademl_pipeline.labels.horizon import Clock, at_horizon
from trademl_pipeline_tests.features.panels import weekdays

DAYS = [d.item() for d in weekdays(40)]


def panel(rows: dict[str, list[int]]) -> pl.DataFrame:
    """One row per symbol and session number; x is the session's number."""
    return pl.DataFrame(
        [(s, DAYS[t], float(t)) for s, at in sorted(rows.items()) for t in sorted(at)],
        schema={"symbol": pl.String, "session": pl.Date, "x": pl.Float64},
        orient="row",
    )


def test_a_horizon_counts_exchange_sessions_over_weekends() -> None:
    got = at_horizon(panel({"A": list(range(12))}), ["x"], 5)
    assert got["label_start"].to_list() == DAYS[:7]
    assert got["label_end"].to_list() == DAYS[5:12]
    assert got["x_end"].to_list() == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert not got["last_price"].any()


def test_a_halt_at_the_horizon_reads_the_last_price_and_says_so() -> None:
    got = at_horizon(panel({"A": list(range(12)), "B": [0, 1, 2, 6, 7]}), ["x"], 3).filter(
        pl.col("symbol") == "B"
    )
    assert got["x_end"].to_list() == [2.0, 2.0, 2.0, 7.0, 7.0]
    assert got["last_price"].to_list() == [True, True, True, True, True]
    again = at_horizon(panel({"A": list(range(12)), "B": [0, 1, 2, 3, 7]}), ["x"], 3).filter(
        pl.col("symbol") == "B"
    )
    assert again["last_price"].to_list() == [False, True, True, True, True]


def test_a_delisted_name_keeps_its_labels_with_its_last_price() -> None:
    got = at_horizon(panel({"A": list(range(20)), "B": list(range(8))}), ["x"], 5).filter(
        pl.col("symbol") == "B"
    )
    assert got["session"].to_list() == DAYS[:8]
    assert got["label_end"].to_list() == DAYS[5:13]
    assert got["x_end"].to_list() == [5.0, 6.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]
    assert got["last_price"].to_list() == [False] * 3 + [True] * 5


def test_labels_are_absent_where_the_history_ends() -> None:
    assert at_horizon(panel({"A": list(range(5))}), ["x"], 5).height == 0
    given_calendar = at_horizon(panel({"A": list(range(5))}), ["x"], 5, DAYS[:8])
    assert given_calendar["session"].to_list() == DAYS[:3]
    assert given_calendar["last_price"].to_list() == [True] * 3


def test_the_calendar_may_hold_sessions_without_any_trade() -> None:
    got = at_horizon(panel({"A": [0, 2, 3]}), ["x"], 2, DAYS[:4])
    assert got["label_end"].to_list() == [DAYS[2]]
    assert got["x_end"].to_list() == [2.0]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(LabelInputError, match="horizon is 0"):
        at_horizon(panel({"A": [0, 1]}), ["x"], 0)
    with pytest.raises(LabelInputError, match=r"calendar lacks 1 sessions of the panel, e\.g\. 2015-01-06"):
        at_horizon(panel({"A": [0, 1]}), ["x"], 1, [DAYS[0], DAYS[2]])


def test_an_empty_panel_has_no_labels() -> None:
    assert at_horizon(panel({}), ["x"], 3).height == 0


@settings(max_examples=80, deadline=None)
@given(
    rows=st.dictionaries(
        st.sampled_from("ABC"), st.sets(st.integers(0, 25), min_size=1), min_size=1, max_size=3
    ),
    horizon=st.integers(1, 12),
)
def test_any_panel(rows: dict[str, set[int]], horizon: int) -> None:
    frame = panel({s: list(at) for s, at in rows.items()})
    calendar = sorted(set().union(*rows.values()))
    got = {(r["symbol"], r["session"]): r for r in at_horizon(frame, ["x"], horizon).iter_rows(named=True)}
    for symbol, session, t in frame.iter_rows():
        index = calendar.index(int(t))
        if index + horizon >= len(calendar):
            assert (symbol, session) not in got
            continue
        end = calendar[index + horizon]
        last = max(u for u in rows[symbol] if u <= end)
        row = got[symbol, session]
        assert row["label_end"] == DAYS[end]
        assert row["x_end"] == last
        assert row["last_price"] == (last < end)


def test_clock_numbers_symbols_in_order() -> None:
    clock = Clock.of(panel({"A": [0, 1], "B": [1], "C": [0]}))
    assert clock.symbol.tolist() == [0, 0, 1, 2]
    assert clock.index.tolist() == [0, 1, 1, 0]
    assert clock.calendar.to_list() == [date(2015, 1, 5), date(2015, 1, 6)]
