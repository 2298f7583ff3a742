"""The content of every form of the report: the same rows and sentences for HTML, Markdown and the terminal."""

from dataclasses import replace
from typing import Any

from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.evaluation.tries import Tries
from trademl_pipeline.portfolio.performance import Performance
from trademl_pipeline.reports.evaluation import Evaluation
from trademl_pipeline.reports.lines import Line
from trademl_pipeline.reports.section import Section
from trademl_pipeline.reports.text import NONE, count, figure, interval, number, percent, plural
from trademl_pipeline.reports.tries import sets_of, trials_counted, tries_counted


def score_lines(e: Evaluation) -> list[Line]:
    """The figures of merit; where ranks show no skill, the task's own first."""
    task_lines, ranks = list(e.task.lines), _ranking_lines(e)
    lines = task_lines + ranks if e.config.kind.first_passage else ranks + task_lines
    if len(e.classes) == 1:
        classes = e.classes[0]
        lines += [
            Line("Class accuracy", classes.accuracy, "percent"),
            Line("Brier score", classes.brier, "number", better="low"),
            Line("Calibration error", classes.calibration, "percent", better="low"),
        ]
    oracle_scores = e.oracle.probability_scores if e.oracle else {}
    lines = [replace(x, oracle=oracle_scores[x.name].value) if x.name in oracle_scores else x for x in lines]
    return lines + _money_lines(e)


def _money_lines(e: Evaluation) -> list[Line]:
    """Sharpe ratios; of trades that were chosen beside the same portfolio without the choice, not beside 0."""
    lines = []
    for when, evaluated, benchmark in (
        ("before", e.gross, e.benchmark_portfolio.gross if e.benchmark_portfolio else None),
        ("after", e.net, e.benchmark_portfolio.net if e.benchmark_portfolio else None),
    ):
        if evaluated is None:
            continue
        score = evaluated.sharpe
        if (
            e.config.kind.unfiltered_portfolio
            and e.benchmark_portfolio
            and benchmark
            and benchmark.sharpe.value is not None
        ):
            score = replace(score, baselines={e.benchmark_portfolio.name: benchmark.sharpe.value})
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


def portfolios(e: Evaluation) -> list[tuple[str, Performance]]:
    """The portfolios side by side, with their headings."""
    both = [portfolio for portfolio in (e.portfolio, e.benchmark_portfolio) if portfolio is not None]
    return [
        (f"{portfolio.name}, {when}", p)
        for portfolio in both
        for when, p in (("before costs", portfolio.gross), ("after costs", portfolio.net))
    ]


def portfolio_rows(e: Evaluation) -> list[tuple[str, list[str]]]:
    """The money table: (name, one text a portfolio); empty where there is no portfolio."""
    performances = [p for _, p in portfolios(e)]
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
        row(
            f"Deflated for {trials_counted(e.config.trials, e.config.tries)}",
            lambda p: percent(p.deflated_sharpe),
        ),
    ]


def portfolio_rule(e: Evaluation) -> str:
    """How the naive portfolio trades, in words."""
    portfolio = e.config.portfolio_config
    rules = {
        "quantile": f"long the top {percent(portfolio.quantile, 0)} by score and short as many at the bottom",
        "rank": "weights by rank of the score",
        "sign": "long above a score of 0 and short below, in equal parts",
    }
    if e.config.kind.portfolio_rule:
        confidence = percent(e.config.confidence_threshold, 0)
        rules[e.config.kind.weighting] = e.config.kind.portfolio_rule.format(confidence=confidence)
    if e.portfolio is None:
        return f"No prediction calls for a trade ({rules[portfolio.weighting]}): there is no portfolio."
    return (
        f"Naive: {rules[portfolio.weighting]}, decided at each close, filled at the next open. "
        f"Costs a side: {percent(portfolio.costs.commission)} commission, "
        f"{1e4 * portfolio.costs.slippage:.0f} bps slippage."
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
        *([("Tries", _scope_of_tries(e.config.tries))] if e.config.tries else []),
    ]


def limits(e: Evaluation) -> list[str]:
    """Return what the report does not show, the general first."""
    sentences = [
        "Another regime. Intervals cover the luck of these sessions, not a market that changes.",
        "Leaks that no probe looks for. The gate says: no leak within the declared clocks and the tested "
        "mutants. That is not a proof.",
        f"Choice among models. {_sentence(trials_counted(e.config.trials, e.config.tries))} on record went into the "
        "deflated Sharpe ratio; what was tried and not recorded is in no figure.",
        "Real fills. Orders are filled at the opening print up to "
        f"{percent(e.config.portfolio_config.costs.volume_cap, 0)} of the session's volume; there is no market impact, "
        "no borrowing cost, no tax, and cash earns nothing.",
        "Symbols that the source never had. If it lists only those that survived, every figure is too good.",
        "A fair majority baseline. It is read off the same outcomes that are scored, which no one could know "
        "beforehand: a strict bar.",
    ]
    if e.dropped:
        sentences.append(
            f"{plural(e.dropped, 'first-passage label')} that began within {plural(e.config.horizon, 'session')} of "
            f"the end: of those "
            "days only first-passage labels decided early are known, most of them failures."
        )
    pending = e.predictions - e.scored - e.dropped
    if pending:
        why = f" or {e.config.kind.no_outcome_because}" if e.config.kind.no_outcome_because else ""
        sentences.append(
            f"{plural(pending, 'prediction')} without an outcome yet{why}, in no figure of skill."
        )
    unranked = e.sessions - (e.rank_ic.sessions if e.rank_ic else 0)
    if unranked:
        sentences.append(f"{plural(unranked, 'session')} with too few symbols to rank, in no rank IC.")
    refused = sorted({m for _, m in e.gate.latest_refusals} - set(e.months))
    if refused:
        months = ", ".join(m[:7] for m in refused)
        sentences.append(f"What the refused {plural(len(refused), 'month')} would have brought ({months}).")
    if e.config.kind.first_passage:
        sentences.append(
            "Skill in ranks. An outcome that ends at a barrier has a median that depends on where the barriers "
            "stand: on a random walk too, a price near the top of its channel ranks high. Mean returns are free "
            "of that, and decide the verdict."
        )
    events = (
        {} if e.portfolio is None else dict(e.portfolio.portfolio.events.group_by("kind").len().iter_rows())
    )
    meanings = {
        "stopped trading": "positions closed at the last close because the symbol stopped trading; a "
        "delisted share may have brought less",
        "no bar": "orders not filled because the symbol did not trade at that open",
        "capped": "orders cut to the share of volume that one fill may take",
    }
    sentences += [f"{events[kind]:,} {text}." for kind, text in meanings.items() if kind in events]
    if e.sessions < 60:
        sentences.append(
            f"{plural(e.sessions, 'session')} are few: intervals from so short a sample are rough."
        )
    return sentences


def _scope_of_tries(tries: Tries) -> str:
    return f"{tries_counted(tries)} of these outcomes, {sets_of(tries.scored)} scored"


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _outcome(e: Evaluation) -> str:
    if e.config.kind.first_passage:
        return f"first-passage label over at most {plural(e.config.horizon, 'session')}"
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
