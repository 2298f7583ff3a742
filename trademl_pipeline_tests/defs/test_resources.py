import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.resources import DataSetResource, LakeResource, resources
from trademl_pipeline.market import FileSource
from trademl_pipeline.settings import ROOT
from trademl_pipeline.simulation import SimulatedMarket


def test_bars_come_from_where_the_configuration_says(tmp_path: Path):
    assert isinstance(BarsResource(symbols="5").open(), SimulatedMarket)
    file = tmp_path / "bars.csv"
    file.write_text(
        "symbol,session,open,high,low,close,volume\nA,2016-03-01,1,1,1,1,1\nB,2016-03-01,1,1,1,1,1\n"
    )
    source = BarsResource(source="files", path=str(file)).open()
    assert isinstance(source, FileSource)
    assert source.symbols() == ["A", "B"]
    assert BarsResource(source="files", path=str(file), symbols="B").open().symbols() == ["B"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"source": "nowhere"}, "data.source"),
        ({"source": "files", "path": ""}, "data.path"),
        ({"revisions": "all"}, "ingest.revisions"),
        ({"source": "yahoo", "symbols": "20"}, "data.symbols"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, named):
    with pytest.raises(dg.Failure, match=named):
        BarsResource(**settings).open()


def test_catalog_and_data_path_are_one_value_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    assert LakeResource().open().config.catalog == f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}"
    moved = LakeResource(catalog="postgres:host=db dbname=lake", data_path="s3://bucket/prefix").open().config
    assert moved.kind == "postgres"
    assert moved.on_object_storage
    monkeypatch.setenv("TRADEML_LAKE__CATALOG", f"sqlite:{tmp_path / 'other.sqlite'}")
    assert LakeResource().open().config.catalog == f"sqlite:{tmp_path / 'other.sqlite'}"


def test_the_launchpad_shows_what_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    (tmp_path / "trademl.yaml").write_text(
        "data:\n  symbols: 20\n  calendar: XLON\nuniverse:\n  name: TIER_1\ntraining:\n  size: base\n  threads: 3\n"
        "ingest:\n  fetch: missing\ngate:\n  cutoffs: 5\nquality:\n  rules:\n    missing_sessions: ERROR\n"
        "references:\n  index_weighting: equal\n"
    )
    monkeypatch.setenv("TRADEML_TRAINING__REFIT", "quarter")
    bound = resources()
    assert bound["data_set"] == DataSetResource(
        calendar="XLON", size="base", refit="quarter", threads=3, fetch="missing"
    )
    assert bound["bars"].symbols == "20"
    assert bound["bars"].plain(bound["data_set"].calendar).calendar == "XLON"
    assert bound["gate"].cutoffs == 5
    assert bound["universe"].name == bound["quality"].universe == bound["references"].universe == "TIER_1"
    assert bound["quality"].plain("XLON").parsed()["missing_sessions"].severity == "ERROR"
    assert bound["references"].weighting == "equal"
    for name, resource in bound.items():
        for field, declared in type(resource).model_fields.items():
            assert declared.description, (name, field)


def test_a_tracking_server_with_a_password_stays_the_name_of_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEML_TRACKING__URI", "https://u:hush@mlflow")
    assert "hush" not in str(resources()["tracking"].model_dump())
    monkeypatch.setenv("TRADEML_TRACKING__URI", "https://mlflow")
    assert resources()["tracking"].uri == "https://mlflow"


@pytest.mark.slow
def test_processes_that_start_together_make_one_mlflow_store(tmp_path: Path):
    code = (
        "from trademl_pipeline.defs.resources import TrackingResource\n"
        "with TrackingResource().open().run('model_x', '2015-01-01', {}) as run: print('RUN', run.run_id)\n"
    )
    environment = {**os.environ, "TRADEML_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len({line for text in said for line in text.splitlines() if line.startswith("RUN")}) == 3
