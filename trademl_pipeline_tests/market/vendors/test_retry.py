"""No faster than allowed, later when asked, and not for ever."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from trademl_pipeline.market.errors import MissingPackageError, VendorRateLimitedError, VendorUnavailableError
from trademl_pipeline.market.vendors import AlpacaSource, YahooSource
from trademl_pipeline.market.vendors.http import redactor
from trademl_pipeline.market.vendors.retry import RetryPolicy, TokenBucket, retry_after, send_with_retry


@dataclass
class Response:
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b"{}"


class Clock:
    """A clock that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.moment, self.waits = 0.0, []

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.moment += seconds


def ask(answers: list, clock: Clock, **settings) -> Response:
    left = iter(answers)

    def send() -> Response:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send_with_retry(
        send,
        vendor="vendor",
        retry_policy=RetryPolicy(
            **{"attempts": 4, "first_wait": 1.0, "longest_wait": 4.0, "longest_rest": 60.0, **settings}
        ),
        bucket=TokenBucket(1000, burst=1000, now=clock.now, sleep=clock.sleep),
        transient=(ConnectionError,),
        redact=redactor(["key"]),
        sleep=clock.sleep,
    )


def test_retry_after_is_obeyed_to_the_second_and_never_undercut():
    clock = Clock()
    assert ask([Response(429, {"Retry-After": "17"}), Response()], clock).status_code == 200
    assert 17 <= clock.waits[0] <= 18


def test_waits_without_a_word_from_the_vendor_grow_and_are_drawn():
    clock = Clock()
    with pytest.raises(VendorUnavailableError, match="HTTP 503"):
        ask([Response(503)] * 4, clock)
    bounds = [(0.5, 1), (1, 2), (2, 4)]
    assert len(clock.waits) == 3
    assert all(low <= wait <= high for wait, (low, high) in zip(clock.waits, bounds, strict=True))
    others = Clock()
    with pytest.raises(VendorUnavailableError):
        ask([Response(503)] * 4, others)
    assert clock.waits != others.waits


def test_a_rest_that_is_too_long_is_told_at_once():
    clock = Clock()
    with pytest.raises(VendorRateLimitedError, match="rest of 3600 s"):
        ask([Response(429, {"Retry-After": "3600"})], clock)
    assert clock.waits == []


def test_what_the_vendor_refuses_is_not_asked_again():
    assert ask([Response(403)], Clock()).status_code == 403


def test_an_error_of_the_network_is_told_without_keys():
    with pytest.raises(VendorUnavailableError) as caught:
        ask([ConnectionError("no route to https://key@vendor")] * 4, Clock())
    assert "***@vendor" in str(caught.value)
    assert "key" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, None), ({"Retry-After": "3"}, 3), ({"retry-after": "1.5"}, 1.5), ({"Retry-After": "soon"}, None)],
)
def test_retry_after_in_seconds(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers) == seconds


def test_retry_after_as_a_moment():
    before = datetime.now(UTC)
    moment = before.replace(microsecond=0) + timedelta(days=1)
    seconds = retry_after({"Retry-After": format_datetime(moment, usegmt=True)})
    after = datetime.now(UTC)
    assert seconds is not None
    assert (moment - after).total_seconds() <= seconds <= (moment - before).total_seconds()
    assert retry_after({"Retry-After": format_datetime(before - timedelta(seconds=30), usegmt=True)}) == 0


def test_a_bucket_lets_a_burst_through_and_then_its_rate():
    clock = Clock()
    bucket = TokenBucket(2.0, burst=3, now=clock.now, sleep=clock.sleep)
    for _ in range(9):
        bucket.take()
    assert clock.moment == pytest.approx(3.0)
    clock.moment += 100
    for _ in range(3):
        bucket.take()
    assert clock.moment == pytest.approx(103.0)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("alpaca", lambda: AlpacaSource(["AAPL"], key_id="a", secret="b")),
        ("yfinance", lambda: YahooSource(["AAPL"])),
        ("curl_cffi", lambda: YahooSource(["AAPL"])),
    ],
)
def test_a_package_that_is_not_installed_is_named(package: str, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'trademl-pipeline\[vendors\]'"):
        make()
