"""The study that docs/extending.md adds gets everything that the five have."""

import re

import dagster as dg

from trademl_pipeline import studies
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.settings import ROOT


def documented_study() -> studies.StudySpec:
    page = (ROOT / "docs" / "extending.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "WEEKLY" in c]
    scope: dict = {}
    exec(code, scope)
    return scope["WEEKLY"]


def test_a_newcomers_study_has_assets_checks_jobs_schedule_and_sensor(monkeypatch):
    study = documented_study()
    monkeypatch.setitem(studies.STUDIES, study.name, study)
    repository = build_definitions().get_repository_def()
    assets = {key.to_user_string() for key in repository.asset_graph.materializable_asset_keys}
    assert {f"{stage}_weekly" for stage in ("sequences", "model", "predictions", "report")} <= assets
    checks = {(c.asset_key.to_user_string(), c.name) for c in repository.asset_graph.asset_check_keys}
    assert {("model_weekly", probe) for probe in ("folds", "fit_ledger", "model")} <= checks
    jobs = {job.name for job in repository.get_all_jobs()}
    assert {f"{kind}_weekly" for kind in ("prepare", "fold", "train", "write_report", "month")} <= jobs
    assert repository.has_schedule_def("retrain_weekly")
    assert repository.has_sensor_def("next_fold_weekly")
    report = repository.asset_graph.get(dg.AssetKey("validation_report"))
    assert dg.AssetKey("report_weekly") in report.parent_keys
