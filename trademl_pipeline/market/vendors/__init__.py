"""Vendors of market data behind the protocol `BarSource`: Alpaca, Binance and Yahoo."""

from trademl_pipeline.market.vendors.alpaca import AlpacaSource
from trademl_pipeline.market.vendors.binance import BinanceSource
from trademl_pipeline.market.vendors.yahoo import YahooSource

VENDORS = ("alpaca", "binance", "yahoo")

__all__ = ["VENDORS", "AlpacaSource", "BinanceSource", "YahooSource"]
