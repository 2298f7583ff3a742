"""The loop that Dagster's cost is measured against does what Dagster's runs do."""

import shutil
from dataclasses import dataclass, replace

import polars as pl
import pytest

from benchmarks import plain_loop
from benchmarks.orchestration import DAGSTER, LOOP, RECORDED, Measured, require_the_same
from trademl_pipeline import settings
from trademl_pipeline.certificates.stored import certificate_in_force
from trademl_pipeline.lake import Lake
from trademl_pipeline.pipeline import train
from trademl_pipeline.pipeline.gate import GateRefusedError
from trademl_pipeline.pipeline.site import Site
from trademl_pipeline.tables import AUDITS
from trademl_pipeline_tests.defs.conftest import LAST, Workplace
from trademl_pipeline_tests.small import small_direction

STUDY = small_direction()
# What differs from run to run.
OF_THE_RUN = ("model_run", "artifact", "train_seconds", "snapshot", "certificate")


@dataclass(frozen=True)
class Twice:
    """The lake that Dagster's runs have filled, and a copy in which the loop has made the last fold again."""

    made: Lake
    again: Lake
    site: Site


@pytest.fixture(scope="module")
def twice(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Twice:
    home = tmp_path_factory.mktemp("loop") / "home"
    # MLflow keeps absolute paths: the copy would write among the original's files.
    shutil.copytree(workplace.home, home, ignore=shutil.ignore_patterns("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADEML_HOME", str(home))
        site = Site(settings.current())
        plain_loop.with_the_gate(site, STUDY, [LAST])
    return Twice(workplace.lake(), site.lake, site)


@pytest.mark.slow
@pytest.mark.parametrize(
    "table", [STUDY.predictions, STUDY.estimator_predictions, STUDY.models], ids=lambda t: t.name
)
def test_the_loop_publishes_what_the_dagster_run_published(twice: Twice, table):
    made, again = (store.read(table, months=(LAST, LAST)) for store in (twice.made, twice.again))
    assert made.height > 0
    assert made.drop(OF_THE_RUN, strict=False).equals(again.drop(OF_THE_RUN, strict=False))


@pytest.mark.slow
def test_the_loop_has_trained_a_model_of_its_own(twice: Twice):
    runs = [
        store.read(STUDY.models, months=(LAST, LAST))["model_run"].item()
        for store in (twice.made, twice.again)
    ]
    assert runs[0] != runs[1]


@pytest.mark.slow
def test_the_loop_is_held_to_the_same_audits_and_certified(twice: Twice):
    made, again = twice.made, twice.again
    tables = [STUDY.models.name, STUDY.predictions.name]

    def audited(store: Lake) -> pl.DataFrame:
        audits = store.read(AUDITS).filter(pl.col("table_name").is_in(tables) & (pl.col("month") == LAST))
        last = audits.filter(pl.col("recorded_at") == pl.col("recorded_at").max().over("table_name"))
        return last.select("table_name", "probe", "passed", "coverage").sort("table_name", "probe")

    assert audited(made).equals(audited(again))
    assert audited(again)["passed"].all()
    ours, theirs = (certificate_in_force(store, STUDY.name, LAST) for store in (again, made))
    # Of the other tables evidence is not asked to have passed: the lake is shared with tests that have months refused.
    assert {e.table for e in ours.evidence} >= set(tables)
    assert all(e.passed == e.months for e in ours.evidence if e.table == STUDY.predictions.name)
    assert ours.training == theirs.training
    assert ours.model.run != theirs.model.run
    # The loop's certificate is the later one, so it also knows what other tests have recorded between the two.
    found, asked = ({(e.table, e.probe) for e in certificate.evidence} for certificate in (ours, theirs))
    assert found >= asked
    assert STUDY.predictions.name not in {table for table, _ in found - asked}


@pytest.mark.slow
def test_a_month_that_the_gate_refuses_stops_the_loop(twice: Twice, monkeypatch: pytest.MonkeyPatch):
    before = twice.again.data_version(STUDY.models, LAST)
    clean = train.audit_fold
    monkeypatch.setattr(
        train, "audit_fold", lambda *known: replace(clean(*known), coverage={"folds": {"skipped": "x"}})
    )
    with pytest.raises(GateRefusedError, match="model_direction 2014-03: refused"):
        plain_loop.with_the_gate(twice.site, STUDY, [LAST])
    assert twice.again.data_version(STUDY.models, LAST) == before


def test_sides_that_did_different_work_are_not_compared():
    one = Measured(once=0.0, predictions="a", audits={("t", "folds", True): 1})
    require_the_same([{RECORDED: one, DAGSTER: one, LOOP: one}])
    for side in (RECORDED, DAGSTER, LOOP):
        sides = {RECORDED: one, DAGSTER: one, LOOP: one}
        with pytest.raises(RuntimeError, match="predicted different values"):
            require_the_same([sides | {side: replace(one, predictions="b")}])
        with pytest.raises(RuntimeError, match="audited different things"):
            require_the_same([sides | {side: replace(one, audits={})}])
