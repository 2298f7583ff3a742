"""The asset graph as plain data: what a reviewer should see when it changes.

`python -m trademl_pipeline_tests.defs.graph` writes it to `graph.json` beside this file.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg

GRAPH = Path(__file__).with_name("graph.json")


def mapping_of(mapping: dg.PartitionMapping | None) -> str:
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return f"months {mapping.start_offset} to {mapping.end_offset}"
    return "same month" if isinstance(mapping, dg.IdentityPartitionMapping) else str(mapping)


def graph_of(definitions: dg.Definitions) -> dict[str, Any]:
    """Every asset with its dependencies, partitions, group, kinds, owners, pool, checks; jobs, schedules, sensors."""
    assets: dict[str, Any] = {}
    checks: dict[str, list[str]] = {}
    for definition in definitions.asset_checks or ():
        for spec in definition.check_specs:
            blocking = ", blocking" if spec.blocking else ""
            by_month = ", by month" if spec.partitions_def is not None else ""
            checks.setdefault(spec.asset_key.to_user_string(), []).append(f"{spec.name}{blocking}{by_month}")
    for definition in definitions.assets or ():
        assert isinstance(definition, dg.AssetsDefinition)
        for spec in definition.specs:
            name = spec.key.to_user_string()
            assets[name] = {
                "deps": {d.asset_key.to_user_string(): mapping_of(d.partition_mapping) for d in spec.deps},
                "partitions": type(spec.partitions_def).__name__,
                "group": spec.group_name,
                "kinds": sorted(spec.kinds),
                "owners": list(spec.owners),
                "tags": {k: v for k, v in spec.tags.items() if not k.startswith("dagster/kind")},
                "pool": definition.op.pool,
                "backfill": str(definition.backfill_policy.max_partitions_per_run)
                if definition.backfill_policy
                else "none",
                "checks": sorted(checks.get(name, [])),
                "columns": [
                    c.name for c in getattr(spec.metadata.get("dagster/column_schema"), "columns", [])
                ],
            }
    repository = definitions.get_repository_def()
    jobs = {
        job.name: {
            "assets": sorted(k.to_user_string() for k in job.asset_layer.executable_asset_keys),
            "tags": dict(job.tags),
        }
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    return {
        "assets": dict(sorted(assets.items())),
        "jobs": dict(sorted(jobs.items())),
        "schedules": {s.name: s.cron_schedule for s in repository.schedule_defs},
        "sensors": sorted(s.name for s in repository.sensor_defs),
    }


if __name__ == "__main__":
    from trademl_pipeline.defs import build_definitions

    GRAPH.write_text(json.dumps(graph_of(build_definitions()), indent=1) + "\n")
