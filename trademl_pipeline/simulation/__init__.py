"""The simulated market: prices with planted signals, and the oracle that knows them."""

from trademl_pipeline.simulation.market import SimulatedMarket

__all__ = ["SimulatedMarket"]
