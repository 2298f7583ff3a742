"""A requests session that asks a vendor by a retry policy, for our own calls and under a vendor's client library."""

from collections.abc import Callable, Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ConnectionError, ContentDecodingError, Timeout

from trademl_pipeline.market.vendors.retry import RetryPolicy, TokenBucket, send_with_retry


def redactor(secrets: Sequence[str]) -> Callable[[str], str]:
    """A function that takes these secrets out of a text."""
    known = sorted(filter(None, secrets), key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return text

    return redact


class RetryAdapter(HTTPAdapter):
    """Transport that waits its turn, has time-outs, reads the whole response, and asks again where that may help."""

    def __init__(
        self, vendor: str, retry_policy: RetryPolicy, bucket: TokenBucket, redact: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._vendor, self._retry_policy, self._bucket, self._redact = vendor, retry_policy, bucket, redact

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request; raises what `send_with_retry` raises."""
        options["timeout"] = (self._retry_policy.connect, self._retry_policy.read)

        def once() -> requests.Response:
            response = super(RetryAdapter, self).send(request, **options)
            # Read here, so that a response that breaks off counts as a failed attempt.
            _ = response.content
            return response

        return send_with_retry(
            once,
            vendor=self._vendor,
            retry_policy=self._retry_policy,
            bucket=self._bucket,
            transient=(ConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError),
            redact=self._redact,
        )


def mount(
    session: requests.Session,
    vendor: str,
    retry_policy: RetryPolicy,
    bucket: TokenBucket,
    secrets: Sequence[str] = (),
) -> requests.Session:
    """Let a session ask by a retry policy, wherever it goes.

    Args:
        session: gets an adapter for https and http.
        vendor: name in messages.
        retry_policy: attempts, time-outs and waits.
        bucket: shared by all that ask the vendor; holds requests back to its rate.
        secrets: texts that no message may show.

    Returns:
        The session.
    """
    adapter = RetryAdapter(vendor, retry_policy, bucket, redactor(secrets))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
