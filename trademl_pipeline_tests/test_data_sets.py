from datetime import date
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline.data_sets import ROOT, DataSet, UsageError, month_key, month_range


def test_months_become_partition_keys():
    assert month_key("2016-02") == "2016-02-01"
    assert month_range("2016-01:2018-12") == ("2016-01-01", "2018-12-01")
    assert month_range("2016-01") == ("2016-01-01", "2016-01-01")


@pytest.mark.parametrize("text", ["2016", "2016-13", "2016-1", "January", "2016-01:x"])
def test_what_is_no_month_is_named(text):
    with pytest.raises(UsageError, match="is not a month"):
        month_range(text)


def test_a_range_that_runs_backwards_is_refused():
    with pytest.raises(UsageError, match="backwards"):
        month_range("2018-01:2016-01")


def test_data_sets_and_selections_never_share_a_folder(tmp_path: Path):
    file = tmp_path / "bars.parquet"
    other = tmp_path / "x" / "bars.parquet"
    folders = {
        DataSet().folder(),
        DataSet(symbols="20").folder(),
        DataSet(data=file).folder(),
        DataSet(data=file, symbols="20").folder(),
        DataSet(data=file, columns={"close": "Close"}).folder(),
        DataSet(data=other).folder(),
        DataSet(data=file, reference=other).folder(),
    }
    assert len(folders) == 7
    assert DataSet(data=file).folder() == DataSet(data=file).folder()


def test_the_environment_is_absolute_and_makes_its_folders(tmp_path: Path):
    environment = DataSet(home=tmp_path / "state").environment()
    assert environment["DAGSTER_HOME"] == str(ROOT)
    assert (ROOT / "dagster.yaml").exists()
    for part in ("dagster", "lake", "mlflow", "reports"):
        assert (tmp_path / "state" / part).is_dir()
    assert Path(environment["TRADEML_DAGSTER_STORAGE"]).is_absolute()


def test_the_reference_series_reach_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "funds.parquet"
    file.touch()
    monkeypatch.delenv("TRADEML_REFERENCE", raising=False)
    assert DataSet(home=tmp_path, reference=file).environment()["TRADEML_REFERENCE"] == str(file)
    assert "TRADEML_REFERENCE" not in DataSet(home=tmp_path).environment()
    with pytest.raises(UsageError, match=r"none\.parquet; --reference takes"):
        DataSet(home=tmp_path, reference=tmp_path / "none.parquet").environment()


def test_the_universe_reaches_the_environment_with_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TRADEML_UNIVERSE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("symbol\nAAPL\n")
    said = {
        name: DataSet(home=tmp_path, universe=name).environment().get("TRADEML_UNIVERSE")
        for name in ("", "SP500", "mine.csv")
    }
    assert said == {"": None, "SP500": "SP500", "mine.csv": str(tmp_path / "mine.csv")}


def test_data_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nothing\.parquet"):
        DataSet(data=tmp_path / "nothing.parquet", home=tmp_path).environment()


def daily(file: Path, weekdays_only: bool) -> Path:
    days = pl.select(session=pl.date_range(date(2022, 1, 1), date(2022, 3, 31))).filter(
        (pl.col("session").dt.weekday() <= 5) | (not weekdays_only)
    )
    days.with_columns(
        pl.lit("X").alias("symbol"),
        *(pl.lit(1.0).alias(c) for c in ("open", "high", "low", "close", "volume")),
    ).write_parquet(file)
    return file


@pytest.mark.parametrize(
    ("chosen", "calendar"),
    [
        ({}, "XNYS"),
        ({"source": "yahoo", "symbols": "AAPL", "universe": "TIER_1"}, "XNYS"),
        ({"source": "binance", "symbols": "BTCUSDT"}, "24/7"),
        ({"source": "alpaca", "symbols": "BTC/USD,ETH/USD"}, "24/7"),
        ({"source": "alpaca", "symbols": "AAPL"}, "XNYS"),
        ({"source": "yahoo", "symbols": "BTCUSDT", "universe": "CRYPTO_8"}, "24/7"),
    ],
)
def test_the_bars_tell_their_calendar(chosen, calendar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRADEML_CALENDAR", raising=False)
    assert DataSet(home=tmp_path, **chosen).environment()["TRADEML_CALENDAR"] == calendar


@pytest.mark.parametrize(("weekdays_only", "calendar"), [(True, "XNYS"), (False, "24/7")])
def test_a_file_that_goes_on_over_weekends_is_around_the_clock(
    weekdays_only, calendar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TRADEML_CALENDAR", raising=False)
    file = daily(tmp_path / "bars.parquet", weekdays_only)
    assert DataSet(home=tmp_path / "h", data=file).calendar() == calendar


def test_a_state_folder_keeps_its_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_CALENDAR", "24/7")
    DataSet(home=tmp_path).environment()
    monkeypatch.delenv("TRADEML_CALENDAR")
    assert DataSet(home=tmp_path).environment()["TRADEML_CALENDAR"] == "24/7"
    monkeypatch.setenv("TRADEML_CALENDAR", "XLON")
    with pytest.raises(UsageError, match=r"made on the calendar 24/7, but TRADEML_CALENDAR is XLON"):
        DataSet(home=tmp_path).environment()
