"""The best forecast of a simulated market, as a yardstick on the very rows that the model is scored on."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from trademl_pipeline.reports.inputs import ReportConfig, ReportError
from trademl_pipeline.training import metrics
from trademl_pipeline.training.metrics import Score


@dataclass(frozen=True)
class Oracle:
    """The best forecast of a simulated market, scored on the rows that the model is scored on.

    Attributes:
        directional_accuracy, rank_ic: the oracle's; no direction where the study's score calls none.
        direction_share: share of the oracle's excess over the majority that the model has; None if it has
            none.
        ic_share: the model's rank IC over the oracle's.
        direction_difference, ic_difference: model less oracle, drawn together.
    """

    directional_accuracy: Score | None
    rank_ic: Score | None
    direction_share: float | None
    ic_share: float | None
    direction_difference: Score | None
    ic_difference: Score | None


def score_oracle(
    oracle: pl.DataFrame | None,
    rows: pl.DataFrame,
    daily: pl.DataFrame,
    direction: Score | None,
    ic: Score | None,
    config: ReportConfig,
) -> Oracle | None:
    """Score the oracle on the rows it shares with the model; None where there is no oracle.

    Args:
        oracle: symbol, session, expected_return and, where given, p_up, whose side of a half is then its
            call.
        rows: scored predictions.
        daily: the model's rank IC by session.
        direction: the model's directional accuracy; None where its score calls no direction.
        ic: the model's mean rank IC.
        config: how to measure.

    Raises:
        ReportError: if it shares no row.
    """
    if oracle is None:
        return None
    call = pl.col("p_up") - 0.5 if "p_up" in oracle.columns else pl.col("expected_return")
    known = oracle.select("symbol", "session", "expected_return", call.alias("oracle_call"))
    both = rows.join(known, on=["symbol", "session"])
    if both.is_empty():
        raise ReportError("the oracle shares no (symbol, session) with the scored predictions")
    boot = config.bootstrap
    best_ic = difference = None
    best_daily = metrics.rank_ic_by_session(both, score="expected_return", min_symbols=config.min_symbols)
    if ic is not None and not best_daily.is_empty():
        best_ic = metrics.rank_ic(best_daily, boot)
        paired = daily.join(best_daily.rename({"ic": "best"}).drop("n"), on="session")
        difference = metrics.rank_ic(paired.with_columns(ic=pl.col("ic") - pl.col("best")), boot)
    best, share = None, None
    if direction is not None:
        best = metrics.directional_accuracy(both, boot, score="oracle_call")
        room = (best.value or 0) - best.baselines["majority"]
        excess = (direction.value or 0) - direction.baselines["majority"]
        share = excess / room if room > 0 else None
    return Oracle(
        directional_accuracy=best,
        rank_ic=best_ic,
        direction_share=share,
        ic_share=ic.value / best_ic.value
        if ic and best_ic and ic.value is not None and best_ic.value
        else None,
        direction_difference=_direction_difference(both, config) if best else None,
        ic_difference=difference,
    )


def _direction_difference(both: pl.DataFrame, config: ReportConfig) -> Score:
    called = both.filter(pl.col("score") != 0, pl.col("forward_return") != 0, pl.col("oracle_call") != 0)
    up = called["forward_return"] > 0
    gain = ((called["score"] > 0) == up).cast(pl.Float64) - ((called["oracle_call"] > 0) == up).cast(
        pl.Float64
    )
    sums = metrics.session_sums(called["session"], [gain, np.ones(called.height)])
    return metrics.score_from_sums(
        "directional accuracy less the oracle's",
        sums,
        metrics.ratio,
        config.bootstrap,
        n=called.height,
        bounds=(-1, 1),
    )
