from pathlib import Path

from trademl_pipeline import settings
from trademl_pipeline.pipeline.costs import costs_of
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.reports.inputs import ReportConfig


def test_the_naive_portfolio_pays_what_the_settings_say(tmp_path: Path):
    (tmp_path / "trademl.yaml").write_text("costs:\n  slippage: 0.002\n  participation: 0.01\n")
    costs = costs_of(settings.load(tmp_path, environ={}))
    assert costs == Costs(commission=0.001, slippage=0.002, volume_cap=0.01)
    assert ReportConfig("direction", "Direction", 5, 0, costs=costs).portfolio_config.costs == costs
    assert ReportConfig("direction", "Direction", 5, 0).portfolio_config.costs == Costs()
