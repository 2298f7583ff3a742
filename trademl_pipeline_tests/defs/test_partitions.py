"""No path of the asset graph leads from a later month into training."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline import settings
from trademl_pipeline.definitions import defs
from trademl_pipeline.defs.partitions import (
    ALL_HISTORY,
    MONTHS,
    mapping_of,
    months_of,
    single_run_policy,
)
from trademl_pipeline.market.calendar import month_key, month_sessions, offset_month
from trademl_pipeline.pipeline.lookback import ALL_BEFORE, SAME_MONTH, sessions_back
from trademl_pipeline.simulation import SimulatedMarket

MONTH = "2016-06-01"
FORBIDDEN = (dg.AllPartitionMapping, dg.LastPartitionMapping)


def graph():
    return defs.resolve_asset_graph()


def upstream_months(mapping: dg.PartitionMapping, month: str) -> list[str]:
    wanted = MONTHS.subset_with_partition_keys([month])
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(wanted, MONTHS, MONTHS)
    return sorted(found.partitions_subset.get_partition_keys())


def edges():
    nodes = graph()
    for key in nodes.materializable_asset_keys:
        for parent in nodes.get(key).parent_keys:
            yield key, parent, nodes.get(key).partition_mappings.get(parent, dg.IdentityPartitionMapping())


def ancestors(key: dg.AssetKey) -> set[dg.AssetKey]:
    found, todo = set(), [key]
    while todo:
        for parent in graph().get(todo.pop()).parent_keys:
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return found


def test_every_asset_is_partitioned_by_month():
    assert {graph().get(key).partitions_def for key in graph().materializable_asset_keys} == {MONTHS}


def test_no_edge_reads_a_later_month():
    read = 0
    for child, parent, mapping in edges():
        assert not isinstance(mapping, FORBIDDEN), (child, parent)
        months = upstream_months(mapping, MONTH)
        assert max(months) <= MONTH, (child, parent)
        read += 1
    assert read >= 8


def test_every_edge_into_a_model_reads_earlier_months_only():
    models = [k for k in graph().materializable_asset_keys if k.to_user_string().startswith("model_")]
    assert models
    into = [(c, p, m) for c, p, m in edges() if c in models]
    assert into
    for child, parent, mapping in into:
        assert max(upstream_months(mapping, MONTH)) == "2016-05-01", (child, parent)


def test_neighbours_of_range_runs_have_different_policies():
    """Else a step that refuses one month would keep the steps behind it, in the same run, from all others."""
    nodes, seen = graph(), set()
    for child, parent, _ in edges():
        policies = nodes.get(child).backfill_policy, nodes.get(parent).backfill_policy
        if all(policy.max_partitions_per_run != 1 for policy in policies):
            seen.add((child, parent))
            assert policies[0] != policies[1], (child, parent)
    stages = {(c.to_user_string().split("_")[0], p.to_user_string().split("_")[0]) for c, p in seen}
    assert {("features", "raw"), ("labels", "raw"), ("patterns", "raw"), ("sequences", "features")} <= stages


def test_every_turn_is_a_policy_of_its_own_that_holds_all_history():
    policies = [single_run_policy(turn) for turn in range(4)]
    assert len(set(policies)) == 4
    assert all(p.max_partitions_per_run is None or p.max_partitions_per_run >= ALL_HISTORY for p in policies)


def test_nothing_that_trains_depends_on_predictions_or_reports():
    for key in graph().materializable_asset_keys:
        if key.to_user_string().startswith("model_"):
            names = {k.to_user_string() for k in ancestors(key)}
            assert not [n for n in names if n.startswith(("predictions_", "validation_", "model_"))]


@pytest.mark.parametrize("sessions", [1, 20, 60, 250])
def test_months_back_hold_enough_sessions(sessions):
    months = upstream_months(mapping_of(sessions_back(sessions)), MONTH)
    held = sum(len(month_sessions(m)) for m in months if m < MONTH)
    assert held >= sessions


def test_mappings_of_the_first_month_do_not_raise():
    first = MONTHS.get_first_partition_key()
    assert first is not None
    assert upstream_months(mapping_of(ALL_BEFORE), first) == []
    assert upstream_months(mapping_of(SAME_MONTH), first) == [first]


def months_said(**data: str) -> list[str]:
    said = settings.load(
        Path("/nowhere"), {f"data.{name}": value for name, value in data.items()}, environ={}
    )
    return list(months_of(said).get_partition_keys())


def test_months_end_with_the_data_and_the_fold_after_them():
    months = months_said(start="2013-01", end="2015-05")
    assert (months[0], months[-1], len(months)) == ("2013-01-01", "2015-06-01", 30)
    months = months_said(source="files", path="/a.parquet", start="2014-02", end="2016-12")
    assert (months[0], months[-1]) == ("2014-02-01", "2017-01-01")


def test_the_simulated_market_has_its_own_span():
    first, last = (f"{day:%Y-%m}-01" for day in SimulatedMarket(n_symbols=1).span())
    months = months_said()
    assert months[0] == first
    assert months[-1] == offset_month(last, 1)


@pytest.mark.parametrize("source", ["yahoo", "files"])
def test_months_of_a_source_that_goes_on_are_open(source: str):
    months = months_said(source=source, start="2015-01")
    assert months[-1] == month_key(datetime.now(UTC).date())


def test_a_file_that_is_kept_up_to_date_has_the_month_that_has_begun():
    now = month_key(datetime.now(UTC).date())
    assert months_said(source="files", start="2015-01", end=now)[-1] == now
    assert months_said(source="files", start="2015-01", end=offset_month(now, -1))[-1] == now
    assert months_said(source="files", start="2015-01", end=offset_month(now, -2))[-1] == offset_month(
        now, -1
    )
