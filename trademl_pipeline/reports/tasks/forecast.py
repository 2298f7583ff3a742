"""Forecasts of return and volatility over 1 and 30 sessions, beside the published targets and plain baselines."""

from typing import Final

import polars as pl

from trademl_pipeline.evaluation import forecast_scores, metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import Line
from trademl_pipeline.reports.section import Assessment, Section, Table
from trademl_pipeline.reports.tasks.published import FORECAST_TARGETS, Target
from trademl_pipeline.reports.text import count, figure, plural

HORIZONS: Final = (1, 30)
DECAY: Final = 0.94
_WARM: Final = 20
_HEAD = ("", "figure", "95 % interval", "without skill", "n")
_TARGET_HEAD = ("", "figure", "without skill", "published baseline", "target", "stretch", "reached")


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """The evaluation table of both horizons.

    Args:
        rows: scored predictions.
        inputs: bars, for the volatility baseline.
        config: how to measure.
    """
    ewma = ewma_volatility(inputs.bars)
    tables, text, scores, lines, target_rows = [], [], {}, [], []
    for horizon in HORIZONS:
        horizon_rows = horizon_lines(rows, ewma, horizon, config)
        if not horizon_rows:
            text.append(f"No outcome over {plural(horizon, 'session')} is known yet.")
            continue
        targets = {t.name: t for t in FORECAST_TARGETS[horizon]}
        body = [[x.name, x.value, x.interval, x.baselines, count(x.score.n)] for x in horizon_rows]
        tables.append(Table(_HEAD, body, title=f"Over {plural(horizon, 'session')}"))
        target_rows += [
            _row(line, targets[line.name], horizon) for line in horizon_rows if line.name in targets
        ]
        text.append(_sentence(horizon_rows, targets, horizon))
        scores |= {f"{line.name}, {horizon}": line.score for line in horizon_rows}
        lines += [
            Line(f"{x.name}, {plural(horizon, 'session')}", x.score, x.style, x.better, digits=x.digits)
            for x in horizon_rows
            if x.name in ("Correlation", "MAPE of price")
            or (horizon > 1 and x.name == "Directional accuracy")
        ]
    note = (
        f"“Last price” says that the price stays; “always up” that it rises. The volatility baseline is an "
        f"exponentially weighted one with decay {DECAY:.2f} a session, known at the decision. The published targets "
        "come without n, interval or baseline on the same rows; a mean absolute percentage error of price is small "
        "for anything that says the last price, so the line below it, the error less the last price's, is the one "
        "to read."
    )
    if target_rows:
        tables.append(
            Table(_TARGET_HEAD, target_rows, title="Beside the published targets", left=frozenset({6}))
        )
    section = Section(
        "forecast",
        "Both horizons, beside what was hoped for",
        text=[*text, note],
        tables=tables,
        scores=scores,
    )
    return Assessment(sections=[section], lines=lines)


def horizon_lines(rows: pl.DataFrame, ewma: pl.DataFrame, horizon: int, config: ReportConfig) -> list[Line]:
    """Return the figures of one horizon; none where no outcome is known.

    Args:
        rows: predictions with their outcomes.
        ewma: forecasts of volatility that they are compared with.
        horizon: in sessions.
        config: of the report.
    """
    predicted, outcome = f"mean_{horizon}", f"return_{horizon}"
    known = rows.drop_nulls([predicted, outcome])
    if known.is_empty():
        return []
    boot = config.bootstrap_over(horizon)
    prices = known.with_columns(
        last=pl.lit(1.0), predicted_price=pl.col(predicted).exp(), actual_price=pl.col(outcome).exp()
    )
    lines = []
    if not known.filter((pl.col(predicted) != 0) & (pl.col(outcome) != 0)).is_empty():
        lines += [
            Line(
                "Directional accuracy",
                metrics.directional_accuracy(known, boot, score=predicted, outcome=outcome),
                "percent",
            ),
            Line(
                "Excess over the majority, points",
                metrics.directional_excess(known, boot, score=predicted, outcome=outcome),
                "points",
            ),
        ]
    return [
        *lines,
        Line("MAPE of price", metrics.mape(prices, boot, last="last"), "percent", "low", digits=2),
        Line(
            "MAPE less the last price's, points",
            forecast_scores.error_over_last_price(known, boot, predicted=predicted, outcome=outcome),
            "points",
            "low",
            digits=3,
        ),
        Line(
            "Sharpe of the sign",
            forecast_scores.sign_sharpe(
                known, boot, score=predicted, outcome=outcome, horizon=horizon, year=config.sessions_a_year
            ),
            "number",
            digits=2,
        ),
        Line("Correlation", metrics.correlation(known, boot, predicted=predicted, actual=outcome), "signed"),
        *_volatility(rows, ewma, horizon, config),
    ]


