"""Errors of portfolio code."""


class PortfolioError(ValueError):
    """Predictions, bars or settings from which no portfolio can be made; the message names what is wrong."""
