"""How a vendor is asked: no faster than it allows, and again, later, when it is busy or broken.

A vendor's Retry-After is obeyed to the second; other waits grow with each attempt and are drawn at random, so
that many processes do not come back together. A request that the vendor refuses outright is not repeated.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from trademl_pipeline.market.errors import VendorError, VendorRateLimitedError, VendorUnavailableError

RATE_LIMITED = frozenset({418, 429})
BROKEN = frozenset({408, 500, 502, 503, 504, 520, 522, 524})


class Response(Protocol):
    """The parts of a response that the policy looks at, of whichever HTTP library."""

    @property
    def status_code(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers, in any case."""
        ...

    @property
    def content(self) -> bytes:
        """The whole body."""
        ...


T = TypeVar("T", bound=Response)


class TransientError(Exception):
    """A request that may be asked again; `retry_after` is the vendor's own word for when, in seconds."""

    def __init__(self, reason: str, *, rate_limited: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.rate_limited, self.retry_after = rate_limited, retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of attempts and waits.

    Attributes:
        attempts: requests before giving up.
        connect, read: time-outs in seconds.
        first_wait, longest_wait: range of the growing waits, in seconds.
        longest_rest: a Retry-After beyond so many seconds is an error at once.
    """

    attempts: int = 6
    connect: float = 10.0
    read: float = 60.0
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_rest: float = 300.0


DEFAULT_RETRY_POLICY = RetryPolicy()


@dataclass
class TokenBucket:
    """At most `rate` requests a second in the long run, `burst` at once. Safe for threads."""

    rate: float
    burst: int = 1
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _tokens: float = field(init=False)
    _filled: float = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tokens, self._filled = float(self.burst), self.now()

    def take(self) -> None:
        """Wait for a token and take it."""
        with self._lock:
            moment = self.now()
            self._tokens = min(self.burst, self._tokens + (moment - self._filled) * self.rate)
            self._filled = moment
            self._tokens -= 1
            debt = -self._tokens / self.rate
        # Outside the lock, so that others can queue behind: the debt already counts this request.
        if debt > 0:
            self.sleep(debt)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor asks us to wait: a number, or the moment from which on to come back."""
    value = headers.get("Retry-After") or headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _check(response: Response) -> None:
    """Raise TransientError where asking again may help."""
    status = response.status_code
    if status in RATE_LIMITED:
        raise TransientError(
            f"HTTP {status}, too many requests", rate_limited=True, retry_after=retry_after(response.headers)
        )
    if status in BROKEN:
        raise TransientError(f"HTTP {status}", retry_after=retry_after(response.headers))
    kind = response.headers.get("Content-Type") or ""
    if status == 200 and "json" in kind and response.content.rstrip()[-1:] not in (b"}", b"]"):
        raise TransientError(f"the response broke off after {len(response.content)} bytes")


def send_with_retry(
    send: Callable[[], T],
    *,
    vendor: str,
    retry_policy: RetryPolicy,
    bucket: TokenBucket,
    transient: tuple[type[Exception], ...],
    redact: Callable[[str], str],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Send a request until it is answered.

    Args:
        send: sends it once and reads the whole response.
        vendor: name in messages.
        retry_policy: attempts and waits.
        bucket: holds each attempt back to the vendor's rate.
        transient: the HTTP library's own errors after which to ask again.
        redact: takes keys out of a text.
        sleep: waits that many seconds; tests hand in their own.

    Returns:
        The response, whatever its status, unless that means busy or broken.

    Raises:
        VendorBusyError: too many requests to the last, or a longer rest than we wait was asked for.
        VendorUnavailableError: not reached, broken off or failing to the last.
    """

    def once() -> T:
        bucket.take()
        try:
            response = send()
        except transient as error:
            raise TransientError(redact(f"{type(error).__name__}: {error}")) from None
        _check(response)
        return response

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            if error.retry_after > retry_policy.longest_rest:
                raise VendorRateLimitedError(
                    f"{vendor} asks for a rest of {error.retry_after:.0f} s ({error}); run again after it: "
                    "what has been fetched is kept"
                )
            # A little more, so that requests held up together do not fall in again together.
            return error.retry_after + random.uniform(0, min(1.0, retry_policy.first_wait))
        grown = min(retry_policy.longest_wait, retry_policy.first_wait * 2 ** (state.attempt_number - 1))
        return random.uniform(grown / 2, grown)

    try:
        return Retrying(
            stop=stop_after_attempt(retry_policy.attempts),
            wait=wait,
            retry=retry_if_exception_type(TransientError),
            sleep=sleep,
            reraise=True,
        )(once)
    except TransientError as error:
        tried = (
            f"in {retry_policy.attempts} attempts ({error}); run again later: what has been fetched is kept"
        )
        failed: VendorError
        if error.rate_limited:
            failed = VendorRateLimitedError(f"{vendor} allowed no more requests {tried}")
        else:
            failed = VendorUnavailableError(f"{vendor} gave no whole response {tried}")
        raise failed from None
