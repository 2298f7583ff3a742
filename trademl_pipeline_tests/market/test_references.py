"""Reference series: where they come from, their clock, the map of sectors, and the simulated market's own."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.market import FileSource, UniverseError
from trademl_pipeline.market.calendar import close_utc
from trademl_pipeline.market.index_builder import IndexSpec
from trademl_pipeline.market.references import (
    kind_of,
    reference_rows,
    sector_map,
    shares_file,
    split_references,
    synthetic_rows,
)
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import REFERENCE_BARS

NOW = datetime(2026, 1, 5, tzinfo=UTC)
MONTH = "2015-03-01"


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(seed=5, n_symbols=12, epoch=date(2013, 1, 2), end=date(2015, 12, 31))


@pytest.fixture
def series(tmp_path: Path) -> FileSource:
    days = [date(2015, 3, 2), date(2015, 3, 3)]
    frame = pl.DataFrame(
        {
            "symbol": ["SPY", "SPY", "^VIX", "^VIX"],
            "date": days * 2,
            "open": [210.0, 211.0, 13.0, 14.0],
            "high": [212.0, 210.0, 13.0, 14.0],
            "low": [209.0, 209.0, 13.0, 14.0],
            "close": [211.0, 209.5, 13.0, 14.0],
            "volume": [1e8, 1e8, None, None],
        }
    )
    frame.write_parquet(tmp_path / "funds.parquet")
    return FileSource(tmp_path / "funds.parquet")


def test_kinds() -> None:
    assert [kind_of(s) for s in ("SPY", "XLK", "^VIX3M", "GLD")] == ["fund", "sector", "volatility", "fund"]


def test_a_file_of_series_needs_no_volume_and_loses_no_row(
    series: FileSource, market: SimulatedMarket
) -> None:
    rows = reference_rows(market, series, market.bars, MONTH)
    good, bad = split_references(rows, ingested_at=NOW)
    assert good.columns == list(REFERENCE_BARS.columns)
    assert good.select("symbol", "session", "kind", "volume").rows() == [
        ("SPY", date(2015, 3, 2), "fund", 1e8),
        ("^VIX", date(2015, 3, 2), "volatility", None),
        ("^VIX", date(2015, 3, 3), "volatility", None),
    ]
    assert bad["reason"].to_list() == ["high_too_low: high=210.0, open=211.0, close=209.5"]


def test_the_vix_is_known_a_quarter_after_the_close(series: FileSource, market: SimulatedMarket) -> None:
    good = split_references(reference_rows(market, series, market.bars, MONTH), ingested_at=NOW).good
    for name, lag in (("SPY", 0), ("^VIX", 15)):
        own = good.filter(pl.col("symbol") == name)
        for column in ("event_time", "knowledge_time"):
            assert (own[column] - close_utc(own["session"])).unique().to_list() == [timedelta(minutes=lag)]


def test_a_month_without_series_is_no_error(series: FileSource, market: SimulatedMarket) -> None:
    rows = reference_rows(market, series, market.bars, "2015-04-01")
    assert rows.is_empty()
    assert split_references(rows, ingested_at=NOW).good.columns == list(REFERENCE_BARS.columns)


def test_without_a_file_the_funds_among_the_bars_are_taken_with_the_clock_of_their_kind() -> None:
    close = close_utc(date(2015, 3, 2))
    bars = pl.DataFrame(
        {
            "symbol": ["AAPL", "SPY", "^VIX"],
            "session": [date(2015, 3, 2)] * 3,
            **{c: [1.0, 2.0, 3.0] for c in ("open", "high", "low", "close", "volume", "split_factor")},
            "dividend": [0.0] * 3,
            "adjusted": [False] * 3,
            "event_time": [close] * 3,
            "knowledge_time": [close] * 3,
            "source": ["x"] * 3,
        }
    )
    got = reference_rows(None, None, bars, MONTH)
    assert got.select("symbol", "knowledge_time").rows() == [
        ("SPY", close),
        ("^VIX", close + timedelta(minutes=15)),
    ]


def test_the_synthetic_index_is_made_of_names_only(market: SimulatedMarket) -> None:
    bars = market.bars.filter(pl.col("session").is_between(date(2015, 1, 20), date(2015, 3, 31)))
    fund = bars.filter(pl.col("symbol") == "SIM001").with_columns(pl.lit("SPY").alias("symbol"))
    fund = fund.with_columns(pl.col("close", "high", "low", "open") * 7)
    made = [
        synthetic_rows(frame, MONTH, 1234.0, spec=IndexSpec("equal"), ingested_at=NOW)
        for frame in (bars, pl.concat([bars, fund]))
    ]
    assert made[0].equals(made[1])
    assert made[0].columns == list(REFERENCE_BARS.columns)
    assert made[0]["session"].min() == date(2015, 3, 2)
    assert made[0]["close"][0] == pytest.approx(1234, rel=0.05)
    assert set(made[0].select("kind", "source").row(0)) == {"synthetic", "constituents:equal"}


def test_simulated_references_do_not_depend_on_what_is_asked(market: SimulatedMarket) -> None:
    other = SimulatedMarket(seed=5, n_symbols=2, epoch=date(2013, 1, 2), end=date(2015, 6, 30))
    whole = market.reference_bars()
    assert other.reference_bars().equals(whole.filter(pl.col("session") <= date(2015, 6, 30)))
    month = reference_rows(market, None, market.bars, MONTH)
    assert month["symbol"].n_unique() == 9
    assert split_references(month, ingested_at=NOW).quarantined.is_empty()
    third = SimulatedMarket(seed=6, n_symbols=12, epoch=date(2013, 1, 2), end=date(2015, 12, 31))
    assert not third.reference_bars().equals(whole)


def test_symbols_have_the_beta_they_were_drawn_with_and_move_with_their_sector() -> None:
    market = SimulatedMarket(seed=5, n_symbols=30)
    wide = market.reference_bars().pivot("symbol", index="session", values="close").sort("session")
    funds = {c: np.diff(np.log(wide[c].to_numpy())) for c in wide.columns[1:]}
    bars = market.bars.join(market.listings(), on="symbol")
    sectors = dict(sector_map(market).select("symbol", "sector").iter_rows())
    days = wide["session"].to_list()[1:]
    closer, betas = [], []
    for (name,), own in bars.group_by("symbol", maintain_order=True):
        own = own.sort("session")
        gross = own["split_factor"] * (own["close"] + own["dividend"]) / own["close"].shift(1)
        returns = dict(zip(own["session"], np.log(gross.to_numpy()), strict=True))
        held = np.array([returns.get(day, np.nan) for day in days])
        ok = np.isfinite(held)
        own_sector = np.corrcoef(held[ok], funds[sectors[str(name)]][ok])[0, 1]
        closer.append(
            own_sector - np.mean([np.corrcoef(held[ok], funds[f][ok])[0, 1] for f in set(sectors.values())])
        )
        betas.append(np.cov(held[ok], funds["SPY"][ok])[0, 1] / funds["SPY"][ok].var())
    assert np.mean(np.array(closer) > 0) > 0.9
    assert 0.7 < np.median(betas) < 1.2


def test_the_simulated_vix_foretells_volatility() -> None:
    market = SimulatedMarket(seed=5, n_symbols=2)
    wide = market.reference_bars().pivot("symbol", index="session", values="close").sort("session")
    returns = np.diff(np.log(wide["SPY"].to_numpy()))
    vix = wide["^VIX"].to_numpy()[:-1]
    ahead = np.array([returns[t : t + 21].std() * np.sqrt(252) * 100 for t in range(len(returns) - 21)])
    assert np.corrcoef(vix[: len(ahead)], ahead)[0, 1] > 0.5
    assert np.mean(vix) == pytest.approx(np.mean(ahead), rel=0.15)
    assert wide["^VIX3M"].std() < wide["^VIX"].std()


def test_sectors_of_real_names_change_when_they_did(series: FileSource) -> None:
    sectors = sector_map(None)
    assert sectors.filter(pl.col("symbol") == "META").drop("symbol").rows() == [
        ("XLK", date(1990, 1, 1)),
        ("XLC", date(2018, 9, 24)),
    ]
    assert "SPY" not in sectors["symbol"]


def test_a_map_of_ones_own_goes_first(series: FileSource, tmp_path: Path) -> None:
    path = tmp_path / "sectors.csv"
    path.write_text("symbol,sector,start_date\nMETA,XLK,\nACME,XLI,2010-01-04\n")
    sectors = sector_map(None, path)
    assert sectors.filter(pl.col("symbol") == "META").height == 1
    assert sectors.filter(pl.col("symbol") == "ACME").row(0) == ("ACME", "XLI", date(2010, 1, 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,fund\nA,XLK\n", ["no column sector", "fund"]),
        ("symbol,sector,start_date\nA,XLK,1/2/2010\n", ["1/2/2010", "YYYY-MM-DD"]),
        ("symbol,sector\nA,XLK\nA,XLF\n", ["names A twice"]),
        ("symbol,sector\n,XLF\n", ["without symbol"]),
    ],
)
def test_a_wrong_map_is_named(series: FileSource, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "sectors.csv"
    path.write_text(text)
    with pytest.raises(UniverseError) as error:
        sector_map(None, path)
    for word in [*words, "sectors.csv"]:
        assert word in str(error.value)
    with pytest.raises(UniverseError, match=r"none\.csv"):
        sector_map(None, tmp_path / "none.csv")


def test_shares(tmp_path: Path) -> None:
    path = tmp_path / "shares.csv"
    path.write_text("symbol,shares,start_date\nAAPL,5.9e9,2015-01-02\n")
    assert shares_file(path).row(0) == ("AAPL", 5.9e9, date(2015, 1, 2))
    path.write_text("symbol,shares\nAAPL,many\n")
    with pytest.raises(UniverseError, match="shares, a number"):
        shares_file(path)


@pytest.mark.real_data
def test_real_series(real_data: Path) -> None:
    source = FileSource(real_data / "etf_index_daily.parquet")
    good, bad = split_references(source.fetch(None, *source.span()), ingested_at=NOW)
    assert good.height + bad.height == 178_519
    assert sorted(bad["reason"].str.extract(r"^(\w+)").to_list()) == ["high_too_low", "low_too_high"]
    assert set(good.filter(pl.col("volume").is_null())["kind"]) == {"volatility"}
