"""The multi-task study: each head by itself, and whether sizing positions pays."""

from typing import Final

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.forecast_scores import mean_where, qlike_difference
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.evaluation.scores import score_from_sums, session_sums
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import Line, with_interval
from trademl_pipeline.reports.section import Assessment, Section, Table
from trademl_pipeline.reports.tasks.forecast import ewma_volatility
from trademl_pipeline.reports.text import NONE, count, interval, number, percent, plural

HORIZONS: Final = (1, 4, 24)
PARTS: Final = 4


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Assess the multi-task study by what no other task has.

    Args:
        rows: scored predictions.
        inputs: bars, for the volatility baseline.
        config: how to measure.
    """
    sized = rows.with_columns(
        gained=pl.col("position").sign() * pl.col("forward_return"), size=pl.col("position").abs()
    )
    gain = sizing_gain(sized, config)
    sections = [_heads_section(rows, inputs, config), _sizing_section(sized, config, gain)]
    sentence = (
        f"Sizing: weighting by position size changes the mean return of a position by "
        f"{number(1e4 * gain.value, 1, signed=True)} bps against equal sizes ({_bps(gain)})."
        if gain.value is not None
        else "Sizing: there is no position, so no size to judge."
    )
    return Assessment(sections=sections, sentences=[sentence])


def sizing_gain(sized: pl.DataFrame, config: ReportConfig) -> Score:
    """Return by unit of position of positions as sized, less that of equal positions of the same signs."""
    positions = sized.filter(pl.col("size") > 0)
    if positions.is_empty():
        return Score("gain of sizing", None, None, None, 0, 0)
    r, position = positions["forward_return"].to_numpy(), positions["position"].to_numpy()
    sums = session_sums(
        positions["session"], [position * r, np.abs(position), np.sign(position) * r, np.ones(len(r))]
    )

    def gap(totals: np.ndarray) -> np.ndarray:
        return totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3]

    return score_from_sums(
        "gain of sizing", sums, gap, config.bootstrap, n=positions.height, baselines={"none": 0.0}
    )


def _heads_section(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Section:
    lines = [line for h in HORIZONS for line in _return_lines(rows, h, config)]
    lines += [
        *_volatility_lines(rows, inputs, config),
        *_risk_lines(rows, config),
        *_confidence_lines(rows, config),
    ]
    position = metrics.correlation(rows, config.bootstrap, predicted="position", actual="forward_return")
    lines.append(Line("Position: correlation with the return", position, "signed"))
    body = [[x.name, x.value, x.interval, x.baselines, count(x.score.n)] for x in lines]
    return Section(
        "heads",
        "Each task by itself",
        text=[
            "The direction classes are judged with the figures of merit above. Horizons count bars: sessions of "
            "stocks, or the bars of a market that never closes."
        ],
        tables=[Table(["", "figure", "95 % interval", "without skill", "n"], body)],
        scores={line.name: line.score for line in lines},
    )


def _return_lines(rows: pl.DataFrame, horizon: int, config: ReportConfig) -> list[Line]:
    predicted, outcome = f"return_{horizon}", f"came_return_{horizon}"
    known, boot = rows.drop_nulls([predicted, outcome]), config.bootstrap_over(horizon)
    if known.is_empty():
        return []
    over = f"Return over {plural(horizon, 'bar')}"
    lines = []
    if not known.filter((pl.col(predicted) != 0) & (pl.col(outcome) != 0)).is_empty():
        direction = metrics.directional_accuracy(known, boot, score=predicted, outcome=outcome)
        lines.append(Line(f"{over}: directional accuracy", direction, "percent"))
    correlation = metrics.correlation(known, boot, predicted=predicted, actual=outcome)
    return [*lines, Line(f"{over}: correlation", correlation, "signed")]


def _volatility_lines(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> list[Line]:
    boot = config.bootstrap_over(max(HORIZONS))
    known = rows.drop_nulls(["volatility", "volatility_24"])
    if known.is_empty():
        return []
    lines = [
        Line(
            "Volatility: correlation",
            metrics.correlation(known, boot, predicted="volatility", actual="volatility_24"),
            "signed",
        )
    ]
    both = known.join(ewma_volatility(inputs.bars), on=["symbol", "session"]).filter(
        (pl.col("ewma") > 0) & (pl.col("volatility") > 0)
    )
    if not both.is_empty():
        gap = qlike_difference(both, boot, predicted="volatility", baseline="ewma", outcome="volatility_24")
        lines.append(Line("Volatility: QLIKE less the EWMA's", gap, "signed", "low"))
    return lines


def _risk_lines(rows: pl.DataFrame, config: ReportConfig) -> list[Line]:
    """Against the deepest loss on the way where it is known, else against the size of the move."""
    if "drawdown_24" in rows.columns:
        name, predicted, loss = (
            "Risk: correlation with the deepest loss",
            pl.col("risk"),
            pl.col("drawdown_24"),
        )
    else:
        name, predicted = "Risk: correlation with the size of the move", pl.col("risk").abs()
        loss = pl.col("forward_return").abs()
    rows_with_risk = rows.with_columns(risk=predicted, fell=loss).drop_nulls(["risk", "fell"])
    if rows_with_risk.is_empty():
        return []
    return [
        Line(
            name,
            metrics.correlation(rows_with_risk, config.bootstrap, predicted="risk", actual="fell"),
            "signed",
        )
    ]


def _confidence_lines(rows: pl.DataFrame, config: ReportConfig) -> list[Line]:
    called = rows.drop_nulls(["confidence"]).filter((pl.col("score") != 0) & (pl.col("forward_return") != 0))
    if called.is_empty():
        return []
    right = called.with_columns(right=(pl.col("score") * pl.col("forward_return") > 0).cast(pl.Int8))
    score = metrics.roc_auc(right, config.bootstrap, score="confidence", target="right")
    return [Line("Confidence: AUC for a right direction", score, "number")]


def _sizing_section(sized: pl.DataFrame, config: ReportConfig, gain: Score) -> Section:
    positions = sized.filter(pl.col("size") > 0)
    shares = [
        f"{percent(sized.select(e.mean()).item(), 0)} {name}"
        for name, e in (
            ("long", pl.col("position") > 0),
            ("short", pl.col("position") < 0),
            ("flat", pl.col("position") == 0),
        )
    ]
    text = f"Positions: {', '.join(shares)}."
    if gain.value is not None:
        text += (
            f" A unit of position as sized returns {number(1e4 * gain.value, 1, signed=True)} bps more than in equal "
            f"sizes ({_bps(gain)}). Where sizing has skill, larger positions are right more often and earn more."
        )
    body = _size_rows(positions, config) if not positions.is_empty() else [["no position", *[NONE] * 5]]
    return Section(
        "sizing",
        "Does sizing positions pay?",
        text=[text],
        tables=[
            Table(
                ["positions by size", "rows", "mean size", "hit rate", "mean return", "share of exposure"],
                body,
                note="Returns the position's way, of one unit, before costs; ranges are 95 % intervals.",
            )
        ],
        scores={gain.name: gain},
    )


def _size_rows(positions: pl.DataFrame, config: ReportConfig) -> list[list[str]]:
    place = pl.col("size").rank("ordinal") - 1
    parted = positions.with_columns(
        part=(place * PARTS / positions.height).floor().cast(pl.Int64),
        hit=(pl.col("gained") > 0).cast(pl.Float64),
    )
    names = ["smallest quarter", "second", "third", "largest quarter"]
    body = []
    for k, name in enumerate(names):
        quarter, where = parted.filter(pl.col("part") == k), pl.col("part") == k
        if quarter.is_empty():
            continue
        body.append(
            [
                name,
                count(quarter.height),
                number(quarter.select(pl.col("size").mean()).item()),
                with_interval(
                    mean_where(parted, config.bootstrap, value="hit", where=where, name=name, bounds=(0, 1)),
                    "percent",
                ),
                with_interval(
                    mean_where(parted, config.bootstrap, value="gained", where=where, name=name), "percent", 3
                ),
                percent(float(quarter["size"].sum()) / float(positions["size"].sum()), 0),
            ]
        )
    return body


def _bps(gain: Score) -> str:
    if gain.low is None or gain.high is None:
        return interval(gain)
    return f"{number(1e4 * gain.low, 1, signed=True)} to {number(1e4 * gain.high, 1, signed=True)}"
