"""A run takes what its Launchpad says, whatever the settings say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.market import bar_quality, bars, reference_bars
from trademl_pipeline.defs.models import cross_validation, model
from trademl_pipeline.defs.partitions import SINGLE_RUN_OF_DERIVED
from trademl_pipeline.defs.predictions import predictions
from trademl_pipeline.defs.reports import validation
from trademl_pipeline.defs.resources import DataSetResource, GateResource, resources
from trademl_pipeline.defs.stage import stage_assets
from trademl_pipeline.labels import TARGETS
from trademl_pipeline.pipeline.labels import label_stage
from trademl_pipeline.pipeline.months import Body, MonthResult
from trademl_pipeline.pipeline.stage import Stage
from trademl_pipeline.portfolio.costs import Costs

MONTH = "2014-02-01"
# Other than the settings say in every value.
CONFIG: dict[str, Any] = {
    "calendar": "XLON",
    "size": "base",
    "refit": "quarter",
    "epochs": 3,
    "threads": 2,
    "fetch": "missing",
    "commission": 0.005,
    "slippage": 0.004,
    "participation": 0.2,
}


class Seen:
    """A step that keeps what it was given, and publishes nothing."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.named: dict[str, Any] = {}

    def __call__(self, *given: Any, **named: Any) -> Body:
        self.given, self.named = list(given), named
        return lambda month: MonthResult({})

    @contextmanager
    def opened(self, *given: Any, **named: Any) -> Iterator[Body]:
        yield self(*given, **named)


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Those of a simulated data set whose settings are the defaults."""
    for name in ("TRADEML_CALENDAR", "TRADEML_THREADS", "TRADEML_SIZE", "TRADEML_REFIT", "TRADEML_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    return build_definitions()


def run(definitions: dg.Definitions, asset: str) -> None:
    """Make one asset of one month with the config; its checks, which find no audit, are left out."""
    key = dg.AssetKey(asset)
    alone = dg.define_asset_job("alone", dg.AssetSelection.assets(key).without_checks())
    result = (
        dg.Definitions.merge(definitions, dg.Definitions(jobs=[alone]))
        .resolve_job_def("alone")
        .execute_in_process(
            partition_key=MONTH,
            run_config={"resources": {"data_set": {"config": CONFIG}}},
            raise_on_error=False,
        )
    )
    assert result.success, [event.message for event in result.all_node_events if event.is_failure]


def test_every_value_of_the_launchpad_differs_from_its_default() -> None:
    assert set(CONFIG) == set(DataSetResource.model_fields)
    defaults = {name: declared.default for name, declared in DataSetResource.model_fields.items()}
    assert [name for name, value in CONFIG.items() if value == defaults[name]] == []


def test_training_has_the_runs_size_epochs_rhythm_threads_and_calendar(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(model, "model_months", seen)
    run(definitions, "model_direction")
    workspace, *_, options = seen.given
    assert workspace.calendar == "XLON"
    assert (options.size, options.refit, options.epochs, options.threads) == ("base", "quarter", 3, 2)


def test_what_one_asset_is_told_goes_before_what_the_data_set_is() -> None:
    data_set = DataSetResource(**CONFIG)
    options = model.TrainSettings(size="small", epochs=1, threads=5).options(data_set)
    assert (options.size, options.refit, options.epochs, options.threads) == ("small", "quarter", 1, 5)


def test_reports_have_the_runs_costs_and_calendar(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(validation.step, "report_months", seen)
    run(definitions, "report_direction")
    workspace, _, _, source, _, costs = seen.given
    assert costs == Costs(0.005, 0.004, 0.2)
    assert (workspace.calendar, source.calendar) == ("XLON", "XLON")


def test_bars_are_fetched_as_the_run_says_on_its_calendar(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(bars.step, "raw_bars_months", seen.opened)
    run(definitions, "raw_bars")
    assert seen.given[0].calendar == "XLON"
    assert seen.named["only_missing"] is True


@pytest.mark.parametrize(
    ("module", "function", "asset"),
    [
        (bar_quality, "bar_quality_months", "bar_quality"),
        (reference_bars, "reference_bars_months", "reference_bars"),
        (cross_validation, "cross_validation_months", "cross_validation_pattern_confidence"),
    ],
)
def test_steps_that_count_sessions_count_on_the_runs_calendar(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, asset: str
) -> None:
    seen = Seen()
    monkeypatch.setattr(module.step, function, seen)
    run(definitions, asset)
    assert "XLON" in seen.given
    assert "XNYS" not in seen.given


def test_predictions_are_made_on_the_runs_calendar(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(predictions.step, "prediction_months", seen)
    run(definitions, "predictions_direction")
    assert seen.given[0].calendar == "XLON"


def test_stages_are_made_on_the_runs_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    calendars: list[str] = []

    def make(calendar: str) -> Stage:
        calendars.append(calendar)
        return label_stage(TARGETS["direction"], calendar)

    asset, checks = stage_assets(make, SINGLE_RUN_OF_DERIVED)
    calendars.clear()
    used = {**resources(), "data_set": DataSetResource(calendar="XLON"), "gate": GateResource(cutoffs=1)}
    wanted = asset.required_resource_keys | checks.required_resource_keys
    dg.materialize(
        [asset, checks],
        partition_key=MONTH,
        resources={name: used[name] for name in wanted if name in used},
        raise_on_error=False,
    )
    assert calendars
    assert set(calendars) == {"XLON"}
