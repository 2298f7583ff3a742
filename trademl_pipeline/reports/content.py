"""The content of every form of the report: the same rows and sentences for HTML, Markdown and the terminal."""

from dataclasses import replace
from typing import Any

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.portfolio.performance import Performance
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.lines import Line
from trademl_pipeline.reports.section import Section
from trademl_pipeline.reports.tasks.spec import LONG_SIGNALS
from trademl_pipeline.reports.text import NONE, count, figure, interval, number, percent, plural


def score_lines(e: Evaluation) -> list[Line]:
    """The figures of merit; where ranks show no skill, the task's own first."""
    own, ranks = list(e.task.lines), _ranking_lines(e)
    lines = own + ranks if e.config.kind.race else ranks + own
    if len(e.classes) == 1:
        classes = e.classes[0]
        lines += [
            Line("Class accuracy", classes.accuracy, "percent"),
            Line("Brier score", classes.brier, "number", better="low"),
            Line("Calibration error", classes.calibration, "percent", better="low"),
        ]
    told = e.oracle.told if e.oracle else {}
    lines = [replace(x, oracle=told[x.name].value) if x.name in told else x for x in lines]
    return lines + _money_lines(e)


def _money_lines(e: Evaluation) -> list[Line]:
    """Sharpe ratios; of trades that were chosen beside the same book without the choice, not beside 0."""
    lines = []
    for when, own, other in (
        ("before", e.gross, e.other.gross if e.other else None),
        ("after", e.net, e.other.net if e.other else None),
    ):
        if own is None:
            continue
        score = own.sharpe
        if e.config.kind.unchosen and e.other and other and other.sharpe.value is not None:
            score = replace(score, baselines={e.other.name: other.sharpe.value})
        lines.append(Line(f"Sharpe ratio {when} costs", score, "number", digits=2))
    return lines


def _ranking_lines(e: Evaluation) -> list[Line]:
    best, lines = e.oracle, []
    if e.directional_accuracy:
        oracle = best.directional_accuracy if best else None
        name = "Directional accuracy"
        lines.append(Line(name, e.directional_accuracy, "percent", oracle=oracle.value if oracle else None))
    if e.rank_ic:
        oracle_ic = best.rank_ic.value if best and best.rank_ic else None
        lines.append(Line("Daily rank IC, mean", e.rank_ic, "signed", oracle=oracle_ic))
    if best and best.agreement:
        lines.append(Line("Rank correlation with the oracle", best.agreement, "signed", oracle=1.0))
    if e.icir:
        lines.append(Line("ICIR, daily", e.icir, "number", digits=2))
    return lines


def lower_is_better(e: Evaluation) -> str:
    """Which figures of merit are better when low, as a sentence; "" where there is none."""
    names = [line.name for line in score_lines(e) if line.better == "low"]
    if not names:
        return ""
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"Lower is better: {listed}."


def sections(e: Evaluation) -> list[Section]:
    """Every part that is made of sections, in the order of the report."""
    return [*e.task.sections, e.consistency, e.drift, *([e.examples] if e.examples else [])]


def books(e: Evaluation) -> list[tuple[str, Performance]]:
    """The books side by side, with their headings."""
    shown = [book for book in (e.judged, e.other) if book is not None]
    return [
        (f"{book.name}, {when}", p)
        for book in shown
        for when, p in (("before costs", book.gross), ("after costs", book.net))
    ]


def book_rows(e: Evaluation) -> list[tuple[str, list[str]]]:
    """The money table: (name, one text a book); empty where there is no book."""
    performances = [p for _, p in books(e)]
    if not performances:
        return []

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
        "sign": "long above a score of 0 and short below, in equal parts",
    }
    if e.config.task == "breakout":
        rules["sign"] = f"long the signals {', '.join(LONG_SIGNALS)} in equal parts, nothing short"
    if e.config.task == "pattern":
        rules["sign"] = (
            "long and short as the technical signals say, in equal parts, where the confidence is at least "
            f"{percent(e.config.confidence_threshold, 0)}"
        )
    if e.judged is None:
        return f"No prediction calls for a trade ({rules[book.weighting]}): there is no book."
    return (
        f"Naive: {rules[book.weighting]}, decided at each close, filled at the next open. "
        f"Costs a side: {percent(book.costs.commission)} commission, "
        f"{1e4 * book.costs.slippage:.0f} bps slippage."
    )


