"""The end of a label's interval, and the price that it reads there.

A horizon of h counts the sessions of the exchange, not the symbol's rows. At the h-th session after t the
label reads the last price traded up to it. Where the symbol did not trade on that session (halted,
delisted), the price is older and the label says so in `last_price`. Nobody needs to know at t, nor at the
horizon, whether the name will trade again; so no label depends on anything after its own end. Where the
history given ends before the horizon, the label is absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

KEY = ("symbol", "session")

Sessions = Sequence[date] | pl.Series | None


class LabelInputError(ValueError):
    """Labels cannot be made of the input; the message says what it must be."""


@dataclass(frozen=True)
class Clock:
    """The rows of a panel on the exchange's calendar.

    Attributes:
        calendar: the exchange's sessions in order, up to the end of the history.
        symbol: (rows,) number of the row's symbol, ascending.
        index: (rows,) number of the row's session in the calendar.
    """

    calendar: pl.Series
    symbol: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, panel: pl.DataFrame, sessions: Sessions = None) -> "Clock":
        """The clock of a panel that is sorted by symbol and session.

        Args:
            panel: symbol, session.
            sessions: the exchange's sessions up to the end of the history; None takes the sessions on which
                anything in the panel traded.

        Raises:
            LabelInputError: the panel has sessions that the calendar lacks.
        """
        panel_sessions = panel.select(pl.col("session").unique().sort())
        frame = panel_sessions
        if sessions is not None:
            frame = pl.DataFrame({"session": sessions}).cast({"session": panel.schema["session"]})
            frame = frame.select(pl.col("session").unique().sort())
            strange = panel_sessions.join(frame, on="session", how="anti")
            if strange.height:
                raise LabelInputError(
                    f"the calendar lacks {strange.height} sessions of the panel, e.g. {strange['session'].min()}"
                )
        numbered = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("index"))
        rows = panel.select("session").join(numbered, on="session", how="left", maintain_order="left")
        symbol = panel["symbol"].rle_id().to_numpy().astype(np.int64)
        return cls(frame["session"], symbol, rows["index"].to_numpy().astype(np.int64))

    def last_row(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row the symbol's last row within the horizon, and whether the horizon lies in the history.

        Raises:
            LabelInputError: the horizon is not at least 1 session.
        """
        if horizon < 1:
            raise LabelInputError(f"horizon is {horizon}; it must be at least 1 session")
        # One ascending number per (symbol, session), so that the row is one binary search.
        base = self.symbol * (len(self.calendar) + horizon + 1)
        row = np.searchsorted(base + self.index, base + self.index + horizon, side="right") - 1
        return row, self.index + horizon < len(self.calendar)

    def session(self, index: np.ndarray) -> pl.Series:
        """Sessions by their numbers."""
        return self.calendar.gather(index)


def at_horizon(
    panel: pl.DataFrame, columns: Sequence[str], horizon: int, sessions: Sessions = None
) -> pl.DataFrame:
    """The panel's rows with label_start, label_end and what the columns are worth there.

    Args:
        panel: sorted by symbol and session, with the columns.
        columns: read at the horizon, as `<column>_end`.
        horizon: sessions ahead, at least 1.
        sessions: see `Clock.of`.

    Returns:
        The panel plus label_start (= session), label_end, `<column>_end` and last_price (true: the symbol
        did not trade at label_end, and its last price stands in), for the rows whose horizon lies within
        the history.
    """
    clock = Clock.of(panel, sessions)
    row, within = clock.last_row(horizon)
    row, end = row[within], clock.index[within] + horizon
    return panel.filter(pl.Series(within)).with_columns(
        pl.col("session").alias("label_start"),
        clock.session(end).alias("label_end"),
        *(panel[c].gather(row).alias(f"{c}_end") for c in columns),
        pl.Series("last_price", clock.index[row] < end),
    )
