"""Servers of each vendor, and a retry policy whose waits do not make the tests wait."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trademl_pipeline.market.vendors.retry import RetryPolicy
from trademl_pipeline_tests.market.vendors.alpaca_server import Alpaca
from trademl_pipeline_tests.market.vendors.binance_server import Binance
from trademl_pipeline_tests.market.vendors.yahoo_server import Yahoo

# Time-outs stay long: a server that answers may be slow where other work wants the cores.
HURRIED = RetryPolicy(attempts=3, first_wait=0.01, longest_wait=0.02, longest_rest=5)
# For a server that never answers.
IMPATIENT = replace(HURRIED, connect=0.5, read=0.1)


@pytest.fixture
def binance() -> Iterator[Binance]:
    with Binance() as server:
        yield server


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    with Alpaca() as server:
        yield server


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Yahoo]:
    """Yahoo, with every request of curl_cffi to a host of Yahoo's led to it, and no cookies kept between tests."""
    import yfinance
    from curl_cffi import requests as curl

    send = curl.Session.request
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))
    with Yahoo() as server:

        def led(session: Any, method: Any, url: str, **options: Any) -> Any:
            here = re.sub(r"^https://[a-z0-9.]*yahoo\.com", server.url, url)
            assert here.startswith(server.url), url
            return send(session, method, here, **options)

        monkeypatch.setattr(curl.Session, "request", led)
        yield server
