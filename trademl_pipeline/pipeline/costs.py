"""Costs of trading in the naive portfolio of a report, as the settings say."""

from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.settings import Settings


def costs_of(settings: Settings) -> Costs:
    """Return commission, slippage and the cap on a session's volume."""
    costs = settings.costs
    return Costs(costs.commission, costs.slippage, costs.participation)