FOLD_NOTE = (
    "One model a fold, fitted on labels that ended, with the embargo, before its first decision. "
    "“Trained on” gives the first session and the last admissible label end; the snapshot is the lake's, so "
    "the training set can be read again as it was. One fold is too short to judge by."
)
_FOLD_COLUMNS = (
    "fold",
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
_COST_COLUMNS = {"parameters": "parameters", "train_seconds": "seconds to train"}


def fold_columns(e: Evaluation) -> list[str]:
    """Headings of the fold table; what a fold cost only where it is known."""
    cost = [name for column, name in _COST_COLUMNS.items() if column in e.folds.columns]
    return [*_FOLD_COLUMNS[:-1], *cost, _FOLD_COLUMNS[-1]]


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
                "fold": fold["fold"][:7],
                "trained on": " to ".join(trained) or NONE,
                "rows": count(fold["rows"]),
                "snapshot": NONE if fold["snapshot"] is None else str(fold["snapshot"]),
                "MLflow run": (fold["model_run"] or NONE)[:8],
                "scored": count(fold["scored"]),
                "accuracy": percent(fold["accuracy"]),
                "majority": percent(fold["majority"]),
                "rank IC": number(fold["ic"], signed=True),
                "95 % interval": interval_text,
                "parameters": count(fold.get("parameters")),
                "seconds to train": number(fold.get("train_seconds"), 1),
                "gate": gate,
                "run": fold["model_run"] or "",
                "refused": fold["refused"],
            }
        )
    return rows


def scope(e: Evaluation) -> list[tuple[str, str]]:
    """Return sentences on what the figures rest on."""
    all_or_some = "all" if e.scored == e.predictions else count(e.scored)
    with_outcome = "old enough to score" if e.dropped else "with an outcome"
    return [
        ("Sessions", f"{count(e.sessions)}, {e.first} to {e.last}"),
        ("Months", count(len(e.months))),
        ("Symbols", count(e.symbols)),
        ("Predictions", f"{count(e.predictions)}, {all_or_some} {with_outcome}"),
        ("Outcome", _outcome(e)),
    ]


def limits(e: Evaluation) -> list[str]:
    """Return what the report does not show, the general first."""
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
    if e.dropped:
        said.append(
            f"{plural(e.dropped, 'race')} that began within {plural(e.config.horizon, 'session')} of the end: of those "
            "days only races decided early are known, most of them failures."
        )
    pending = e.predictions - e.scored - e.dropped
    if pending:
        why = " or where no pattern's trigger fired" if e.config.task == "pattern" else ""
        said.append(f"{plural(pending, 'prediction')} without an outcome yet{why}, in no figure of skill.")
    unranked = e.sessions - (e.rank_ic.sessions if e.rank_ic else 0)
    if unranked:
        said.append(f"{plural(unranked, 'session')} with too few symbols to rank, in no rank IC.")
    refused = sorted({m for _, m in e.gate.standing} - set(e.months))
    if refused:
        shown = ", ".join(m[:7] for m in refused)
        said.append(f"What the refused {plural(len(refused), 'month')} would have brought ({shown}).")
    if e.config.kind.race:
        said.append(
            "Skill in ranks. An outcome that ends at a barrier has a median that depends on where the barriers "
            "stand: on a random walk too, a price near the top of its channel ranks high. Mean returns are free "
            "of that, and decide the verdict."
        )
    events = {} if e.judged is None else dict(e.judged.book.events.group_by("kind").len().iter_rows())
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


def _outcome(e: Evaluation) -> str:
    if e.config.kind.race:
        return f"race over at most {plural(e.config.horizon, 'session')}"
    return f"log return over {plural(e.config.horizon, 'session')}"


CERTIFICATE_NOTE = (
    "The digest that the predictions of each month carry, of what they were made from, by what, and what was tested. "
    "`trademl certificate STUDY MONTH` prints the evidence itself, --json the text that the digest is of."
)


def certificate_rows(e: Evaluation) -> list[list[str]]:
    """The certificate table: month, digest, predictions."""
    return [
        [r["fold"][:7], r["certificate"] or "none", count(r["predictions"])]
        for r in e.certificates.iter_rows(named=True)
    ]


def certificate_sentence(e: Evaluation) -> str:
    """How many predictions carry a certificate."""
    if e.certificates.is_empty():
        return "The predictions carry no certificates."
    bare = int(e.certificates.filter(e.certificates["certificate"].is_null())["predictions"].sum())
    if not bare:
        return "Every prediction carries a certificate."
    return f"{plural(bare, 'prediction')} of {count(e.predictions)} carry no certificate."
