"""Looks at outcomes on real assets: another set of predictions is another try, in the lake and in the report."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from trademl_pipeline import studies
from trademl_pipeline.cli import app
from trademl_pipeline.data_sets import DataSet
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.pipeline import promote
from trademl_pipeline.settings import FILE
from trademl_pipeline.tables import TRIES, certificate_table
from trademl_pipeline_tests.defs.conftest import LAST, SYMBOLS, Workplace
from trademl_pipeline_tests.small import small_direction

EARLIER = "2014-02-01"
FOLD = ("model_direction", "predictions_direction")


@pytest.fixture(scope="module")
def place(workplace: Workplace) -> Iterator[Workplace]:
    DataSet(home=workplace.home, symbols=SYMBOLS).make({})
    yield workplace
    (workplace.home / FILE).unlink()


def reported(place: Workplace, **fold: Any) -> dict[str, Any]:
    """Make the report of the last month, after its fold where arguments are given, and return its summary."""
    if fold:
        result = place.defs.resolve_job_def("fold_direction").execute_in_process(
            instance=place.instance,
            partition_key=LAST,
            run_config=fold.get("run_config"),
            asset_selection=[dg.AssetKey(a) for a in FOLD],
            raise_on_error=False,
        )
        assert result.success, [e.message for e in result.all_node_events if e.is_failure]
    place.succeed("write_report_direction", month=LAST)
    return json.loads((place.home / "reports" / "direction" / LAST[:7] / "summary.json").read_text())


def with_seed(place: Workplace, seed: int, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The workplace with trees that draw their features by a seed, on assets that are built anew."""
    study = small_direction(rounds=3)
    trees = study.training.estimators[0]
    drawn = replace(trees, settings={**trees.settings, "feature_share": 0.1})
    training = replace(study.training, estimators=(drawn,))
    monkeypatch.setitem(studies.STUDIES, "direction", replace(study, seed=seed, training=training))
    return replace(place, defs=build_definitions())


def deflated(summary: dict[str, Any]) -> float:
    return summary["books"]["net"]["deflated_sharpe"]


def tries_in(place: Workplace) -> int:
    return place.lake().read(TRIES).height


