"""Which bars the settings mean."""

from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline import settings
from trademl_pipeline.market import FileSource, UniverseError
from trademl_pipeline.market.universes import universe
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.sources import BarsFrom, open_source
from trademl_pipeline.pipeline.stores import lake_config
from trademl_pipeline.settings import SettingsError
from trademl_pipeline.simulation import SimulatedMarket


def said(home: Path, **values: object) -> settings.Settings:
    """Settings of a folder, with nothing exported."""
    return settings.load(home, {name.replace("__", "."): value for name, value in values.items()}, environ={})


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A month of two known symbols and one of its own, in columns with other names."""
    days = pl.select(day=pl.date_range(pl.date(2022, 1, 3), pl.date(2022, 1, 31)))
    names = pl.DataFrame({"Ticker": ["AAPL", "MSFT", "OWN"]})
    prices = [pl.lit(1.0).alias(c) for c in ("open", "high", "low", "close", "volume")]
    file = tmp_path / "bars.parquet"
    names.join(days, how="cross").rename({"day": "session"}).with_columns(prices).write_parquet(file)
    return file


def test_the_demo_is_the_simulated_market(tmp_path: Path):
    source = open_source(said(tmp_path, data__symbols="5"))
    assert isinstance(source, SimulatedMarket)
    with pytest.raises(SettingsError, match="none of 1h"):
        open_source(said(tmp_path), "1h")


def test_a_file_is_read_as_far_as_its_universe_goes(tmp_path: Path, bars: Path):
    values = {"data__source": "files", "data__path": bars, "data__columns": {"symbol": "Ticker"}}
    everything = open_source(said(tmp_path, **values))
    assert isinstance(everything, FileSource)
    assert everything.symbols() == ["AAPL", "MSFT", "OWN"]
    for name, symbols in (("MAG7", ["AAPL", "MSFT"]), ("ALL", ["AAPL", "MSFT", "OWN"])):
        assert open_source(said(tmp_path, **values, universe__name=name)).symbols() == symbols
    chosen = said(tmp_path, **values, universe__name="MAG7", data__symbols="OWN")
    assert open_source(chosen).symbols() == ["OWN"], "symbols that are named go before the universe's"
    with pytest.raises(UniverseError, match=r"no symbol of the universe CRYPTO_8"):
        open_source(said(tmp_path, **values, universe__name="CRYPTO_8"))


def test_a_vendor_is_asked_for_the_universe_and_for_references_beside_it(tmp_path: Path):
    chosen = said(tmp_path, data__source="yahoo", universe__name="MAG7", references__symbols="SPY,AAPL")
    assert BarsFrom.of(chosen).wanted().split(",") == [*universe("MAG7"), "SPY"]
    listed = said(tmp_path, data__source="binance", data__symbols="BTCUSDT,ETHUSDT")
    assert open_source(listed).symbols() == ["BTCUSDT", "ETHUSDT"]


def test_secrets_are_not_shown(tmp_path: Path):
    chosen = settings.load(
        tmp_path, {"data.source": "alpaca"}, environ={"APCA_API_KEY_ID": "key", "APCA_API_SECRET_KEY": "hush"}
    )
    plain = BarsFrom.of(chosen)
    assert plain.secret == "hush"
    assert "hush" not in repr(plain)


def test_lake_and_folders_lie_in_the_data_sets_own(tmp_path: Path):
    config = lake_config(said(tmp_path))
    assert (config.location, config.data_path) == (f"{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")
    remote = lake_config(
        said(tmp_path, lake__data_path="s3://b/p", s3__endpoint="minio:9000", s3__use_ssl=False)
    )
    assert remote.s3 is not None
    assert (remote.s3.endpoint, remote.s3.use_ssl, remote.s3.key_id) == ("minio:9000", False, None)
    moved = lake_config(said(tmp_path), catalog="sqlite:other.sqlite")
    assert moved.location == f"{tmp_path}/other.sqlite"
    assert (
        Artifacts(tmp_path).models("direction", "2016-01-01") == tmp_path / "models" / "direction" / "2016-01"
    )
