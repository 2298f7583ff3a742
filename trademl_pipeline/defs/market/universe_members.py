"""Whom one may decide on, by month."""

import dagster as dg

from trademl_pipeline.defs.gate import MonthEvents, each_month, gate_checks, run_info
from trademl_pipeline.defs.metadata import OWNERS, TABLE_KINDS, table_metadata
from trademl_pipeline.defs.partitions import MONTHS, SINGLE_RUN_OF_REFERENCES
from trademl_pipeline.defs.resources import GateResource, LakeResource
from trademl_pipeline.defs.stage import deps_of
from trademl_pipeline.defs.universes import UniverseResource
from trademl_pipeline.defs.workspace import definitions_of
from trademl_pipeline.pipeline import universe_members as step
from trademl_pipeline.tables import UNIVERSE_MEMBERS
from trademl_pipeline.tables.descriptions import MEMBERS


@dg.asset(
    description=step.__doc__,
    partitions_def=MONTHS,
    backfill_policy=SINGLE_RUN_OF_REFERENCES,
    deps=deps_of(step.READS),
    group_name="market",
    kinds=TABLE_KINDS,
    owners=OWNERS,
    metadata=table_metadata(UNIVERSE_MEMBERS, {c: [("raw_bars", c)] for c in ("symbol", "session")}, MEMBERS),
)
def universe_members(
    context: dg.AssetExecutionContext, lake: LakeResource, universe: UniverseResource, gate: GateResource
) -> MonthEvents:
    """Look up, audit, publish.

    Args:
        context: of the step.
        lake, universe, gate: resources of the run.
    """
    body = step.universe_members_months(universe.plain(), lake.open(), run_info(context))
    yield from each_month(context, body, keep_going=gate.keep_going)


universe_members_gate = gate_checks(
    UNIVERSE_MEMBERS,
    lambda published, month: step.audit_universe_month(published.universe, published.workspace.lake, month),
)


def definitions() -> dg.Definitions:
    """The members and their checks."""
    return definitions_of([universe_members, universe_members_gate])
