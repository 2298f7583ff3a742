"""The split inside a fold's training rows on which rounds, epochs and thresholds are chosen.

Invariant: no label that the inner training rows read reaches the inner validation sessions, and at least
    `embargo`
sessions lie between, as between the outer training and test rows.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from trademl_pipeline.sequences.errors import FitError


@dataclass(frozen=True)
class InnerSplit:
    """Masks over the rows of the split frame.

    Attributes:
        train: (rows,) rows to learn from.
        validation: (rows,) rows to choose on.
        first_validation: first session of the validation rows.
        purged: rows that are in neither, since their label or the embargo reaches the validation sessions.
    """

    train: np.ndarray
    validation: np.ndarray
    first_validation: date
    purged: int


def inner_split(keys: pl.DataFrame, *, validation_sessions: int, embargo: int) -> InnerSplit:
    """Keep the last sessions for validation and purge the labels that reach them.

    Sessions are counted among those that the frame holds, once over all symbols and once symbol by symbol,
    and the earlier cut-off wins: a symbol that misses sessions or trades on another calendar loses more rows,
    never fewer.

    Args:
        keys: symbol, session, label_end (all dates), one row a label, in any order.
        validation_sessions: number of last sessions that validate.
        embargo: sessions left empty between the last label read and the first validation session.

    Returns:
        The masks, aligned with the rows of `keys`.

    Raises:
        FitError: if either side would be empty.
    """
    if validation_sessions < 1 or embargo < 0:
        raise ValueError(
            f"validation_sessions must be >= 1 and embargo >= 0, got {validation_sessions} and {embargo}"
        )
    sessions = keys["session"].unique().sort()
    first = len(sessions) - validation_sessions
    if first - embargo < 1:
        raise FitError(
            f"{len(sessions)} training sessions leave nothing before {validation_sessions} validation "
            f"sessions and an embargo of {embargo}; give more history or validate on fewer sessions"
        )
    first_validation = sessions[first]
    overall = sessions[first - embargo]
    cutoffs = (
        keys.select("symbol", "session")
        .unique()
        .filter(pl.col("session") < first_validation)
        .with_columns(back=pl.col("session").rank("ordinal", descending=True).over("symbol"))
        .filter(pl.col("back") == max(embargo, 1))
        .select("symbol", cutoff="session")
    )
    marked = keys.join(cutoffs, on="symbol", how="left", maintain_order="left")
    validation = (marked["session"] >= first_validation).to_numpy()
    if embargo:
        # A symbol with fewer sessions than the embargo before validation has no cut-off of its own, and no such row.
        before = marked.select(
            (pl.col("label_end") < pl.min_horizontal("cutoff", pl.lit(overall)))
            & pl.col("cutoff").is_not_null()
        ).to_series()
    else:
        before = marked["label_end"] < first_validation
    train = before.to_numpy() & ~validation
    if not train.any():
        raise FitError(
            f"every training label reaches the validation sessions from {first_validation} or the embargo "
            f"of {embargo} sessions before them; give more history or a shorter label"
        )
    return InnerSplit(train, validation, first_validation, int((~train & ~validation).sum()))