def _volatility(rows: pl.DataFrame, ewma: pl.DataFrame, horizon: int, config: ReportConfig) -> list[Line]:
    predicted, outcome = f"volatility_{horizon}", f"came_volatility_{horizon}"
    known = rows.drop_nulls([predicted, outcome])
    if known.is_empty():
        return []
    boot = config.bootstrap_over(horizon)
    lines = [
        Line(
            "Volatility: correlation",
            metrics.correlation(known, boot, predicted=predicted, actual=outcome),
            "signed",
        )
    ]
    both = known.join(ewma, on=["symbol", "session"]).filter(pl.col("ewma") > 0)
    if not both.is_empty():
        baseline = metrics.correlation(both, None, predicted="ewma", actual=outcome).value
        if baseline is not None:
            score = lines[0].score
            lines[0] = Line(
                lines[0].name,
                Score(**{**vars(score), "baselines": {**score.baselines, "EWMA": baseline}}),
                "signed",
            )
        gap = forecast_scores.qlike_difference(
            both, boot, predicted=predicted, baseline="ewma", outcome=outcome
        )
        lines.append(Line("Volatility: QLIKE less the EWMA's", gap, "signed", "low"))
    return lines


def ewma_volatility(bars: pl.DataFrame) -> pl.DataFrame:
    """Volatility a session as RiskMetrics (1996) would say it at each close: the baseline of a volatility forecast.

    The root of the exponentially weighted mean of squared log returns, decay 0.94, from the first bar given.

    Args:
        bars: symbol, session, close; split_factor and dividend where given.

    Returns:
        symbol, session, ewma; a symbol's first 20 returns have none.
    """
    split = pl.col("split_factor") if "split_factor" in bars.columns else pl.lit(1.0)
    dividend = pl.col("dividend") if "dividend" in bars.columns else pl.lit(0.0)
    growth = (pl.col("close") + dividend) * split / pl.col("close").shift(1).over("symbol")
    squares = pl.col("growth").log() ** 2
    return (
        bars.sort("symbol", "session")
        .with_columns(growth=growth)
        .with_columns(
            ewma=squares.ewm_mean(alpha=1 - DECAY, ignore_nulls=True).sqrt().over("symbol"),
            returns=pl.col("growth").is_not_null().cum_sum().over("symbol"),
        )
        .filter(pl.col("returns") >= _WARM)
        .select("symbol", "session", "ewma")
    )


def _row(line: Line, target: Target, horizon: int) -> list[str]:
    sign = "<" if target.better == "low" else ""
    digits = 0 if line.style == "percent" else 1
    style = "number" if line.style == "signed" else line.style
    marks = [sign + figure(mark, style, digits) for mark in (target.target, target.stretch)]
    name = f"{line.name}, {plural(horizon, 'session')}"
    return [name, line.text, line.baselines, target.baseline, *marks, _reached(line, target)]


def _reached(line: Line, target: Target) -> str:
    reached, free = target.reached(line.score.value), _free(line, target)
    if reached in ("no", "–") or not free:
        return reached
    return f"{reached}, as without skill" if free == reached else f"{reached}; without skill {free}"


def _free(line: Line, target: Target) -> str:
    """The mark that a forecast without skill reaches on the same rows; "" for none."""
    marks = {target.reached(value) for value in line.score.baselines.values()}
    return next((mark for mark in ("stretch", "target") if mark in marks), "")


def _sentence(lines: list[Line], targets: dict[str, Target], horizon: int) -> str:
    with_target = [(line, targets[line.name]) for line in lines if line.name in targets]
    reached = [(x, t) for x, t in with_target if t.reached(x.score.value) in ("target", "stretch")]
    free = [x.name for x, t in reached if _free(x, t)]
    text = f"Over {plural(horizon, 'session')}, {len(reached)} of {len(with_target)} published targets are reached"
    if free:
        return f"{text}; a forecast without skill reaches {' and '.join(free)} too."
    return text + "."
