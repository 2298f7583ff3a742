"""From the scores of one session to the weights wanted at its close."""

import polars as pl

from trademl_pipeline.portfolio.errors import PortfolioError
from trademl_pipeline.tasks.report_spec import Weighting


def target_weights(
    predictions: pl.DataFrame,
    weighting: Weighting = "quantile",
    *,
    quantile: float = 0.2,
    gross: float = 1.0,
    min_symbols: int = 5,
) -> pl.DataFrame:
    """Weights wanted at each close; they read the scores of their own session only.

    - quantile: the top share of the symbols long, as many at the bottom short, equal weights. Dollar neutral.
    - rank: weight proportional to rank less mean rank. Dollar neutral. - sign: long above a score of 0, short
    below, equal weights of gross / symbols. Not neutral: all may be long.

    Equal scores share their mean rank under "rank"; under "quantile" a tie at the edge goes by symbol name. A
    session with fewer than `min_symbols` symbols, or whose scores are all equal, wants nothing, save that
    "sign" ranks nothing and so needs neither.

    Args:
        predictions: symbol, session, score.
        weighting: the rule.
        quantile: share of the symbols on each side, in (0, 0.5].
        gross: sum of the absolute weights, as a share of equity.
        min_symbols: fewest symbols to rank.

    Returns:
        symbol, session, score, weight; one row a prediction, sorted by session and symbol.

    Raises:
        PortfolioError: if scores are missing, keys are repeated or a setting is out of range.
    """
    if not 0 < quantile <= 0.5:
        raise PortfolioError(f"quantile must lie in (0, 0.5], got {quantile}")
    if gross <= 0:
        raise PortfolioError(f"gross must be above 0, got {gross}")
    missing = [c for c in ("symbol", "session", "score") if c not in predictions.columns]
    if missing:
        raise PortfolioError(f"predictions lack the columns {missing}; they have {predictions.columns}")
    scores = predictions.select("symbol", "session", pl.col("score").cast(pl.Float64)).sort(
        "session", "symbol"
    )
    bad = scores.filter(pl.col("score").is_null() | ~pl.col("score").is_finite())
    if bad.height:
        raise PortfolioError(
            f"{bad.height} scores are null or not finite, "
            f"the first for {bad['symbol'][0]} on {bad['session'][0]}"
        )
    twice = scores.filter(pl.struct("symbol", "session").is_duplicated())
    if twice.height:
        raise PortfolioError(
            f"predictions repeat {twice.height} keys, such as {twice['symbol'][0]} on {twice['session'][0]}"
        )
    n = pl.len().over("session")
    ranked = (n >= min_symbols) & (pl.col("score").n_unique().over("session") > 1)
    if weighting == "sign":
        weight = gross * pl.col("score").sign() / n
    elif weighting == "rank":
        centred = pl.col("score").rank("average").over("session") - (n + 1) / 2
        weight = pl.when(ranked).then(gross * centred / centred.abs().sum().over("session")).otherwise(0.0)
    elif weighting == "quantile":
        place = pl.col("score").rank("ordinal").over("session").cast(pl.Int64)
        count = pl.max_horizontal((n * quantile).floor().cast(pl.Int64), pl.lit(1, pl.Int64))
        side = pl.when(place > n - count).then(1.0).when(place <= count).then(-1.0).otherwise(0.0)
        weight = pl.when(ranked).then(gross * side / (2 * count)).otherwise(0.0)
    else:
        raise PortfolioError(f"weighting must be 'quantile', 'rank' or 'sign', got {weighting!r}")
    return scores.with_columns(weight=weight)
