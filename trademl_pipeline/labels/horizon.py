"""Where a label's interval ends, and the price that it reads there.
 A horizon of h counts the sessions of the exchange, not the symbol's rows. At the h-th session after t the
label reads the last price traded up to it. Where the symbol did not trade on that session (halted,
delisted), the price is older and the label says so in `last_price`. Nobody needs to know at t, nor at the
horizon, whether the name will trade again; so no label depends on anything after its own end. Where the
history given ends before the horizon, the label is absent.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

KEY = ("symbol", "session")


class LabelInputError(ValueError):
    """Labels cannot be made of the input; the message says what it must be."""


def session_frame(panel: pl.DataFrame, sessions: Sequence[date] | pl.Series | None) -> pl.DataFrame:
    """The exchange's sessions in order, numbered: session, index (Int32).

    Args:
        panel: rows with a `session`.
        sessions: the calendar up to the end of the history; None takes the sessions on which anything in
            the panel traded.

    Raises:
        LabelInputError: the panel has sessions that the calendar lacks.
    """
    own = panel.select(pl.col("session").unique())
    if sessions is None:
        frame = own.sort("session")
    else:
        frame = pl.DataFrame({"session": sessions}).cast({"session": panel.schema["session"]}).unique()
        frame = frame.sort("session")
        strange = own.join(frame, on="session", how="anti")
        if strange.height:
            raise LabelInputError(
                f"the calendar lacks sessions of the panel: {strange.height}, e.g. {strange['session'].min()}"
            )
    return frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("index"))


def at_horizon(
    panel: pl.DataFrame,
    columns: Sequence[str],
    horizon: int,
    sessions: Sequence[date] | pl.Series | None = None,
) -> pl.DataFrame:
    """The panel's rows with label_start, label_end and what the columns are worth there.

    Args:
        panel: sorted by symbol and session, with the columns.
        columns: read at the horizon, as `<column>_end`.
        horizon: sessions ahead, at least 1.
        sessions: see `session_frame`.

    Returns:
        The panel plus label_start (= session), label_end, `<column>_end` and last_price (true: the symbol
        did not trade at label_end, and its last price stands in), for the rows whose horizon lies within
        the history.
    """
    if horizon < 1:
        raise LabelInputError(f"horizon is {horizon}; it must be at least 1 session")
    calendar = session_frame(panel, sessions)
    last = calendar.height - 1
    index = panel.select("session").join(calendar, on="session", how="left", maintain_order="left")["index"]
    start = index.to_numpy().astype(np.int64)
    end = start + horizon
    # One ascending number per (symbol, session): the last row at or before the horizon is one binary search.
    symbol = panel["symbol"].rle_id().to_numpy().astype(np.int64) * (last + horizon + 2)
    row = np.searchsorted(symbol + start, symbol + end, side="right") - 1
    within = end <= last
    row, end = row[within], end[within]
    return panel.filter(pl.Series(within)).with_columns(
        pl.col("session").alias("label_start"),
        calendar["session"].gather(end).alias("label_end"),
        *(panel[c].gather(row).alias(f"{c}_end") for c in columns),
        pl.Series("last_price", start[row] < end),
    )
