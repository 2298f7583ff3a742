"""The task that docs/extending.md adds, in one file and without report pages of its own, comes to a written report."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from trademl_pipeline import studies
from trademl_pipeline.defs import build_definitions
from trademl_pipeline.features.prepare import prepare
from trademl_pipeline.labels import TARGETS, Target
from trademl_pipeline.labels.horizon import Sessions, at_horizon
from trademl_pipeline.pipeline.models import load_models
from trademl_pipeline.pipeline.promote import ChampionStep, champion_view
from trademl_pipeline.reports import build_comparison
from trademl_pipeline.reports.tasks.pages import PAGES
from trademl_pipeline.settings import ROOT
from trademl_pipeline.studies import StudySpec, WalkForwardConfig
from trademl_pipeline.tasks import TASKS
from trademl_pipeline.tasks.checks import checked
from trademl_pipeline_tests.defs.conftest import Workplace

pytestmark = pytest.mark.slow

FIRST, FOLD, LAST = "2013-01-01", "2013-05-01", "2013-06-01"
PAGE = (ROOT / "docs" / "extending.md").read_text()


def added() -> dict[str, Any]:
    """What the page adds: target, task and study, as it stands there."""
    names: dict[str, Any] = {
        "pl": pl,
        "Target": Target,
        "Sessions": Sessions,
        "at_horizon": at_horizon,
        "prepare": prepare,
    }
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(next(b for b in blocks if "RISE = Target(" in b), names)
    TARGETS["rise"] = names["RISE"]
    exec(next(b for b in blocks if "class Rise(Task)" in b), names)
    TASKS["rise"] = checked(names["Rise"])
    exec(next(b for b in blocks if "RISING = StudySpec(" in b), names)
    return names


def short(study: StudySpec) -> StudySpec:
    """The study with a fold after few months."""
    return replace(
        study, folds=WalkForwardConfig(min_train=40, embargo=5), validation_sessions=21, presets=("small",)
    )


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict, str, pl.DataFrame, pl.DataFrame]]:
    """Summary and Markdown of the report, predictions, and scores of both models for the champion's contest."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("TRADEML_HOME", str(home))
        patch.setenv("TRADEML_SYMBOLS", "6")
        patch.setenv("TRADEML_THREADS", "1")
        patch.delenv("TRADEML_SOURCE", raising=False)
        # Put back when the module is done.
        patch.setitem(TARGETS, "rise", None)
        patch.setitem(TASKS, "rise", None)
        study = short(added()["RISING"])
        patch.setitem(studies.STUDIES, study.name, study)
        place = Workplace(home, instance, build_definitions())
        place.succeed("prepare_rising", months=(FIRST, LAST))
        place.succeed("fold_rising", month=FOLD)
        place.succeed("fold_rising", month=LAST)
        place.succeed("write_report_rising", month=LAST)
        folder = home / "reports" / "rising" / LAST[:7]
        assert (folder / "report.html").stat().st_size > 1_000_000
        workspace = place.workspace()
        view = champion_view(workspace, study, LAST)
        models = {
            fold: load_models(workspace.artifacts, study, view.read(study.models, months=(fold, fold)), fold)
            for fold in (FOLD, LAST)
        }
        scores = ChampionStep(study, LAST, workspace.calendar, models).scores(view, FOLD, LAST)
        assert scores is not None
        yield (
            json.loads((folder / "summary.json").read_text()),
            (folder / "report.md").read_text(),
            place.lake().read("predictions_rising", months=(FOLD, LAST)),
            scores,
        )


def test_its_predictions_are_published_with_its_own_columns(written):
    predictions = written[2]
    total = predictions.select(pl.sum_horizontal("p_lower", "p_higher")).to_series()
    assert ((total - 1.0).abs() < 1e-9).all()
    assert (predictions["score"] - (predictions["p_higher"] - predictions["p_lower"])).abs().max() < 1e-12
    assert predictions["fold"].unique().sort().to_list() == [FOLD, LAST]


def test_its_champion_is_compared_as_it_declares(written):
    scores = written[3]
    assert scores.columns == ["session", "champion", "challenger"]
    assert scores.select(pl.all_horizontal(pl.col("champion", "challenger") < 0).all()).item()


def test_its_report_is_the_general_one_with_its_primary_metric_first(written):
    summary, document = written[0], written[1]
    assert "rise" not in PAGES
    assert summary["task"] == "rise"
    parts = summary["sections"]
    assert {"scores", "members", "consistency", "drift", "examples"} <= set(parts)
    (table,) = parts["scores"]["tables"]
    measures = [row[0] for row in table["rows"]]
    assert measures == ["AUC", "Rank IC", "Directional accuracy", "Class accuracy", "Brier score"]
    figure, between, without_skill = table["rows"][0][1:4]
    assert 0 < float(figure) < 1
    assert " to " in between
    assert without_skill == "0.500 by chance"
    assert parts["scores"]["text"][0] in document
    assert summary["verdict"]["headline"] in document
    assert summary["gate"]["audited"]
    assert not summary["gate"]["refused"]
    assert [fold["fold"] for fold in summary["folds"]] == [FOLD, LAST]
    names = [line["name"] for line in summary["lines"]]
    assert len(set(names)) == len(names)
    assert {"AUC", "Daily rank IC, mean", "Class accuracy", "Sharpe ratio after costs"} <= set(names)


def test_it_stands_in_the_comparison_of_studies(written):
    assert "rising" in build_comparison([written[0]]).to_markdown()
