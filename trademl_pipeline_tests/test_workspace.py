from pathlib import Path

import pytest

from trademl_pipeline.workspace import ROOT, DataSet, UsageError, month_key, month_range


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
