"""A requests session that asks a vendor patiently, for our own calls and under a vendor's client library."""

from collections.abc import Callable, Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ConnectionError, ContentDecodingError, Timeout

from trademl_pipeline.market.vendors.patience import Patience, TokenBucket, patiently


def redactor(secrets: Sequence[str]) -> Callable[[str], str]:
    """A function that takes these secrets out of a text."""
    known = sorted(filter(None, secrets), key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return text

    return redact


class PatientAdapter(HTTPAdapter):
    """Transport that waits its turn, has time-outs, reads the whole answer, and asks again where that may help."""

    def __init__(
        self, vendor: str, patience: Patience, bucket: TokenBucket, redact: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._vendor, self._patience, self._bucket, self._redact = vendor, patience, bucket, redact

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request; raises what `patiently` raises."""
        options["timeout"] = (self._patience.connect, self._patience.read)

        def once() -> requests.Response:
            response = super(PatientAdapter, self).send(request, **options)
            # Read here, so that an answer that breaks off counts as a failed attempt.
            _ = response.content
            return response

        return patiently(
            once,
            vendor=self._vendor,
            patience=self._patience,
            bucket=self._bucket,
            transient=(ConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError),
            redact=self._redact,
        )


def mount(
    session: requests.Session,
    vendor: str,
    patience: Patience,
    bucket: TokenBucket,
    secrets: Sequence[str] = (),
) -> requests.Session:
    """Let a session ask patiently, wherever it goes.

    Args:
        session: gets an adapter for https and http.
        vendor: name in messages.
        patience: attempts, time-outs and waits.
        bucket: shared by all that ask the vendor; holds requests back to its rate.
        secrets: texts that no message may show.

    Returns:
        The session.
    """
    adapter = PatientAdapter(vendor, patience, bucket, redactor(secrets))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
