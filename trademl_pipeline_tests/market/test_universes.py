"""Universes: the lists, membership as of a day, and errors that name what there is."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trademl_pipeline.market import UniverseError, members, universe
from trademl_pipeline.market.universes import (
    members_on,
    universe_calendar,
    universe_names,
)

MEMBERSHIP_INTERVALS = """symbol,start_date,end_date
OLD,1996-01-02,2010-03-01
BACK,1996-01-02,2001-05-01
BACK,2005-06-01,
NEW,2012-09-04,
"""


@pytest.fixture(scope="module")
def membership_intervals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("members") / "members.csv"
    path.write_text(MEMBERSHIP_INTERVALS)
    return path


@pytest.mark.parametrize(
    ("name", "size", "some"),
    [
        ("TEST", 3, "AAPL"),
        ("TIER_1", 50, "JPM"),
        ("MAG7", 7, "META"),
        ("PATTERN_34", 34, "SPY"),
        ("CRYPTO_8", 8, "BTCUSDT"),
        ("REFERENCES", 16, "^VIX"),
    ],
)
def test_the_lists_have_their_size_and_no_name_twice(name: str, size: int, some: str) -> None:
    got = universe(name)
    assert len(got) == len(set(got)) == size
    assert some in got
    assert name in universe_names()


def test_crypto_trades_around_the_clock_and_everything_else_with_new_york() -> None:
    assert universe_calendar("CRYPTO_8") == "24/7"
    assert universe_calendar("TIER_1") == universe_calendar("AAPL,MSFT") == "XNYS"


def test_a_fixed_list_has_no_name_before_it_traded() -> None:
    assert "META" not in universe("MAG7", as_of=date(2012, 5, 17))
    assert "META" in universe("MAG7", as_of=date(2012, 5, 18))
    with pytest.raises(UniverseError, match=r"no member on 2017-08-16.*2017-08-17"):
        universe("CRYPTO_8", as_of=date(2017, 8, 16))


def test_membership_is_that_of_the_day(membership_intervals: Path) -> None:
    asked = {
        day: universe("SP500", as_of=day, membership=membership_intervals)
        for day in (date(2000, 1, 3), date(2003, 1, 2))
    }
    assert asked == {date(2000, 1, 3): ["BACK", "OLD"], date(2003, 1, 2): ["OLD"]}
    # The end is the first day on which a name no longer belongs.
    assert "OLD" in universe("SP500", as_of=date(2010, 2, 28), membership=membership_intervals)
    assert "OLD" not in universe("SP500", as_of=date(2010, 3, 1), membership=membership_intervals)
    assert universe("SP500", membership=membership_intervals) == ["BACK", "NEW", "OLD"]


def test_members_know_no_end_that_lies_ahead(membership_intervals: Path) -> None:
    early = members("SP500", date(2000, 1, 1), date(2000, 12, 31), membership=membership_intervals)
    assert early["symbol"].to_list() == ["BACK", "OLD"]
    assert early["end_date"].to_list() == [None, None]
    later = members("SP500", date(2001, 1, 1), date(2010, 12, 31), membership=membership_intervals)
    assert later.rows() == [
        ("BACK", date(1996, 1, 2), date(2001, 5, 1)),
        ("BACK", date(2005, 6, 1), None),
        ("OLD", date(1996, 1, 2), date(2010, 3, 1)),
    ]


@given(st.dates(date(1995, 1, 1), date(2020, 1, 1)), st.integers(0, 3000), st.integers(0, 3000))
def test_members_of_a_range_are_those_of_its_days_whenever_it_is_asked(
    membership_intervals: Path, day: date, before: int, after: int
) -> None:
    start = date.fromordinal(day.toordinal() - before)
    end = date.fromordinal(day.toordinal() + after)
    on_the_day = members_on(members("SP500", start, end, membership=membership_intervals), [day])[
        "symbol"
    ].to_list()
    try:
        alone = universe("SP500", as_of=day, membership=membership_intervals)
    except UniverseError:
        alone = []
    assert on_the_day == alone


def test_sp500_says_what_to_set(membership_intervals: Path, tmp_path: Path) -> None:
    with pytest.raises(UniverseError, match=r"set universe\.membership in trademl\.yaml.* to a CSV"):
        universe("SP500")
    assert universe("SP500", as_of=date(2015, 1, 2), membership=membership_intervals) == ["BACK", "NEW"]
    with pytest.raises(UniverseError, match=r"no membership file .*none\.csv"):
        universe("SP500", membership=tmp_path / "none.csv")


def test_lists_of_ones_own(tmp_path: Path) -> None:
    assert universe("MSFT, AAPL,MSFT") == ["MSFT", "AAPL"]
    assert universe("AAPL,") == ["AAPL"]
    assert universe("ALL", known=["B", "A"]) == ["A", "B"]
    plain = tmp_path / "mine.txt"
    plain.write_text("# mine\nAAPL\n\nZM\n")
    assert universe(str(plain)) == ["AAPL", "ZM"]
    assert universe(str(plain), as_of=date(2018, 1, 2)) == ["AAPL"]
    dated = tmp_path / "mine.csv"
    dated.write_text(MEMBERSHIP_INTERVALS)
    assert universe(str(dated), as_of=date(2011, 1, 3)) == ["BACK"]


def test_universes_and_symbols_can_be_put_together(membership_intervals: Path) -> None:
    both = universe("MAG7, ZM,REFERENCES,AAPL")
    assert both[:8] == [*universe("MAG7"), "ZM"]
    assert both[8:] == universe("REFERENCES")
    later = universe("SP500,ZM", as_of=date(2003, 1, 2), membership=membership_intervals)
    assert later == ["OLD"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TIER1", ["TIER1", "did you mean TIER_1", "SP500", "CRYPTO_8"]),
        ("AAPL", ["'AAPL,'", "MAG7"]),
        ("ALL", ["source.symbols()"]),
        (" ,", ["no symbol"]),
        ("lists/mine.csv", ["no file", "mine.csv"]),
    ],
)
def test_an_unknown_universe_names_the_known_ones(name: str, words: list[str]) -> None:
    with pytest.raises(UniverseError) as error:
        universe(name)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no symbol"]),
        ("AAPL,2010-01-01\n", ["header", "AAPL,2010-01-01"]),
        ("symbol,start_date\nA,01/02/2010\n", ["start_date", "01/02/2010", "YYYY-MM-DD"]),
        ("symbol,start_date,end_date\nA,2010-01-04,2009-01-05\n", ["A leaves on 2009-01-05"]),
        ("symbol,start_date\n,2010-01-04\n", ["no symbol"]),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UniverseError) as error:
        universe(str(path))
    for word in [*words, "mine.csv"]:
        assert word in str(error.value)


def test_a_membership_without_dates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("symbol\nAAPL\n")
    with pytest.raises(UniverseError, match="no start_date"):
        universe("SP500", membership=path)
