"""Scores of the oracle on a table of forecasts and outcomes."""

import polars as pl


def best_scores(table: pl.DataFrame) -> dict[str, float]:
    """The figures of `SimulatedMarket.best_scores`.

    Args:
        table: session, expected_return, signal_return, p_up, forward_return and imagined_return, one row
            per key.
    """
    up = pl.col("forward_return") > 0
    figures = table.select(
        n=pl.len(),
        days=pl.col("session").n_unique(),
        directional_accuracy=((pl.col("p_up") > 0.5) == up).mean(),
        expected_directional_accuracy=pl.max_horizontal("p_up", 1 - pl.col("p_up")).mean(),
        signal_directional_accuracy=((pl.col("signal_return") > 0) == up).mean(),
        always_up=up.mean(),
    ).row(0, named=True)
    return {
        **figures,
        "rank_ic": rank_ic(table, "expected_return", "forward_return"),
        "expected_rank_ic": rank_ic(table, "expected_return", "imagined_return"),
        "signal_rank_ic": rank_ic(table, "signal_return", "forward_return"),
        "majority": max(figures["always_up"], 1 - figures["always_up"]),
    }


def rank_ic(table: pl.DataFrame, forecast: str, outcome: str) -> float:
    """Mean over sessions of the rank correlation of two columns, where it is defined."""
    daily = table.group_by("session").agg(ic=pl.corr(forecast, outcome, method="spearman"))
    return float(daily.filter(pl.col("ic").is_finite())["ic"].mean())  # pyright: ignore[reportArgumentType]
