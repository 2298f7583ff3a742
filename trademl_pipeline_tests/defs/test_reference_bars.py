"""Reference series as an asset: real ones beside the index, chained month by month, audited before they are there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.market import reference_bars as stage
from trademl_pipeline.defs.market.raw_bars import raw_bars
from trademl_pipeline.defs.market.reference_bars import audit_month, reference_bars
from trademl_pipeline.defs.quality import QualityResource
from trademl_pipeline.defs.references import ReferenceResource
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.lake import Lake
from trademl_pipeline.market import fetch_month, split_bars
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.market.index_builder import build_index
from trademl_pipeline.simulation import SimulatedMarket
from trademl_pipeline.tables import QUARANTINED_REFERENCES, RAW_BARS, REFERENCE_BARS, SECTORS, quality_table

FIRST, LAST = "2013-01-01", "2013-03-01"
MONTHS = month_range(FIRST, LAST)


@dataclass(frozen=True)
class Run:
    """Bars and references of a lake of their own."""

    folder: Path
    bars: BarsResource = field(default_factory=lambda: BarsResource(symbols="6"))
    references: ReferenceResource = field(default_factory=ReferenceResource)

    @property
    def stored(self) -> LakeResource:
        lake = self.folder / "lake"
        return LakeResource(catalog=f"sqlite:{lake / 'catalog.sqlite'}", data_path=str(lake / "data"))

    def __call__(self, asset: dg.AssetsDefinition, first: str, last: str) -> dg.ExecuteInProcessResult:
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        resources = {
            "bars": self.bars,
            "lake": self.stored,
            "references": self.references,
            "gate": GateResource(),
            "quality": QualityResource(),
        }
        return dg.materialize(
            [asset],
            resources={k: v for k, v in resources.items() if k in asset.required_resource_keys},
            tags=dict(zip(names, (first, last), strict=True)),
            raise_on_error=False,
        )

    def lake(self) -> Lake:
        return self.stored.open()


def said(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return result.get_step_failure_events()[0].step_failure_data.user_failure_data.description


def with_bars(run: Run) -> Run:
    """The lake with the simulated bars published, without the asset that does it."""
    store, source = run.lake(), run.bars.open()
    for month in MONTHS:
        good = split_bars(fetch_month(source, month), ingested_at=datetime(2026, 1, 5, tzinfo=UTC)).good
        store.publish(RAW_BARS, good, month)
    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A lake with three months of six simulated symbols."""
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    return with_bars(Run(tmp_path))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A lake with bars and references; no test here changes it."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADEML_HOME", str(folder))
        patch.delenv("TRADEML_MEMBERSHIP", raising=False)
        made = with_bars(Run(folder))
        assert made(reference_bars, FIRST, LAST).success
        yield made


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
        audit_month(lake, month).assert_clean()


def test_a_month_on_its_own_is_the_month_of_a_range_whatever_came_first(run: Run) -> None:
    lake = run.lake()
    assert run(reference_bars, LAST, LAST).success
    alone = lake.data_version(REFERENCE_BARS, LAST)
    assert run(reference_bars, FIRST, LAST).success
    assert lake.data_version(REFERENCE_BARS, LAST) == alone


def test_an_index_with_other_weights_does_not_go_on_from_the_old_one(run: Run) -> None:
    assert run(reference_bars, FIRST, "2013-02-01").success
    run = replace(run, references=ReferenceResource(weighting="equal"))
    assert run(reference_bars, LAST, LAST).success
    late = run.lake().read(REFERENCE_BARS, months=[LAST], symbols=["^INDEX"])
    assert set(late["source"]) == {"constituents:equal"}
    assert run(reference_bars, FIRST, LAST).success
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
    run = replace(run, references=ReferenceResource(path=str(tmp_path / "funds.parquet")))
    assert run(reference_bars, FIRST, FIRST).success
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "/nowhere/funds.parquet"}, ["/nowhere/funds.parquet"]),
        ({"weighting": "float"}, ["'float'", "cap, price, equal"]),
        ({"sectors": "/nowhere/sectors.csv"}, ["/nowhere/sectors.csv"]),
        ({"universe": "SP500"}, ["TRADEML_UNIVERSE__MEMBERSHIP"]),
        ({"universe": "TIER1"}, ["TIER_1"]),
    ],
)
def test_a_wrong_setting_is_named(filled: Run, settings: dict[str, str], words: list[str]) -> None:
    message = said(replace(filled, references=ReferenceResource(**settings))(reference_bars, FIRST, FIRST))
    for word in words:
        assert word in message


