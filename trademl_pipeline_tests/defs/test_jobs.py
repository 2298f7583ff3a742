"""The jobs that a study has beside its monthly ones: a quick one on a few symbols, and one at full size."""

import dagster as dg
import pytest

from trademl_pipeline.defs import build_definitions
from trademl_pipeline.defs.models.model import TrainSettings
from trademl_pipeline.defs.resources import DataSetResource
from trademl_pipeline.pipeline.job_names import production_job_name, quick_job_name
from trademl_pipeline.studies import STUDIES

NEXT = "2013-06-01"


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions()


@pytest.mark.parametrize("name", STUDIES)
def test_quick_and_production_jobs_train_with_their_own_settings(definitions: dg.Definitions, name: str):
    study = STUDIES[name]
    expected = {
        quick_job_name(name): {"size": "small", "epochs": 1, "symbols": "3", "refit": "month"},
        production_job_name(name): {"size": "base", "refit": "month"},
    }
    for job, settings in expected.items():
        made = definitions.resolve_job_def(job)
        config = dg.validate_run_config(made, made.get_run_config_for_partition_key(NEXT))["ops"][
            study.models.name
        ]["config"]
        assert {k: config[k] for k in settings} == settings
        assert TrainSettings(**settings).options(DataSetResource()).preset_of(study) == settings["size"]
        assets = {key.to_user_string() for key in made.asset_layer.selected_asset_keys}
        assert {study.models.name, study.predictions.name} <= assets
