"""A download that was broken off goes on where it stopped."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.market.errors import EmptyMonthError, MarketError, VendorUnavailableError
from trademl_pipeline.market.ingest import staging
from trademl_pipeline.market.ingest.staging import Staged
from trademl_pipeline.simulation import SimulatedMarket

START, END = date(2016, 1, 1), date(2016, 3, 31)


class Remote:
    """A simulated market behind a network that can be cut."""

    name, calendar, delay, remote, revisions, batch = "remote", "XNYS", timedelta(0), True, "first", 2

    def __init__(self, market: SimulatedMarket, timeframe: str = "1Day") -> None:
        self.market, self.timeframe = market, timeframe
        self.calls: list[tuple[tuple[str, ...], date, date]] = []
        self.cut_after: int | None = None

    def symbols(self) -> list[str]:
        return self.market.symbols()[:5]

    def selection(self) -> list[str]:
        return self.symbols()

    def span(self) -> tuple[date, date]:
        return self.market.span()

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        if self.cut_after is not None and len(self.calls) >= self.cut_after:
            raise VendorUnavailableError("the network is gone")
        self.calls.append((tuple(symbols or ()), start, end))
        return self.market.fetch(symbols, start, end)


@pytest.fixture
def remote(small_market_source: SimulatedMarket) -> Remote:
    return Remote(small_market_source)


def test_a_range_is_fetched_in_pieces_and_served_by_month(remote: Remote, tmp_path: Path):
    staged = Staged(remote, tmp_path, START, END)
    told: list[tuple[int, int, str]] = []
    assert staged.download(lambda *said: told.append(said)) == 3
    assert [done for done, _, _ in told] == [0, 1, 2, 3]
    assert [len(symbols) for symbols, _, _ in remote.calls] == [2, 2, 1]
    month = staged.fetch(None, date(2016, 2, 1), date(2016, 2, 29))
    expected = remote.market.fetch(remote.symbols(), date(2016, 2, 1), date(2016, 2, 29))
    assert month.sort("symbol", "session").equals(expected.select(month.columns).sort("symbol", "session"))
    assert staged.fetch(remote.symbols()[:1], START, END)["symbol"].n_unique() == 1
    assert len(remote.calls) == 3


def test_what_was_fetched_before_the_network_went_is_not_fetched_again(remote: Remote, tmp_path: Path):
    remote.cut_after = 2
    with pytest.raises(VendorUnavailableError):
        Staged(remote, tmp_path, START, END).download()
    assert not list(tmp_path.rglob("*.partial"))
    remote.cut_after = None
    again = Staged(remote, tmp_path, START, END)
    assert again.download() == 1
    assert len({symbols for symbols, _, _ in remote.calls}) == len(remote.calls) == 3


def test_a_part_of_a_range_is_served_by_the_pieces_of_the_whole(remote: Remote, tmp_path: Path):
    Staged(remote, tmp_path, START, END).download()
    part = Staged(remote, tmp_path, date(2016, 2, 1), END)
    assert part.download() == 0
    assert part.span()[0] == date(2016, 2, 1)
    assert Staged(remote, tmp_path, START, END + timedelta(days=5)).download() == 3


def test_other_symbols_are_other_pieces(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Staged(remote, tmp_path, START, END).download()
    names = remote.symbols()
    monkeypatch.setattr(remote, "symbols", lambda: names[1:])
    assert Staged(remote, tmp_path, START, END).download() == 2


@pytest.mark.parametrize(("timeframe", "chunks"), [("1h", 3), ("1min", 9)])
def test_fine_bars_are_fetched_in_shorter_windows(
    small_market_source: SimulatedMarket, tmp_path: Path, timeframe: str, chunks: int
):
    remote = Remote(small_market_source, timeframe)
    assert Staged(remote, tmp_path, START, END).download() == chunks
    windows = sorted({(start, end) for _, start, end in remote.calls})
    assert windows[0][0] == START
    assert windows[-1][1] == END
    assert all(b[0] - a[1] == timedelta(days=1) for a, b in pairwise(windows))


def test_a_symbol_without_bars_is_told_and_not_asked_again(remote: Remote, tmp_path: Path, monkeypatch):
    fetch = remote.fetch
    names = remote.symbols()

    def nothing_of_the_last(symbols, start, end):
        frame = fetch(symbols, start, end)
        if names[-1] in symbols:
            raise EmptyMonthError("remote", start, end, None)
        return frame

    monkeypatch.setattr(remote, "fetch", nothing_of_the_last)
    staged = Staged(remote, tmp_path, START, END)
    assert staged.download() == 3
    assert names[-1] in staged.absent()
    assert names[0] not in staged.absent()
    assert staged.download() == 0
    with pytest.raises(EmptyMonthError):
        staged.fetch([names[-1]], START, END)


def test_pieces_go_when_they_are_published(remote: Remote, tmp_path: Path):
    staged = Staged(remote, tmp_path, START, END)
    with staged.lock():
        staged.download()
        staged.discard()
    assert not list(tmp_path.rglob("*.parquet"))
    assert staged.download() == 3


def test_two_runs_do_not_share_pieces(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staging, "_WAIT_SECONDS", 0)
    one, other = Staged(remote, tmp_path, START, END), Staged(remote, tmp_path, START, END)
    with one.lock(), pytest.raises(MarketError, match="another run"), other.lock():
        pass
    with other.lock():
        pass
