"""Columns that know more of the next return than is plausible: shown as a warning, refused by nobody."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SUSPICIOUS = "suspicious"


@dataclass(frozen=True)
class Suspicion:
    """A column whose values rank the next returns better than honest features do.

    Attributes:
        column: its name.
        correlation: mean rank correlation with the return to the next session.
        error: its standard error.
        sessions: that it is a mean over; of fewer symbols than can be ranked, sessions of each.
        rows: values in all.
        ceiling: that a correlation stays under, as far as is known of honest features.
    """

    column: str
    correlation: float
    error: float
    sessions: int
    rows: int
    ceiling: float

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data, as it stands in a coverage."""
        return asdict(self)

    @property
    def words(self) -> str:
        """All of it in one line."""
        return (
            f"{self.column} ranks the returns to the next session with {self.correlation:+.3f} ± {self.error:.3f} over "
            f"{self.sessions:,} sessions ({self.rows:,} values); honest features stay under {self.ceiling}: look for "
            "the next price among what it is made of"
        )


def suspicions_in(coverage: Mapping[str, Any]) -> Iterator[Suspicion]:
    """Yield the suspicions that stand in a probe's coverage, those of its parts too."""
    for part in coverage.get("parts", ()):
        yield from suspicions_in(part)
    for plain in coverage.get(SUSPICIOUS, ()):
        yield Suspicion(**plain)
