"""Reference series: real ones beside the index, chained month by month, audited before they are there."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.lake import Lake
from trademl_pipeline.market import FileSource, fetch_month, split_bars
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, month_range
from trademl_pipeline.market.index_builder import build_index
from trademl_pipeline.market.sources import BarSource
from trademl_pipeline.pipeline import reference_bars as step
from trademl_pipeline.pipeline.gate import Sample
from trademl_pipeline.pipeline.months import Body
from trademl_pipeline.pipeline.quality_settings import Quality
from trademl_pipeline.pipeline.raw_bars import raw_bars_months
from trademl_pipeline.pipeline.references import References
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import QUARANTINED_REFERENCES, RAW_BARS, REFERENCE_BARS, SECTORS, quality_table
from trademl_pipeline_tests.past_the_gate import give
from trademl_pipeline_tests.pipeline.runs import done, lake_in, new_run, refused

FIRST, LAST = "2013-01-01", "2013-03-01"
MONTHS = month_range(FIRST, LAST)
SAMPLE = Sample(cutoffs=2, seed=0)


@dataclass(frozen=True)
class Run:
    """Bars and references of a lake of their own."""

    folder: Path
    source: BarSource = field(default_factory=lambda: SimulatedMarket(n_symbols=6))
    references: References = field(default_factory=References)

    def body(self) -> Body:
        market = self.source if isinstance(self.source, SimulatedMarket) else None
        return step.reference_bars_months(
            market, self.references, Quality(), self.lake(), new_run(), SAMPLE, DEFAULT_CALENDAR
        )

    def __call__(self, first: str, last: str) -> None:
        done("reference_bars", month_range(first, last), self.body())

    def with_bars(self, first: str, last: str) -> None:
        """Publish the bars of the source."""
        months = month_range(first, last)
        with raw_bars_months(self.source, self.lake(), new_run(), months, self.folder / "staging") as body:
            done("raw_bars", months, body)

    def lake(self) -> Lake:
        return lake_in(self.folder)


def with_bars(run: Run) -> Run:
    """The lake with the simulated bars published, without the step that does it."""
    store = run.lake()
    for month in MONTHS:
        good = split_bars(fetch_month(run.source, month), ingested_at=datetime(2026, 1, 5, tzinfo=UTC)).good
        give(store, (RAW_BARS, good, month))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A lake with three months of six simulated symbols."""
    return with_bars(Run(tmp_path))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A lake with bars and references; no test here changes it."""
    made = with_bars(Run(tmp_path_factory.mktemp("filled")))
    made(FIRST, LAST)
    return made


@pytest.mark.slow
def test_the_simulated_market_brings_its_references_and_an_index_that_goes_on_from_month_to_month(
    filled: Run,
) -> None:
    lake = filled.lake()
    held = lake.read(REFERENCE_BARS)
    assert lake.months(REFERENCE_BARS) == MONTHS
    assert set(held["kind"]) == {"fund", "sector", "volatility", "synthetic"}
    spy = held.filter(pl.col("symbol") == "SPY").sort("session")
    own = SimulatedMarket(n_symbols=6).reference_bars().filter(pl.col("symbol") == "SPY")
    assert spy["close"].equals(own.filter(pl.col("session").is_in(spy["session"].implode()))["close"])
    index = held.filter(pl.col("symbol") == "^INDEX").sort("session")
    whole = build_index(lake.read(RAW_BARS))
    assert index["session"].equals(whole["session"])
    assert (index["close"] / whole["close"] - 1).abs().max() < 1e-12
    sectors = lake.read(SECTORS, months=[FIRST])
    assert sectors.height == 6
    assert set(sectors["sector"]) <= set(held["symbol"])
    for month in MONTHS:
        step.audit_reference_bars_month(
            filled.references, lake, month, SAMPLE, DEFAULT_CALENDAR
        ).assert_clean()


@pytest.mark.slow
def test_a_month_on_its_own_is_the_month_of_a_range_whatever_came_first(run: Run) -> None:
    lake = run.lake()
    run(LAST, LAST)
    alone = lake.data_version(REFERENCE_BARS, LAST)
    run(FIRST, LAST)
    assert lake.data_version(REFERENCE_BARS, LAST) == alone


@pytest.mark.slow
def test_an_index_with_other_weights_does_not_go_on_from_the_old_one(run: Run) -> None:
    run(FIRST, "2013-02-01")
    run = replace(run, references=References(weighting="equal"))
    run(LAST, LAST)
    late = run.lake().read(REFERENCE_BARS, months=[LAST], symbols=["^INDEX"])
    assert set(late["source"]) == {"constituents:equal"}
    run(FIRST, LAST)
    assert late.drop("ingested_at").equals(
        run.lake().read(REFERENCE_BARS, months=[LAST], symbols=["^INDEX"]).drop("ingested_at")
    )


def test_series_of_a_file_and_what_is_wrong_in_them(run: Run, tmp_path: Path) -> None:
    spy = SimulatedMarket(n_symbols=2).reference_bars()
    spy = spy.filter((pl.col("session").dt.year() == 2013) & pl.col("symbol").is_in(["SPY", "^VIX"]))
    first = spy["session"].min()
    wrong = pl.when((pl.col("session") == first) & (pl.col("symbol") == "SPY")).then(1.0).otherwise("high")
    columns = ["symbol", "session", "open", "high", "low", "close", "volume"]
    spy.with_columns(wrong.alias("high")).select(columns).write_parquet(tmp_path / "funds.parquet")
    run = replace(run, references=References(path=str(tmp_path / "funds.parquet")))
    run(FIRST, FIRST)
    held = run.lake().read(REFERENCE_BARS)
    assert set(held["symbol"]) == {"SPY", "^VIX", "^INDEX"}
    assert held.filter(pl.col("symbol") == "^VIX")["volume"].null_count() == 21
    bad = run.lake().read(QUARANTINED_REFERENCES)
    assert bad.select("symbol", "session").rows() == [("SPY", first)]
    counts = run.lake().read(quality_table("reference_bars")).filter(pl.col("count") > 0)
    assert counts.select("check", "count", "passed").sort("check").rows() == [
        ("missing_volume", 21, True),
        ("ohlc_order", 1, False),
    ]
    assert "high_too_low" in bad["reason"][0]


@pytest.mark.slow
def test_constituents_of_a_universe_as_of_the_day(run: Run, tmp_path: Path) -> None:
    membership_intervals = tmp_path / "spells.csv"
    membership_intervals.write_text(
        "symbol,start_date,end_date\nSIM000,2000-01-03,2013-02-01\nSIM001,2013-02-01,\n"
    )
    settings = {"universe": "SP500", "membership": str(membership_intervals), "weighting": "equal"}
    run = replace(run, references=References(**settings))
    run(FIRST, "2013-02-01")
    index = run.lake().read(REFERENCE_BARS, symbols=["^INDEX"])
    bars = run.lake().read(RAW_BARS)
    for month, name in ((FIRST, "SIM000"), ("2013-02-01", "SIM001")):
        own = bars.filter(pl.col("symbol") == name).with_columns(
            gross=pl.col("split_factor") * (pl.col("close") + pl.col("dividend")) / pl.col("close").shift(1)
        )
        both = index.with_columns(growth=pl.col("close") / pl.col("close").shift(1)).join(
            own.select("session", "gross"), on="session"
        )
        inside = both.filter(pl.col("session").dt.strftime("%Y-%m-01") == month).drop_nulls()
        assert inside.height > 15
        assert (inside["growth"] - inside["gross"]).abs().max() < 1e-12


def leaky(build: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """An index that is divided by its last close."""

    def of_the_end(*given: object, **named: object) -> pl.DataFrame:
        rows = build(*given, **named)
        return rows.with_columns(pl.col("open", "high", "low", "close") / pl.col("close").last() * 1000)

    return of_the_end


@pytest.mark.slow
def test_an_index_that_knows_its_end_is_refused_and_the_month_stays(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled.lake().data_version(REFERENCE_BARS, LAST)
    monkeypatch.setattr(step, "synthetic_rows", leaky(step.synthetic_rows))
    event = refused("reference_bars", LAST, filled.body())
    assert "refused by the leakage gate" in event.reason
    assert filled.lake().data_version(REFERENCE_BARS, LAST) == before


@pytest.mark.slow
def test_bars_of_names_alone_have_an_index_and_no_series(run: Run) -> None:
    columns = ["symbol", "session", "open", "high", "low", "close", "volume"]
    bars = run.lake().read(RAW_BARS).with_columns(pl.col("symbol").str.replace("SIM", "X"))
    bars.select(columns).write_parquet(run.folder / "names.parquet")
    files = replace(
        run,
        folder=run.folder / "files",
        source=FileSource(str(run.folder / "names.parquet")),
    )
    files.with_bars(FIRST, FIRST)
    files(FIRST, FIRST)
    assert set(files.lake().read(REFERENCE_BARS)["symbol"]) == {"^INDEX"}
    assert files.lake().read(quality_table("reference_bars"))["count"].sum() == 0
    assert SECTORS.name in files.lake().tables()


def test_a_month_without_bars_says_what_to_materialize(filled: Run) -> None:
    event = refused("reference_bars", "2013-04-01", filled.body())
    assert "raw_bars" in event.reason
    assert "2013-04" in event.reason


@pytest.mark.real_data
def test_the_real_series(tmp_path: Path, real_data: Path) -> None:
    """The index of real names and the real SPY over two months, from bars of three hundred of them."""
    run = Run(
        tmp_path,
        FileSource(str(real_data / "us_equities_daily.parquet"), max_symbols=300),
        References(path=str(real_data / "etf_index_daily.parquet")),
    )
    run.with_bars("2015-07-01", "2015-09-01")
    run("2015-07-01", "2015-09-01")
    held = run.lake().read(REFERENCE_BARS)
    assert held["symbol"].n_unique() == 59, "58 series, for XLC and XLRE came later, and the index"
    wide = held.pivot("symbol", index="session", values="close").sort("session")
    returns = wide.select(pl.col("^INDEX", "SPY").pct_change()).drop_nulls()
    assert returns.select(pl.corr("^INDEX", "SPY")).item() > 0.8
