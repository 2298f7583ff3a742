import ast
import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

import trademl_pipeline.defs as package
from trademl_pipeline.definitions import defs
from trademl_pipeline.settings import ROOT
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tasks import TASKS

HEAVY = (
    "scipy",
    "torch",
    "mlflow",
    "lightgbm",
    "xgboost",
    "shap",
    "optuna",
    "mamba_ssm",
    "sklearn",
    "plotly",
)


def test_every_asset_is_described_and_shows_its_columns():
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        if not key.to_user_string().startswith(("validation_", "report_", "cold_run")):
            assert node.metadata["dagster/column_schema"].columns, key


def test_every_job_says_what_it_is_for_and_can_be_filtered_by_it():
    jobs = [job for job in defs.get_repository_def().get_all_jobs() if not job.name.startswith("__")]
    assert len(jobs) > 40
    for job in jobs:
        assert job.description, job.name
        assert job.tags.get("step"), job.name
        of_study = [name for name in STUDIES if job.name.endswith(f"_{name}")]
        assert ([job.tags["study"]] if "study" in job.tags else []) == of_study, job.name
    repeated = [text for text, times in Counter(job.description for job in jobs).items() if times > 1]
    assert repeated == []


def test_schedules_and_sensors_say_what_they_do():
    repository = defs.get_repository_def()
    timed = [*repository.schedule_defs, *repository.sensor_defs]
    assert len(timed) > 10
    assert [one.name for one in timed if not one.description] == []
    assert len({one.description for one in timed}) == len(timed)


def test_column_lineage_names_columns_that_exist():
    graph = defs.resolve_asset_graph()
    columns = {
        key: {c.name for c in graph.get(key).metadata["dagster/column_schema"].columns}
        for key in graph.materializable_asset_keys
        if "dagster/column_schema" in graph.get(key).metadata
    }
    followed = 0
    for key in columns:
        lineage = graph.get(key).metadata.get("dagster/column_lineage")
        for column, deps in (lineage.deps_by_column if lineage else {}).items():
            assert column in columns[key], (key, column)
            for dep in deps:
                assert dep.column_name in columns[dep.asset_key], (key, column, dep)
                followed += 1
    assert followed > 20


def test_models_wait_in_the_gpu_pool_and_ask_for_a_gpu():
    for asset in defs.resolve_all_asset_specs():
        name = asset.key.to_user_string()
        if not name.startswith("model_"):
            continue
        definition = defs.resolve_assets_def(asset.key)
        assert definition.op.pool == "gpu"
        limits = definition.op.tags["dagster-k8s/config"]
        assert "nvidia.com/gpu" in str(limits)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["trademl_pipeline.definitions", "trademl_pipeline.cli"])
def test_loading_imports_no_heavy_library(module):
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip().splitlines()[-1] == "[]"


def test_every_column_of_every_table_is_described():
    for spec in defs.resolve_all_asset_specs():
        schema = spec.metadata.get("dagster/column_schema")
        if schema is not None:
            silent = [
                column.name for column in getattr(schema, "value", schema).columns if not column.description
            ]
            assert silent == [], spec.key.to_user_string()


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_tasks_describe_just_what_they_publish(task):
    assert list(task.column_docs) == list(task.output_schema)


def modules_below() -> list[str]:
    """Names of all modules of the package of definitions."""
    return [found.name for found in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")]


def names_in(definitions: dg.Definitions) -> set[str]:
    """What can be materialized, checked, run, scheduled or sensed."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        *(key.to_user_string() for key in graph.materializable_asset_keys),
        *(f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys),
        *(job.name for job in repository.get_all_jobs()),
        *(schedule.name for schedule in repository.schedule_defs),
        *(sensor.name for sensor in repository.sensor_defs),
    }


def names_of(made: object) -> set[str]:
    """The same names of one object; none where it is no definition."""
    if isinstance(made, dg.AssetChecksDefinition):
        return {f"{key.asset_key.to_user_string()}:{key.name}" for key in made.check_keys}
    if isinstance(made, dg.AssetsDefinition):
        return {key.to_user_string() for key in made.keys}
    jobs = (dg.JobDefinition, UnresolvedAssetJobDefinition)
    if isinstance(made, (*jobs, dg.ScheduleDefinition, dg.SensorDefinition)):
        return {made.name}
    return set()


def test_whatever_a_module_holds_is_among_the_definitions():
    held = {
        name: names_of(value)
        for module in modules_below()
        for name, value in vars(importlib.import_module(module)).items()
        if names_of(value)
    }
    assert {"reference_bars", "raw_bars_quality", "maintenance_job", "report_failures"} <= set(held)
    assert set().union(*held.values()) <= names_in(defs)


# What makes an asset, a check, a job, a schedule or a sensor.
MAKERS = {
    *("asset", "multi_asset", "asset_check", "multi_asset_check", "graph_asset", "observable_source_asset"),
    *("job", "define_asset_job", "schedule", "ScheduleDefinition", "build_schedule_from_partitioned_job"),
    *("sensor", "asset_sensor", "multi_asset_sensor", "run_status_sensor", "run_failure_sensor"),
}


def test_every_module_that_makes_something_is_found_or_used_by_one_that_is():
    """One that is found has a function `definitions`; makers for others, such as `stage`, are imported by these."""
    trees = {
        name: ast.parse(Path(importlib.import_module(name).__file__ or "").read_text())
        for name in modules_below()
    }
    makes = {
        name
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in MAKERS and ast.unparse(node.value) == "dg"
    }
    found = {name for name in trees if hasattr(importlib.import_module(name), "definitions")}
    reached, todo = set(), list(found)
    while todo:
        name = todo.pop()
        reached.add(name)
        used = {node.module for node in ast.walk(trees[name]) if isinstance(node, ast.ImportFrom)}
        todo += [module for module in used if module in trees and module not in reached]
    assert len(makes & found) > 5
    assert makes <= reached


def test_a_new_module_is_found_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stage = tmp_path / "added_stage"
    stage.mkdir()
    (stage / "__init__.py").write_text("")
    (stage / "added.py").write_text(
        "import dagster as dg\n\n\n@dg.asset\ndef added_table():\n    pass\n\n\n"
        "def definitions():\n    return dg.Definitions(assets=[added_table])\n"
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    before = names_in(defs)
    try:
        assert names_in(package.build_definitions()) == {*before, "added_table"}
    finally:
        for name in (f"{package.__name__}.added_stage", f"{package.__name__}.added_stage.added"):
            sys.modules.pop(name, None)
        vars(package).pop("added_stage", None)
