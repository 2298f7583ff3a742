"""Bars as traded, one asset for each time frame: fetched, judged and published by month."""

import dagster as dg

from trademl_pipeline.defs.bars import BarsResource
from trademl_pipeline.defs.gate import MonthEvents, each_month, failing, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, SINGLE_RUN
from trademl_pipeline.defs.resources import DataSetResource, GateResource, LakeResource
from trademl_pipeline.defs.workspace import definitions_of, workspace_of
from trademl_pipeline.market.errors import MarketError
from trademl_pipeline.pipeline import raw_bars as step
from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables
from trademl_pipeline.tables.descriptions import BARS

# What a run fetches: all of its months, or only what the lake lacks of them.
FETCH_TAG = "trademl/fetch"


def bars_assets(timeframe: str) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the asset and the gate checks of one time frame's bars."""
    tables = bar_tables(timeframe)
    name = tables.bars.name

    @dg.asset(
        name=name,
        description=step.__doc__,
        partitions_def=MONTHS,
        backfill_policy=SINGLE_RUN,
        group_name="market",
        kinds=TABLE_KINDS,
        owners=OWNERS,
        metadata=table_metadata(tables.bars, descriptions=BARS),
    )
    def bars_asset(
        context: dg.AssetExecutionContext,
        bars: BarsResource,
        data_set: DataSetResource,
        lake: LakeResource,
        gate: GateResource,
    ) -> MonthEvents:
        """Fetch, split good from bad, merge, publish.

        Args:
            context: of the step.
            bars, data_set, lake, gate: resources of the run.
        """
        try:
            source = bars.open(timeframe, data_set.calendar)
        except MarketError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        fetch = (context.run.tags.get(FETCH_TAG), data_set.fetch)
        workspace, months = workspace_of(lake, data_set), list(context.partition_keys)
        refused: dg.Failure | None = None
        with (
            failing(),
            step.raw_bars_months(
                source,
                workspace.lake,
                run_info(context),
                months,
                workspace.artifacts.staging,
                only_missing=step.MISSING in fetch,
            ) as body,
        ):
            try:
                yield from each_month(context, body, keep_going=gate.keep_going)
            except dg.Failure as failure:
                # An error that leaves this block keeps the download, which may be what was wrong.
                refused = failure
        if refused is not None:
            raise refused

    checks = gate_checks(
        tables.bars,
        lambda published, month: step.audit_bars_month(published.workspace.lake, tables, month),
    )
    return [bars_asset, checks]


def definitions() -> dg.Definitions:
    """Bars of every time frame."""
    return definitions_of(part for timeframe in TIMEFRAMES for part in bars_assets(timeframe))
