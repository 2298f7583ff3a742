"""Errors of market data. Each message says what is wrong, where, and what to do."""

from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches


class MarketError(Exception):
    """Base of all errors of this package."""


class CalendarError(MarketError):
    """An unknown calendar, a day outside the calendar's bounds, or a day that is no session."""


class BarsSchemaError(MarketError):
    """A frame of bars lacks a column or holds one of the wrong type; `column` names it."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class UniverseError(MarketError):
    """A universe that nobody knows, or whose list of members cannot be read."""


class SourceFileError(MarketError):
    """A file or folder of bars cannot be found or read."""


class MissingColumnsError(SourceFileError):
    """A file lacks columns that bars need; `missing` and `available` list them."""

    def __init__(self, where: str, missing: Sequence[str], available: Sequence[str]) -> None:
        self.missing, self.available = list(missing), list(available)
        example = ", ".join(f"{name}=<your column>" for name in self.missing)
        super().__init__(
            f"{where} has no column for {', '.join(self.missing)}; it has: "
            f"{', '.join(self.available) or '(none)'}. "
            f"Say which of them it is: --column {example}, or FileSource(columns={{...}}) with the same pairs"
        )


class UnknownSymbolError(MarketError):
    """Symbols were asked for that the source does not have; `symbols` lists them."""

    def __init__(self, source: str, unknown: Sequence[str], known: Sequence[str]) -> None:
        self.symbols = list(unknown)
        named = []
        for symbol in self.symbols[:5]:
            near = get_close_matches(symbol, known, n=3, cutoff=0.5)
            named.append(f"{symbol!r}" + (f" (near: {', '.join(near)})" if near else ""))
        more = f" and {len(self.symbols) - 5} more" if len(self.symbols) > 5 else ""
        super().__init__(
            f"source {source!r} has {len(known)} symbols, but not {', '.join(named)}{more}; "
            "spell them as the source does"
        )


class EmptyMonthError(MarketError):
    """A source has no rows in the range asked for."""

    def __init__(
        self, source: str, start: date, end: date, span: tuple[date, date] | None, note: str = ""
    ) -> None:
        if start.replace(day=1) == end.replace(day=1):
            period = f"in {start:%Y-%m}"
        else:
            period = f"from {start:%Y-%m} to {end:%Y-%m}"
        have = f"it has bars from {span[0]} to {span[1]}" if span else "it has no bars at all"
        super().__init__(
            f"source {source!r} has no bars {period} ({start} to {end}{note}); {have}. "
            "Ask for months in that span, or point the source at the missing data"
        )


class VendorError(MarketError):
    """Base of what can go wrong between a vendor of market data and us. No message ever holds a key."""


class MissingPackageError(VendorError):
    """The client library of a vendor is not installed."""

    def __init__(self, vendor: str, package: str) -> None:
        super().__init__(
            f"source {vendor!r} needs the package {package}: pip install 'trademl-pipeline[vendors]' "
            "(in a checkout: .venv/bin/pip install -e '.[vendors]')"
        )


class MissingKeyError(VendorError):
    """A vendor needs keys that are not set; `variables` are the environment variables to set."""

    def __init__(self, vendor: str, variables: Sequence[str], where: str) -> None:
        self.variables = list(variables)
        exports = "; ".join(f"export {name}=..." for name in self.variables)
        super().__init__(
            f"source {vendor!r} needs {' and '.join(self.variables)}; set them: {exports} ({where})"
        )


class VendorRefusedError(VendorError):
    """The vendor understood the request and refuses it: keys, subscription, or a bad request."""


class VendorRateLimitedError(VendorError):
    """The vendor asked to slow down until the attempts were used up, or for longer than we wait."""


class VendorUnavailableError(VendorError):
    """The vendor could not be reached, or broke off, in all attempts."""


class VendorFormatError(VendorError):
    """The vendor's response is not what its interface promises."""
