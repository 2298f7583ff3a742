"""What every form of the report says: the same rows and sentences for HTML, Markdown and the terminal."""

from dataclasses import dataclass
from typing import Any

from trademl_pipeline.portfolio.performance import Performance
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.text import NONE, count, figure, interval, number, percent, plural
from trademl_pipeline.training.metrics import Score

_BASELINES = {
    "always_up": "always up",
    "none": "by chance",
    "frequencies": "class shares",
    "sampling": "from sampling",
}


@dataclass(frozen=True)
class Line:
    """One figure as a row: texts, and the numbers behind them for a small graphic.

    Attributes:
        name: what was measured.
        score: the figure.
        style: "percent", "signed" or "number"; see `text.figure`.
        better: "high" or "low".
        oracle: the oracle's figure on the same rows, if there is one.
        digits: decimals, or None for the style's own.
    """

    name: str
    score: Score
    style: str
    better: str = "high"
    oracle: float | None = None
    digits: int | None = None

    @property
    def value(self) -> str:
        """The figure."""
        return figure(self.score.value, self.style, self.digits)

    @property
    def interval(self) -> str:
        """Its interval."""
        return interval(self.score, self.style, self.digits)

    @property
    def baselines(self) -> str:
        """Its baselines, "52.1 % majority, 47.9 % always up"."""
        said = {}
        for name, value in self.score.baselines.items():
            said.setdefault(figure(value, self.style, self.digits) if value else "0", []).append(
                _BASELINES.get(name, name)
            )
        return ", ".join(f"{value} {', '.join(names)}" for value, names in said.items())

    @property
    def oracle_text(self) -> str:
        """The oracle's figure, or nothing."""
        return "" if self.oracle is None else figure(self.oracle, self.style, self.digits)


def score_lines(e: Evaluation) -> list[Line]:
    """The figures of merit."""
    best = e.oracle
    lines = [
        Line(
            "Directional accuracy",
            e.directional_accuracy,
            "percent",
            oracle=best.directional_accuracy.value if best else None,
        )
    ]
    if e.rank_ic:
        oracle_ic = best.rank_ic.value if best and best.rank_ic else None
        lines.append(Line("Daily rank IC, mean", e.rank_ic, "signed", oracle=oracle_ic))
    if e.icir:
        lines.append(Line("ICIR, daily", e.icir, "number", digits=2))
    return [
        *lines,
        Line("Class accuracy", e.class_accuracy, "percent"),
        Line("Brier score", e.brier, "number", better="low"),
        Line("Calibration error", e.calibration, "percent", better="low"),
        Line("Sharpe ratio before costs", e.gross.sharpe, "number", digits=2),
        Line("Sharpe ratio after costs", e.net.sharpe, "number", digits=2),
    ]


def books(e: Evaluation) -> list[tuple[str, Performance]]:
    """The books side by side, with their headings."""
    held = f"held {plural(e.config.book.holding, 'session')}"
    columns = [(f"{held}, before costs", e.gross), (f"{held}, after costs", e.net)]
    if e.quick:
        columns += [
            ("held 1 session, before costs", e.quick.gross),
            ("held 1 session, after costs", e.quick.net),
        ]
    return columns


def book_rows(e: Evaluation) -> list[tuple[str, list[str]]]:
    """The money table: (name, one text a book)."""
    performances = [p for _, p in books(e)]

    def row(name: str, text) -> tuple[str, list[str]]:
        return name, [text(p) for p in performances]

    def with_interval(score: Score, style: str, digits: int) -> str:
        return f"{figure(score.value, style, digits)} ({interval(score, style, digits)})"

    return [
        row("Sharpe ratio", lambda p: with_interval(p.sharpe, "number", 2)),
        row("Return a year", lambda p: with_interval(p.annual_return, "percent", 1)),
        row("Volatility a year", lambda p: percent(p.annual_volatility)),
        row("Total return", lambda p: percent(p.total_return, signed=True)),
        row("Deepest drawdown", lambda p: with_interval(p.max_drawdown, "percent", 1)),
        row("Sessions that gained", lambda p: with_interval(p.hit_rate, "percent", 1)),
        row("Turnover a session", lambda p: percent(p.turnover.value, 0)),
        row("Costs a year", lambda p: percent(p.annual_cost)),
        row("P(true Sharpe > 0)", lambda p: percent(p.probabilistic_sharpe)),
        row(f"Deflated for {plural(e.config.trials, 'trial')}", lambda p: percent(p.deflated_sharpe)),
    ]


