"""Which months of its inputs a month of an asset reads. Every lookback looks back only."""

import math
from dataclasses import dataclass

# The fewest sessions a calendar month of XNYS has had since 1990 is 15 (September 2001); one month more
# covers a lookback that begins inside a month.
MIN_SESSIONS_A_MONTH = 15


@dataclass(frozen=True)
class Lookback:
    """Months that month M reads of an input, relative to M.

    Attributes:
        first: the earliest, 0 or negative; None: from the beginning of history.
        last: the latest, 0 or negative.
    """

    first: int | None
    last: int = 0

    def __post_init__(self) -> None:
        if self.last > 0 or (self.first is not None and self.first > self.last):
            raise ValueError(f"a lookback from {self.first} to {self.last} months does not look back")


# Month M reads month M.
SAME_MONTH = Lookback(0)
# What a model may learn from: all months that end before M.
ALL_BEFORE = Lookback(None, -1)
# What a report may show: all months up to and including M.
ALL_UNTIL = Lookback(None)


def months_back(sessions: int) -> int:
    """Return the number of calendar months that surely hold `sessions` sessions before the first day of a month."""
    return math.ceil(sessions / MIN_SESSIONS_A_MONTH)


def sessions_back(sessions: int) -> Lookback:
    """Return the lookback of a month that reads `sessions` sessions before its first one."""
    return Lookback(-months_back(sessions))
