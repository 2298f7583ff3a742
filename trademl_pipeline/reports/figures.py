"""Figures of money and skill, and the list of all figures."""

from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.figure import Figure, dates, rounded
from trademl_pipeline.reports.figures_model import calibration, confusion, gate, importance
from trademl_pipeline.reports.text import percent, plural


def figures(e: Evaluation) -> dict[str, Figure]:
    """All figures that the evaluation has data for, by id."""
    makers = (equity, ic_monthly, ic_cumulative, calibration, confusion, importance, gate)
    available = [f for f in (maker(e) for maker in makers) if f is not None]
    return {f.id: f for f in available}


def equity(e: Evaluation) -> Figure | None:
    """Equity of the portfolios before and after costs."""
    if e.portfolio is None:
        return None
    portfolio = e.portfolio
    portfolios = [(portfolio.name, portfolio.portfolio.equity, "@blue")]
    if e.benchmark_portfolio:
        portfolios.append((e.benchmark_portfolio.name, e.benchmark_portfolio.portfolio.equity, "@orange"))
    lines = []
    for name, frame, colour in portfolios:
        days = [frame["session"][0], *frame["until"]]
        for column, kind in (("gross_equity", "before costs"), ("net_equity", "after costs")):
            lines.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"{name}, {kind}",
                    "x": dates(days),
                    "y": rounded([1.0, *frame[column]]),
                    "line": {
                        "color": colour,
                        "width": 2,
                        "dash": "solid" if kind == "before costs" else "dot",
                    },
                    "hovertemplate": "%{x|%Y-%m-%d}: %{y:.3f}",
                }
            )
    return Figure(
        "equity",
        "Equity of the naive portfolio, 1 at the start",
        f"Before costs {percent(portfolio.gross.total_return, 1, signed=True)}, after "
        f"{percent(portfolio.net.total_return, 1, signed=True)} over {plural(portfolio.gross.sessions, 'session')}. "
        "No leverage, cash earns nothing; the scale is logarithmic.",
        lines,
        {"yaxis": {"type": "log", "tickformat": ".3~g"}, "legend": {"orientation": "h", "y": -0.14}},
        height=380,
    )


def ic_monthly(e: Evaluation) -> Figure | None:
    """Mean rank IC of each month with its interval."""
    if e.ic_monthly.is_empty():
        return None
    frame = e.ic_monthly
    value, low, high = (frame[c].to_numpy() for c in ("ic", "low", "high"))
    good = int((value > 0).sum())
    bars = {
        "type": "bar",
        "x": frame["month"].to_list(),
        "xperiod": "M1",
        "xperiodalignment": "middle",
        "y": rounded(value),
        "marker": {"color": ["@blue" if v > 0 else "@orange" for v in value]},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded(high - value),
            "arrayminus": rounded(value - low),
            "color": "@muted",
            "thickness": 1,
            "width": 2,
        },
        "hovertemplate": "%{x|%Y-%m}: %{y:+.3f}<extra></extra>",
    }
    return Figure(
        "ic_monthly",
        "Mean daily rank IC by month",
        f"Above 0 in {good} of {plural(len(value), 'month')}. Whiskers rest on about 21 sessions: rough.",
        [bars],
        {
            "xaxis": {"type": "date"},
            "yaxis": {"tickformat": "+.2f"},
            "showlegend": False,
            "bargap": 0.25,
        },
    )


def ic_cumulative(e: Evaluation) -> Figure | None:
    """Running sum of the daily rank IC."""
    if e.ic_daily.is_empty():
        return None
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": dates(e.ic_daily["session"]),
        "y": rounded(e.ic_daily["cumulative"]),
        "line": {"color": "@blue", "width": 2},
        "hovertemplate": "%{x|%Y-%m-%d}: %{y:.2f}<extra></extra>",
    }
    return Figure(
        "ic_cumulative",
        "Cumulative daily rank IC",
        "An edge that lasts climbs steadily; one of a few weeks shows as a step, one that fades as a bend.",
        [line],
        {"yaxis": {"tickformat": ".3~g"}, "showlegend": False},
    )
