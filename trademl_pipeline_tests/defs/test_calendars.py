"""A data set that trades around the clock, from its bars to its report."""

import json
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.resources import resources
from trademl_pipeline.pipeline.artifacts import Artifacts
from trademl_pipeline.pipeline.fold import calendar_of
from trademl_pipeline.pipeline.report import report_inputs
from trademl_pipeline.pipeline.workspace import Workspace
from trademl_pipeline.reports.portfolios import evaluated_portfolio
from trademl_pipeline.studies import DIRECTION
from trademl_pipeline.tables import AUDITS, RAW_BARS
from trademl_pipeline_tests.defs.conftest import Workplace
from trademl_pipeline_tests.small import small_direction

FIRST, LAST, AS_OF = "2013-01-01", "2013-12-01", "2014-01-01"


def test_folds_count_on_the_data_sets_calendar_unless_a_study_says_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counted_on() -> str:
        return resources()["data_set"].calendar

    monkeypatch.delenv("TRADEML_CALENDAR", raising=False)
    assert counted_on() == calendar_of(DIRECTION, counted_on()) == "XNYS"
    monkeypatch.setenv("TRADEML_CALENDAR", "24/7")
    assert counted_on() == calendar_of(DIRECTION, counted_on()) == "24/7"
    own = replace(DIRECTION, folds=replace(DIRECTION.folds, calendar="XLON"))
    assert calendar_of(own, counted_on()) == "XLON"


@pytest.fixture(scope="module")
def crypto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A year and a fold of a simulated market without nights and weekends."""
    home = tmp_path_factory.mktemp("crypto")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("TRADEML_HOME", str(home))
        patch.setenv("TRADEML_SYMBOLS", "8")
        patch.setenv("TRADEML_CALENDAR", "24/7")
        patch.delenv("TRADEML_SOURCE", raising=False)
        patch.setitem(studies.STUDIES, "direction", small_direction())
        made = Workplace(home, instance, build_definitions())
        made.succeed("prepare_direction", months=(FIRST, AS_OF))
        made.succeed("fold_direction", month=LAST)
        made.succeed("write_report_direction", month=AS_OF)
        yield made


@pytest.mark.slow
def test_every_day_has_bars_windows_labels_and_predictions(crypto: Workplace) -> None:
    lake, study = crypto.lake(), studies.DIRECTION
    for table in (RAW_BARS, study.windows, study.features):
        days = lake.read(table, months=(LAST, LAST))["session"].unique().sort()
        assert len(days) == 31, table.name
    assert lake.read(study.predictions, months=(LAST, LAST))["session"].n_unique() == 31
    ends = lake.read(study.labels, months=(LAST, LAST))
    assert ends["label_end"].n_unique() == 31
    assert ends.select((pl.col("label_end") - pl.col("session")).dt.total_days() == 5).to_series().all()


@pytest.mark.slow
def test_the_gate_counts_the_embargo_in_days(crypto: Workplace) -> None:
    audits = crypto.lake().read(AUDITS)
    assert audits["passed"].all()
    of_folds = audits.filter(pl.col("probe") == "folds")["coverage"].to_list()
    assert of_folds
    for coverage in map(json.loads, of_folds):
        # The last label ends on 2013-11-25, the first decision is of 2013-12-01.
        assert coverage["sessions_between"] == coverage["embargo"] == 5


@pytest.mark.slow
def test_the_report_trades_on_every_day_and_its_year_has_365(crypto: Workplace) -> None:
    store, study = crypto.lake(), studies.DIRECTION
    workspace = Workspace(store, Artifacts(crypto.home), "24/7")
    source = BarsResource(symbols="8").open(calendar="24/7")
    made = report_inputs(workspace, study, AS_OF, source, "a run")
    assert made is not None
    inputs, config = made
    assert config.sessions_a_year == 365
    book = evaluated_portfolio(inputs, config)
    assert book is not None
    # The next day opens at the moment of the close, before anybody has decided: the fill is a day later.
    wait = book.portfolio.fills.select((pl.col("fill_session") - pl.col("session")).dt.total_days())
    assert wait.min().item() == 2
    assert set(book.portfolio.equity["session"].dt.weekday()) == set(range(1, 8))
    daily = book.portfolio.equity["net_return"]
    assert book.net.annual_return.value == pytest.approx(daily.mean() * 365)  # pyright: ignore
    report = crypto.home / "reports" / "direction" / AS_OF[:7] / "summary.json"
    assert json.loads(report.read_text())["verdict"]["headline"]