def test_constituents_of_a_universe_as_of_the_day(run: Run, tmp_path: Path) -> None:
    spells = tmp_path / "spells.csv"
    spells.write_text("symbol,start_date,end_date\nSIM000,2000-01-03,2013-02-01\nSIM001,2013-02-01,\n")
    settings = {"universe": "SP500", "membership": str(spells), "weighting": "equal"}
    run = replace(run, references=ReferenceResource(**settings))
    assert run(reference_bars, FIRST, "2013-02-01").success
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


def test_the_index_is_of_the_universe_that_one_decides_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRADEML_INDEX_UNIVERSE", "TRADEML_UNIVERSE"):
        monkeypatch.delenv(name, raising=False)
    assert ReferenceResource.from_environment().universe == ""
    monkeypatch.setenv("TRADEML_UNIVERSE", "SP500")
    assert ReferenceResource.from_environment().universe == "SP500"
    monkeypatch.setenv("TRADEML_INDEX_UNIVERSE", "ALL")
    assert ReferenceResource.from_environment().universe == "ALL"


def leaky(build: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """An index that is divided by its last close."""

    def of_the_end(*given: object, **named: object) -> pl.DataFrame:
        rows = build(*given, **named)
        return rows.with_columns(pl.col("open", "high", "low", "close") / pl.col("close").last() * 1000)

    return of_the_end


def test_an_index_that_knows_its_end_is_refused_and_the_month_stays(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled.lake().data_version(REFERENCE_BARS, LAST)
    monkeypatch.setattr(stage, "synthetic_rows", leaky(stage.synthetic_rows))
    message = said(filled(reference_bars, LAST, LAST))
    assert "refused by the leakage gate" in message
    assert filled.lake().data_version(REFERENCE_BARS, LAST) == before


def test_bars_of_names_alone_have_an_index_and_no_series(run: Run) -> None:
    columns = ["symbol", "session", "open", "high", "low", "close", "volume"]
    bars = run.lake().read(RAW_BARS).with_columns(pl.col("symbol").str.replace("SIM", "X"))
    bars.select(columns).write_parquet(run.folder / "names.parquet")
    files = replace(
        run,
        folder=run.folder / "files",
        bars=BarsResource(source="files", path=str(run.folder / "names.parquet")),
    )
    assert files(raw_bars, FIRST, FIRST).success
    assert files(reference_bars, FIRST, FIRST).success
    assert set(files.lake().read(REFERENCE_BARS)["symbol"]) == {"^INDEX"}
    assert files.lake().read(quality_table("reference_bars"))["count"].sum() == 0
    assert SECTORS.name in files.lake().tables()


def test_a_month_without_bars_says_what_to_materialize(filled: Run) -> None:
    message = said(filled(reference_bars, "2013-04-01", "2013-04-01"))
    assert "raw_bars" in message
    assert "2013-04" in message


@pytest.mark.real_data
def test_the_real_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Path) -> None:
    """The index of real names and the real SPY over two months, from bars of three hundred of them."""
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    run = Run(
        tmp_path,
        BarsResource(source="files", path=str(real_data / "us_equities_daily.parquet"), symbols="300"),
        ReferenceResource(path=str(real_data / "etf_index_daily.parquet")),
    )
    assert run(raw_bars, "2015-07-01", "2015-09-01").success
    assert run(reference_bars, "2015-07-01", "2015-09-01").success
    held = run.lake().read(REFERENCE_BARS)
    assert held["symbol"].n_unique() == 59, "58 series, for XLC and XLRE came later, and the index"
    wide = held.pivot("symbol", index="session", values="close").sort("session")
    returns = wide.select(pl.col("^INDEX", "SPY").pct_change()).drop_nulls()
    assert returns.select(pl.corr("^INDEX", "SPY")).item() > 0.8
