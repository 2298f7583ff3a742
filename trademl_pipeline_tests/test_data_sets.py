from datetime import date
from pathlib import Path

import polars as pl
import pytest

from trademl_pipeline import data_sets, settings
from trademl_pipeline.data_sets import DataSet, UsageError, month_key, month_range
from trademl_pipeline.settings import FILE, SettingsError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that are derived from words lie in a temporary one, and nothing is exported."""
    for name in ("HOME", "REFERENCE", "UNIVERSE", "CALENDAR", "SOURCE", "SYMBOLS", "MEMBERSHIP"):
        monkeypatch.delenv(f"TRADEML_{name}", raising=False)
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setattr(data_sets, "DATA_FOLDER", folder)
    return folder


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
        DataSet(data=file, universe="TIER_1").folder(),
        DataSet(data=file, universe="MAG7").folder(),
        DataSet(data=file, columns={"close": "Close"}).folder(),
        DataSet(data=other).folder(),
        DataSet(data=file, reference=other).folder(),
        DataSet(source="yahoo", universe="TIER_1").folder(),
        DataSet(source="yahoo", universe="TIER_1", reference=other).folder(),
        DataSet(source="yahoo", symbols="AAPL").folder(),
        DataSet(source="yahoo", symbols="MSFT").folder(),
        DataSet(source="alpaca", universe="TIER_1").folder(),
    }
    assert len(folders) == 14
    assert DataSet(data=file).folder() == DataSet(data=file, start="2015-01-01", source="files").folder()


def test_the_demo_has_a_folder_of_its_own_name(elsewhere: Path):
    assert DataSet().folder() == DataSet(source="simulated").folder() == elsewhere / "simulated"


def test_a_universe_in_a_file_has_a_folder_with_a_plain_name(elsewhere: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("symbol\nAAPL\n")
    folder = DataSet(source="yahoo", universe=str(tmp_path / "mine.csv")).folder()
    assert folder.parent == elsewhere
    assert folder.name.startswith("yahoo-mine-")


def test_the_environment_names_a_folder_where_no_flag_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path / "exported"))
    assert DataSet().folder() == tmp_path / "exported"
    assert DataSet(home=tmp_path / "typed").folder() == tmp_path / "typed"


def test_a_new_data_set_is_a_file_folders_and_a_dagster_instance(tmp_path: Path):
    home = tmp_path / "state"
    environment = DataSet(home=home).environment()
    assert environment["TRADEML_HOME"] == str(home)
    assert environment["DAGSTER_HOME"] == str(home / "dagster")
    for part in ("dagster", "lake", "mlflow", "reports"):
        assert (home / part).is_dir()
    said = settings.load(home)
    assert (said.data.source, said.data.start, said.data.calendar) == ("simulated", "2013-01-01", "XNYS")
    instance = home / "dagster" / "dagster.yaml"
    assert "QueuedRunCoordinator" in instance.read_text()
    assert "base_dir" not in instance.read_text(), "what Dagster keeps lies beside it"
    instance.write_text("# mine\n")
    (home / FILE).write_text((home / FILE).read_text() + "training:\n  size: base\n")
    assert DataSet(home=home).make().training.size == "base"
    assert instance.read_text() == "# mine\n", "nothing a user wrote is written over"


def test_what_is_only_planned_writes_nothing(tmp_path: Path):
    said = DataSet(home=tmp_path / "h", start="2014-01-01").planned({"training.size": "base"})
    assert (said.data.start, said.training.size, said.calendar) == ("2014-01-01", "base", "XNYS")
    assert not (tmp_path / "h").exists()


def test_a_data_set_that_has_not_been_made_says_how_to(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        DataSet(home=tmp_path / "h", symbols="20", columns={"close": "Close"}).settings()
    assert str(tmp_path / "h") in str(caught.value)
    assert "trademl run --symbols 20 --column close=Close --home" in str(caught.value)
    assert not (tmp_path / "h").exists()


def test_a_folder_of_an_earlier_version_is_taken_over_by_its_words(tmp_path: Path):
    (tmp_path / "calendar").write_text("24/7\n")
    with pytest.raises(UsageError, match=r"made by an earlier version and has no trademl\.yaml.*trademl run"):
        DataSet(home=tmp_path).settings()
    assert DataSet(home=tmp_path).make().calendar == "24/7"
    assert DataSet(home=tmp_path).settings().calendar == "24/7"


def test_the_words_are_written_down_and_need_not_be_said_again(tmp_path: Path):
    file, funds = daily(tmp_path / "bars.parquet", weekdays_only=True), tmp_path / "funds.parquet"
    funds.touch()
    made = DataSet(data=file, symbols="20", reference=funds, home=tmp_path / "h").make()
    again = DataSet(home=tmp_path / "h").settings()
    for said in (made, again):
        assert (said.data.source, said.data.path, said.data.symbols) == ("files", str(file), "20")
        assert said.references.path == str(funds)
        assert (said.data.start, said.data.end) == ("2022-01-01", "2022-03-01")
    assert settings.origin("data.path", made).kind == "flag"
    assert settings.origin("data.path", again).kind == "file"
    with pytest.raises(SettingsError, match=r"made with data\.symbols 20, but --symbols is 30"):
        DataSet(home=tmp_path / "h", symbols="30").settings()


def test_the_reference_series_have_to_be_there(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none\.parquet; --reference takes"):
        DataSet(home=tmp_path / "h", reference=tmp_path / "none.parquet").make()
    assert not (tmp_path / "h").exists()


def test_a_universe_in_a_file_is_written_with_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("symbol\nAAPL\n")
    said = {
        name: DataSet(home=tmp_path / f"h{name}", universe=name).make().universe.name
        for name in ("", "TIER_1", "mine.csv")
    }
    assert said == {"": "", "TIER_1": "TIER_1", "mine.csv": str(tmp_path / "mine.csv")}
    with pytest.raises(UsageError, match=r"universe\.membership"):
        DataSet(home=tmp_path / "other", universe="SP500").make()


def test_a_study_gives_a_new_data_set_of_a_file_its_universe_and_no_other_folder(tmp_path: Path):
    file = daily(tmp_path / "bars.parquet", weekdays_only=True)
    words = DataSet(data=file)
    assert words.make(universe="TIER_1").universe.name == "TIER_1"
    assert words.make(universe="PATTERN_34").universe.name == "TIER_1", "the file decides from then on"
    assert words.settings().home == words.folder()
    crypto = DataSet(data=daily(tmp_path / "pairs.parquet", weekdays_only=False))
    assert crypto.make(universe="TIER_1").universe.name == "CRYPTO_8"
    listed = DataSet(data=file, symbols="X")
    assert listed.make(universe="TIER_1").universe.name == ""
    everyone = DataSet(data=file, universe="ALL")
    assert everyone.make(universe="TIER_1").universe.name == "ALL"
    assert DataSet().make(universe="TIER_1").universe.name == "", "the simulated market trades all it has"


def test_data_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nothing\.parquet"):
        DataSet(data=tmp_path / "nothing.parquet", home=tmp_path).make()


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
        ({"source": "yahoo", "universe": "TIER_1"}, "XNYS"),
        ({"source": "binance", "symbols": "BTCUSDT"}, "24/7"),
        ({"source": "alpaca", "symbols": "BTC/USD,ETH/USD"}, "24/7"),
        ({"source": "alpaca", "symbols": "AAPL"}, "XNYS"),
        ({"source": "yahoo", "universe": "CRYPTO_8"}, "24/7"),
    ],
)
def test_the_bars_tell_their_calendar(chosen, calendar, tmp_path: Path):
    words = DataSet(home=tmp_path, start="2015-01-01", **chosen)
    assert words.planned().calendar == words.make().calendar == calendar


@pytest.mark.parametrize(("weekdays_only", "calendar"), [(True, "XNYS"), (False, "24/7")])
def test_a_file_that_goes_on_over_weekends_is_around_the_clock(weekdays_only, calendar, tmp_path: Path):
    file = daily(tmp_path / "bars.parquet", weekdays_only)
    assert DataSet(home=tmp_path / "h", data=file).planned().calendar == calendar


def test_a_state_folder_keeps_its_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_CALENDAR", "24/7")
    DataSet(home=tmp_path).make()
    monkeypatch.delenv("TRADEML_CALENDAR")
    assert DataSet(home=tmp_path).make().calendar == "24/7"
    monkeypatch.setenv("TRADEML_CALENDAR", "XLON")
    with pytest.raises(SettingsError, match=r"made on the calendar 24/7, but TRADEML_CALENDAR is XLON"):
        DataSet(home=tmp_path).make()


def test_history_grows_at_both_ends_and_never_shrinks(tmp_path: Path):
    words = DataSet(home=tmp_path, start="2014-01-01")
    data_sets.move_end(words.make(), "2015-06-01")
    assert settings.load(tmp_path).data.end == "2015-06-01"
    data_sets.move_end(words.make(), "2015-03-01")
    assert settings.load(tmp_path).data.end == "2015-06-01"
    later = DataSet(home=tmp_path, start="2014-06-01").make()
    assert later.data.start == "2014-06-01", "for this command"
    assert settings.load(tmp_path).data.start == "2014-01-01"
    DataSet(home=tmp_path, start="2013-06-01").make()
    assert settings.load(tmp_path).data.start == "2013-06-01"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"source": "nasdaq"}, "no source 'nasdaq'"),
        ({"source": "files"}, "needs --data"),
        ({"source": "yahoo", "data": Path("x.csv")}, "leave one of the two out"),
        ({"universe": "MAG7", "symbols": "A"}, "leave one of the two out"),
    ],
)
def test_words_that_do_not_go_together_are_said(chosen, message):
    with pytest.raises(UsageError, match=message):
        DataSet(**chosen)


def test_a_vendor_brings_its_references_unless_a_file_of_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def made(name: str, **chosen: str) -> settings.Settings:
        return DataSet(home=tmp_path / name, start="2015-01-01", **chosen).make()  # pyright: ignore

    named = made("a", source="yahoo", symbols="AAPL,IBM")
    assert {"SPY", "XLK", "^VIX"} <= set(named.references.symbols.split(","))
    assert (named.data.symbols, named.universe.name) == ("AAPL,IBM", "AAPL,IBM,")
    tiered = made("b", source="alpaca", universe="TIER_1")
    assert "SPY" in tiered.references.symbols
    assert "^VIX" not in tiered.references.symbols
    assert (tiered.data.symbols, tiered.universe.name) == ("", "TIER_1")
    assert made("c", source="binance", symbols="BTCUSDT").references.symbols == ""
    monkeypatch.setenv("TRADEML_REFERENCE", str(tmp_path / "funds.parquet"))
    own = made("d", source="yahoo", symbols="AAPL")
    assert (own.references.symbols, own.universe.name) == ("", "")


def test_a_file_is_no_folder_to_keep_a_data_set_in(tmp_path: Path):
    (file := tmp_path / "bars.parquet").write_text("")
    with pytest.raises(UsageError, match=r"--home .*bars\.parquet is a file"):
        DataSet(home=file)
