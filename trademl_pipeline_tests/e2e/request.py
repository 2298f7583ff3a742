"""Ask the daemon for a backfill and wait for its end: `python -m ... <id> <first> <last> <asset> [<asset> ...]`."""

import sys
import time

import dagster as dg
from dagster._core.definitions.selector import (
    PartitionRangeSelector,
    PartitionsByAssetSelector,
    PartitionsSelector,
)
from dagster._core.execution.backfill import PartitionBackfill

from trademl_pipeline_tests.e2e.poisoned import defs


def main(backfill: str, first: str, last: str, *assets: str) -> None:
    with dg.DagsterInstance.get() as instance:
        months = PartitionsSelector(ranges=[PartitionRangeSelector(start=first, end=last)])
        instance.add_backfill(
            PartitionBackfill.from_partitions_by_assets(
                backfill_id=backfill,
                asset_graph=defs.resolve_asset_graph(),
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=instance,
                partitions_by_assets=[
                    PartitionsByAssetSelector(asset_key=dg.AssetKey(a), partitions=months) for a in assets
                ],
                title=None,
                description=None,
                run_config=None,
            )
        )

        waiting = {"REQUESTED", "FAILING", "CANCELING"}
        while (found := instance.get_backfill(backfill)) is None or found.status.value in waiting:
            time.sleep(1)
        print("STATUS", found.status.value)


if __name__ == "__main__":
    main(*sys.argv[1:])