def book_rule(e: Evaluation) -> str:
    """How the naive book trades, in words."""
    book = e.config.book
    rules = {
        "quantile": f"long the top {percent(book.quantile, 0)} by score and short as many at the bottom",
        "rank": "weights by rank of the score",
        "sign": "long above a score of 0 and short below",
    }
    return (
        f"Naive: {rules[book.weighting]}, decided at each close, filled at the next open. "
        f"Costs a side: {percent(book.costs.commission)} commission, "
        f"{1e4 * book.costs.slippage:.0f} bps slippage."
    )


FOLD_NOTE = (
    "One model a month, fitted on labels that ended, with the embargo, before its first decision. "
    "“Trained on” gives the first session and the last admissible label end; the snapshot is the lake's, so "
    "the training set can be read again as it was. One month is too short to judge by."
)
FOLD_COLUMNS = (
    "month",
    "trained on",
    "rows",
    "snapshot",
    "MLflow run",
    "scored",
    "accuracy",
    "majority",
    "rank IC",
    "95 % interval",
    "gate",
)


def fold_rows(e: Evaluation) -> list[dict[str, Any]]:
    """The fold table, one dict of texts a fold; `run` has the whole MLflow run id, `refused` a boolean."""
    rows = []
    audited = set(e.gate.cells["month"]) if not e.gate.cells.is_empty() else set()
    for fold in e.folds.iter_rows(named=True):
        trained = [str(fold[c]) for c in ("train_start", "train_end") if fold[c] is not None]
        gate = "refused" if fold["refused"] else "passed" if fold["fold"] in audited else "no audit"
        interval_text = (
            f"{number(fold['low'], signed=True)} to {number(fold['high'], signed=True)}"
            if fold["low"] is not None
            else NONE
        )
        rows.append(
            {
                "month": fold["fold"][:7],
                "trained on": " to ".join(trained) or NONE,
                "rows": count(fold["rows"]),
                "snapshot": NONE if fold["snapshot"] is None else str(fold["snapshot"]),
                "MLflow run": (fold["model_run"] or NONE)[:8],
                "scored": count(fold["scored"]),
                "accuracy": percent(fold["accuracy"]),
                "majority": percent(fold["majority"]),
                "rank IC": number(fold["ic"], signed=True),
                "95 % interval": interval_text,
                "gate": gate,
                "run": fold["model_run"] or "",
                "refused": fold["refused"],
            }
        )
    return rows


def scope(e: Evaluation) -> list[tuple[str, str]]:
    """What the figures rest on."""
    all_or_some = "all" if e.scored == e.predictions else count(e.scored)
    return [
        ("Sessions", f"{count(e.sessions)}, {e.first} to {e.last}"),
        ("Months", count(len(e.months))),
        ("Symbols", count(e.symbols)),
        ("Predictions", f"{count(e.predictions)}, {all_or_some} with an outcome"),
        ("Outcome", f"log return over {plural(e.config.horizon, 'session')}"),
    ]


def limits(e: Evaluation) -> list[str]:
    """What the report does not show, the general first."""
    said = [
        "Another regime. Intervals cover the luck of these sessions, not a market that changes.",
        "Leaks that no probe looks for. The gate says: no leak within the declared clocks and the tested "
        "mutants. That is not a proof.",
        f"Choice among models. {plural(e.config.trials, 'trial')} on record went into the deflated Sharpe "
        "ratio; what was tried and not recorded is in no figure.",
        "Real fills. Orders are filled at the opening print up to "
        f"{percent(e.config.book.costs.volume_cap, 0)} of the session's volume; there is no market impact, "
        "no borrowing cost, no tax, and cash earns nothing.",
        "Symbols that the source never had. If it lists only those that survived, every figure is too good.",
        "A fair majority baseline. It is read off the same outcomes that are scored, which no one could know "
        "beforehand: a strict bar.",
    ]
    pending = e.predictions - e.scored
    if pending:
        said.append(f"{plural(pending, 'prediction')} without an outcome yet, in no figure of skill.")
    unranked = e.sessions - (e.rank_ic.sessions if e.rank_ic else 0)
    if unranked:
        said.append(f"{plural(unranked, 'session')} with too few symbols to rank, in no rank IC.")
    refused = sorted({m for _, m in e.gate.standing} - set(e.months))
    if refused:
        shown = ", ".join(m[:7] for m in refused)
        said.append(f"What the refused {plural(len(refused), 'month')} would have brought ({shown}).")
    events = dict(e.book.events.group_by("kind").len().iter_rows())
    told = {
        "stopped trading": "positions closed at the last close because the symbol stopped trading; a "
        "delisted share may have brought less",
        "no bar": "orders not filled because the symbol did not trade at that open",
        "capped": "orders cut to the share of volume that one fill may take",
    }
    said += [f"{events[kind]:,} {text}." for kind, text in told.items() if kind in events]
    if e.sessions < 60:
        said.append(f"{plural(e.sessions, 'session')} are few: intervals from so short a sample are rough.")
    return said
