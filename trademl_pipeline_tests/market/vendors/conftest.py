"""Servers of each vendor, and a patience that does not make the tests wait."""

from collections.abc import Iterator

import pytest

from trademl_pipeline.market.vendors.patience import Patience
from trademl_pipeline_tests.market.vendors.binance_server import Binance

HURRIED = Patience(attempts=3, connect=2, read=0.5, first_wait=0.01, longest_wait=0.02, longest_rest=5)


@pytest.fixture
def binance() -> Iterator[Binance]:
    with Binance() as server:
        yield server
