"""The book of a study's predictions with its performance before and after costs."""

from dataclasses import dataclass, replace

import numpy as np

from trademl_pipeline.evaluation.metrics import Score, ratio, score_from_sums
from trademl_pipeline.portfolio.long_short import LongShort, long_short
from trademl_pipeline.portfolio.performance import Performance, performance
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.text import plural


@dataclass(frozen=True)
class Book:
    """A traded book and how it did; `name` says in which it differs from others."""

    name: str
    book: LongShort
    gross: Performance
    net: Performance


def judged_book(inputs: ReportInputs, config: ReportConfig) -> Book | None:
    """The book that is judged; None where the study calls for no trade at all."""
    name = "the signals" if config.kind.unchosen else held(config.book.holding)
    return _book(inputs, config, name)


def other_book(inputs: ReportInputs, config: ReportConfig) -> Book | None:
    """Return the book to read the judged one beside; None where there is nothing to compare.

    Of signals that were chosen: the same book without the choice. Of a long/short held longer than one session:
    the same book held for one.
    """
    name = config.kind.unchosen
    if name:
        return _book(inputs, config, name, chosen=False)
    if config.book.holding == 1:
        return None
    return _book(inputs, config, held(1), holding=1)


def lead_over(judged: Book | None, other: Book | None, config: ReportConfig) -> Score | None:
    """Return the judged book's yearly gain after costs above the other, on the sessions of both; None without both."""
    if judged is None or other is None:
        return None
    both = judged.book.equity.select("session", "net_return").join(
        other.book.equity.select("session", other="net_return"), on="session"
    )
    if both.is_empty():
        return None
    gap = (both.sort("session")["net_return"] - both.sort("session")["other"]).to_numpy()
    return score_from_sums(
        "return a year above the other book",
        np.column_stack([config.sessions_a_year * gap, np.ones(len(gap))]),
        ratio,
        config.book_bootstrap,
        n=len(gap),
        baselines={"none": 0.0},
    )


def held(sessions: int) -> str:
    """ "held 5 sessions"."""
    return f"held {plural(sessions, 'session')}"


def _book(
    inputs: ReportInputs, config: ReportConfig, name: str, *, holding: int | None = None, chosen: bool = True
) -> Book | None:
    acted_on = config.kind.tradable(inputs.predictions, config.confidence_threshold if chosen else None)
    if acted_on.is_empty():
        return None
    book = long_short(acted_on, inputs.bars, replace(config.book, holding=holding or config.book.holding))
    gross, net = (
        performance(
            book.equity,
            config.book_bootstrap,
            column=column,
            trials=config.trials,
            trial_variance=config.trial_variance,
            year=config.sessions_a_year,
        )
        for column in ("gross_return", "net_return")
    )
    return Book(name, book, gross, net)
