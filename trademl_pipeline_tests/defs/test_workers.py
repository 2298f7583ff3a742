"""Which runs may stand side by side, and what becomes of a chain when one of its runs fails."""

import dagster as dg
import pytest

from trademl_pipeline.defs import workers
from trademl_pipeline.defs.jobs import prepare_assets
from trademl_pipeline.defs.launch import levels
from trademl_pipeline.defs.workers import Task, Workers
from trademl_pipeline.studies import STUDIES

CHAINS = [[Task("a"), Task("poisoned"), Task("b")], [Task("c")]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that were run, of which `poisoned` fails."""
    found: list[str] = []

    def execute(task: Task, instance: dg.DagsterInstance) -> list[str]:
        found.append(task.job)
        return ["it was refused"] if task.job == "poisoned" else []

    monkeypatch.setattr(workers, "execute", execute)
    return found


def test_assets_that_run_together_read_only_what_ran_before():
    assets = list(dict.fromkeys(a for study in STUDIES.values() for a in prepare_assets(study)))
    graph = workers.definitions().resolve_asset_graph()
    done: set[str] = set()
    for level in levels(assets):
        for asset in level:
            parents = {p.to_user_string() for p in graph.get(dg.AssetKey(asset)).parent_keys}
            assert parents & set(assets) <= done
        done |= set(level)
    assert done == set(assets)
    assert levels(assets)[0] == ["raw_bars"]


def test_a_chain_ends_with_the_run_that_failed_and_the_others_go_on(ran: list[str]):
    told: list[tuple[str, bool]] = []
    with dg.DagsterInstance.ephemeral() as instance:
        failed = Workers(instance, 1).run(
            CHAINS, keep_going=False, on_task=lambda task, problems: told.append((task.job, bool(problems)))
        )
    assert failed == ["it was refused"]
    assert ran == ["a", "poisoned", "c"]
    assert told == [("a", False), ("poisoned", True), ("c", False)]


def test_a_chain_goes_on_after_a_failure_where_that_is_asked(ran: list[str]):
    with dg.DagsterInstance.ephemeral() as instance:
        failed = Workers(instance, 1).run(CHAINS, keep_going=True)
    assert failed == ["it was refused"]
    assert ran == ["a", "poisoned", "b", "c"]
