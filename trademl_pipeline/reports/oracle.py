"""The best forecast of a simulated market, as a yardstick on the very rows that the model is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig, ReportError


@dataclass(frozen=True)
class Oracle:
    """The best forecast of a simulated market, scored on the rows that the model is scored on.

    Attributes:
        directional_accuracy, rank_ic: the oracle's; no direction where the study's score calls none.
        direction_share: share of the oracle's excess over the majority that the model has; None if it has
            none.
        ic_share: the model's rank IC over the oracle's.
        direction_difference, ic_difference: model less oracle, drawn together.
        agreement: mean daily rank correlation of the model's score with the oracle's expectation. What it is expected
            to have of the oracle's rank IC, since given the expectation outcomes are luck: of the two shares the one
            that a few months can tell.
        probability_scores: by name of the yardstick, what the oracle's probabilities score.
        probability_shares: by what it is a share of, the model's part of that; see `tasks.report_spec.Yardstick`.
    """

    directional_accuracy: Score | None
    rank_ic: Score | None
    direction_share: float | None
    ic_share: float | None
    direction_difference: Score | None
    ic_difference: Score | None
    agreement: Score | None
    probability_scores: Mapping[str, Score] = field(default_factory=dict)
    probability_shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        """Return the model's shares of the oracle's score, by what each is a share of, surest first."""
        agreed = self.agreement.value if self.agreement else None
        ranked = {
            "expected ranking": agreed,
            "rank IC": self.ic_share,
            "excess in direction": self.direction_share,
        }
        return {**self.probability_shares, **{name: x for name, x in ranked.items() if x is not None}}


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
        oracle: symbol, session and any of: expected_return with, where given, p_up, whose side of a half is then
            its call; the probabilities of the task's views.
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
    ranked = (
        _ranked(oracle, rows, daily, direction, ic, config) if "expected_return" in oracle.columns else {}
    )
    return Oracle(**(dict.fromkeys(_RANKED) | ranked), **_probability_scores(oracle, rows, config))


_RANKED = (
    "directional_accuracy",
    "rank_ic",
    "direction_share",
    "ic_share",
    "direction_difference",
    "ic_difference",
    "agreement",
)


def _joined(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    both = rows.join(known, on=["symbol", "session"], maintain_order="left")
    if both.is_empty():
        raise ReportError("the oracle shares no (symbol, session) with the scored predictions")
    return both


def _ranked(
    oracle: pl.DataFrame,
    rows: pl.DataFrame,
    daily: pl.DataFrame,
    direction: Score | None,
    ic: Score | None,
    config: ReportConfig,
) -> dict[str, Any]:
    """Direction and ranks."""
    call = pl.col("p_up") - 0.5 if "p_up" in oracle.columns else pl.col("expected_return")
    both = _joined(rows, oracle.select("symbol", "session", "expected_return", call.alias("oracle_call")))
    boot = config.bootstrap
    best_ic = difference = agreement = None
    best_daily = metrics.rank_ic_by_session(both, score="expected_return", min_symbols=config.min_symbols)
    if ic is not None and not best_daily.is_empty():
        best_ic = metrics.rank_ic(best_daily, boot)
        paired = daily.join(best_daily.rename({"ic": "best"}).drop("n"), on="session")
        difference = metrics.rank_ic(paired.with_columns(ic=pl.col("ic") - pl.col("best")), boot)
    agreed = metrics.rank_ic_by_session(both, outcome="expected_return", min_symbols=config.min_symbols)
    if not agreed.is_empty():
        agreement = replace(metrics.rank_ic(agreed, boot), name="agreement with the oracle")
    best, share = None, None
    if direction is not None:
        best = metrics.directional_accuracy(both, boot, score="oracle_call")
        share = _share(direction, best, "majority")
    return {
        "directional_accuracy": best,
        "rank_ic": best_ic,
        "direction_share": share,
        "ic_share": _share(ic, best_ic, ""),
        "direction_difference": _direction_difference(both, config) if best else None,
        "ic_difference": difference,
        "agreement": agreement,
    }


def _probability_scores(oracle: pl.DataFrame, rows: pl.DataFrame, config: ReportConfig) -> dict[str, Any]:
    """Probabilities of the task's views, on the same rows."""
    columns = [c for view in config.kind.views for c in view.columns]
    scores, shares = {}, {}
    if not columns or not set(columns) <= set(oracle.columns):
        return {"probability_scores": scores, "probability_shares": shares}
    both = _joined(rows, oracle.select("symbol", "session", pl.col(columns).name.suffix("_oracle")))
    best_rows = both.with_columns(pl.col(f"{c}_oracle").alias(c) for c in columns)
    if config.kind.oracle_score is not None:
        best_rows = best_rows.with_columns(config.kind.oracle_score.alias("score"))
    for stick in config.kind.yardsticks:
        score, best = stick.of(both, config), stick.of(best_rows, config)
        if best is None or best.value is None:
            continue
        scores[stick.name] = best
        share = _share(score, best, stick.floor)
        if share is not None:
            shares[stick.excess_name] = share
    return {"probability_scores": scores, "probability_shares": shares}


def _share(score: Score | None, best: Score | None, floor: str) -> float | None:
    """The model's share of the oracle's excess over a baseline; None where the oracle leads by nothing."""
    if score is None or best is None or score.value is None or best.value is None:
        return None
    none = best.baselines[floor] if floor else 0.0
    return (score.value - none) / (best.value - none) if best.value > none else None


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
