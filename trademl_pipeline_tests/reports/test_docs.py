import re
from pathlib import Path

from trademl_pipeline.evaluation.metrics import IC_ALARM
from trademl_pipeline.reports.inputs import ReportConfig
from trademl_pipeline.tasks import TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()


def test_example_runs_as_it_stands(made, tmp_path, capsys):
    inputs = made.inputs()
    names = {
        "predictions": inputs.predictions,
        "outcomes": inputs.outcomes,
        "bars": inputs.bars,
        "folder": tmp_path,
    }
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1), names)
    assert capsys.readouterr().out.startswith("No edge")
    assert (tmp_path / "mine" / "report.html").exists()
    assert (tmp_path / "comparison" / "report.md").exists()


def test_page_names_the_ceilings_and_tasks_as_they_are():
    config = ReportConfig("x", "x", horizon=5, seed=1)
    assert f"rank IC above {IC_ALARM:.2f}" in PAGE
    assert f"direction {100 * config.direction_ceiling:.0f} points" in PAGE
    assert f"surely above {config.sharpe_ceiling:.0f}" in PAGE
    assert all(f"`{task}`" in PAGE for task in TASKS)