def test_every_other_set_of_predictions_is_a_try_and_the_same_one_is_none(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reported(place)
    assert (first["tries"]["tries"], first["tries"]["scored"], first["trials"]) == (1, 1, 1)
    assert first["tries"]["complete"]
    rows = tries_in(place)

    # Reported again, fitted and predicted again, and on an instance that has seen nothing: the same predictions.
    with dg.DagsterInstance.ephemeral() as another:
        again = reported(replace(place, instance=another), run_config=None)
    assert again["tries"]["tries"] == 1
    assert tries_in(place) == rows

    one = reported(with_seed(place, 1, monkeypatch), run_config=None)
    assert (one["tries"]["tries"], one["tries"]["alternatives"], one["trials"]) == (2, 2, 2)
    two = with_seed(place, 2, monkeypatch)
    other_seed = reported(two, run_config=None)
    assert other_seed["tries"]["tries"] == 3
    assert deflated(first) == first["books"]["net"]["probabilistic_sharpe"]
    assert deflated(one) < one["books"]["net"]["probabilistic_sharpe"]

    # Models that learn from some symbols only predict something else.
    subset = {"ops": {"model_direction": {"config": {"symbols": "4"}}}}
    with dg.DagsterInstance.ephemeral() as another:
        fewer = reported(replace(two, instance=another), run_config=subset)
    assert fewer["tries"]["tries"] == 4

    # The first settings again: nothing new, nothing forgotten, and the same figures are worth less.
    monkeypatch.undo()
    monkeypatch.setitem(studies.STUDIES, "direction", small_direction())
    back = reported(replace(place, defs=build_definitions()), run_config=None)
    assert (back["tries"]["tries"], back["trials"]) == (4, 4)
    assert back["books"]["net"]["sharpe"] == first["books"]["net"]["sharpe"]
    assert deflated(back) < deflated(first)
    page = (place.home / "reports" / "direction" / LAST[:7] / "report.html").read_text()
    assert "4 tries of these outcomes, 4 sets of predictions scored" in page
    assert "Deflated for 4 trials" in page


def test_other_costs_of_the_same_predictions_are_another_try(place: Workplace) -> None:
    before = reported(place)
    result = place.defs.resolve_job_def("write_report_direction").execute_in_process(
        instance=place.instance,
        partition_key=LAST,
        run_config={"resources": {"data_set": {"config": {"commission": 0.0, "slippage": 0.0}}}},
    )
    (event,) = result.asset_materializations_for_node("report_direction")
    assert event.metadata["tries"].value == before["tries"]["tries"] + 1
    assert "on record at the outcomes of these rows" in str(event.metadata["tries_in_words"].value)


def test_the_choice_of_a_champion_is_a_look(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = reported(place)["tries"]
    monkeypatch.setattr(promote, "CANDIDATE_MONTHS", 0)
    # The copy has no registry of models that could follow.
    monkeypatch.setattr(promote, "_follow", lambda *_: None)
    place.succeed("month_direction", month=EARLIER, assets=("champion_direction",))
    for _ in range(2):
        result = place.succeed("month_direction", month=LAST, assets=("champion_direction",))
        (event,) = result.asset_materializations_for_node("champion_direction")
        assert event.metadata["tries"].value == 2
        after = reported(place)["tries"]
        # Both models have made predictions that are judged: what they are asked for is no other choice.
        assert (after["tries"], after["alternatives"]) == (before["tries"], before["alternatives"])
        assert after["scored"] == before["scored"] + 2


def test_the_certificate_keeps_what_was_known_and_is_shown_with_what_is(place: Workplace) -> None:
    stored = place.lake().read(certificate_table("direction"), months=(LAST, LAST)).sort("recorded_at")
    known = [json.loads(text)["tries"] for text in stored["certificate"]]
    assert known[0] == {"recorded": 0, "scored": 0, "tries": 0}
    if len(known) > 1:
        assert known[1]["tries"] > 0
        assert known[1]["recorded"] > 0
    shown = CliRunner().invoke(app, ["certificate", "direction", LAST[:7], "--home", str(place.home)])
    assert shown.exit_code == 0, shown.output
    words = " ".join(shown.output.split())
    assert "tries known then" in words
    assert "tries on record at the outcomes of these rows" in words.replace("try on", "tries on")


def test_making_a_month_again_is_no_look(place: Workplace) -> None:
    rows = tries_in(place)
    verified = CliRunner().invoke(
        app, ["verify", "direction", EARLIER[:7], "--quick", "--home", str(place.home)]
    )
    assert verified.exit_code == 0, verified.output
    assert tries_in(place) == rows


def test_the_command_lists_every_look(place: Workplace) -> None:
    command = ["tries", "direction", "--home", str(place.home)]
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    counted = reported(place)["tries"]
    assert {name: told["tries"][name] for name in ("tries", "scored", "alternatives", "complete")} == {
        name: counted[name] for name in ("tries", "scored", "alternatives", "complete")
    }
    assert {look["purpose"] for look in told["looks"]} >= {"report", "estimator"}
    assert pl.DataFrame(told["looks"])["number"].is_sorted()
    listed = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert listed.exit_code == 0, listed.output
    # In a narrow terminal cells are folded.
    for word in ("Looks at labels_direction", "report", "study", "preset", "seed"):
        assert word in listed.output, listed.output


def test_months_with_older_certificates_have_at_least_that_many_tries(place: Workplace) -> None:
    """Certificates of months that were published before there was the ledger do not tell of tries."""
    table = certificate_table("direction")
    stored = place.lake().read(table, months=(EARLIER, EARLIER))
    plain = json.loads(stored["certificate"][0]) | {"format": 2}
    del plain["tries"]
    older = stored.head(1).with_columns(
        pl.lit(json.dumps(plain)).alias("certificate"), pl.lit("older").alias("digest")
    )
    place.lake().publish(table, pl.concat([stored, older]), EARLIER)
    try:
        summary = reported(place)
        assert not summary["tries"]["complete"]
        assert "2014-02 were published before looks" in summary["tries"]["missing"]
        page = (place.home / "reports" / "direction" / LAST[:7] / "report.html").read_text()
        assert re.search(r"at least \d+ tr(y|ies) of these outcomes", page)
        assert "Deflated for at least" in page
    finally:
        place.lake().publish(table, stored, EARLIER)
    assert reported(place)["tries"]["complete"]
