import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from trademl_pipeline.definitions import defs
from trademl_pipeline.training.tasks import TASKS
from trademl_pipeline.settings import ROOT

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

SNAPSHOT = ROOT / "trademl_pipeline_tests" / "defs" / "asset_graph.json"


def described_graph() -> dict[str, dict]:
    graph = defs.resolve_asset_graph()
    described = {}
    for key in sorted(graph.materializable_asset_keys, key=lambda k: k.to_user_string()):
        node = graph.get(key)
        described[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "upstream": {
                parent.to_user_string(): repr(
                    node.partition_mappings.get(parent, dg.IdentityPartitionMapping())
                )
                for parent in sorted(node.parent_keys, key=lambda k: k.to_user_string())
            },
            "checks": sorted(check.name for check in node.check_keys),
            "backfill": str(node.backfill_policy),
            "pools": sorted(node.pools or []),
        }
    return described


def test_the_graph_is_the_one_that_was_agreed():
    """A change of the graph shows in review: write the file anew with UPDATE_SNAPSHOT=1 and look at the difference."""
    found = described_graph()
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_asset_is_described_and_shows_its_columns():
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        if not key.to_user_string().startswith(("validation_", "report_")):
            assert node.metadata["dagster/column_schema"].columns, key


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
    assert list(task.described) == list(task.published)
