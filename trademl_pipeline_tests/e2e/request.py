"""Ask the daemon for a backfill, as the UI does: `python -m ... <id> <first> <last> <asset> [<asset> ...]`."""

import sys
import time

import dagster as dg
from dagster._core.execution.backfill import PartitionBackfill

from trademl_pipeline.defs.partitions import MONTHS
from trademl_pipeline_tests.e2e.poisoned import defs


def main(backfill: str, first: str, last: str, *assets: str) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id=backfill,
                asset_graph=defs.resolve_asset_graph(),
                partition_names=list(MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last))),
                asset_selection=[dg.AssetKey(a) for a in assets],
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
