"""The book of a study's predictions with its performance before and after costs."""

from dataclasses import dataclass, replace

from trademl_pipeline.portfolio.long_short import LongShort, long_short
from trademl_pipeline.portfolio.performance import Performance, performance
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs


@dataclass(frozen=True)
class Book:
    """A traded book and how it did."""

    book: LongShort
    gross: Performance
    net: Performance


def judged_book(inputs: ReportInputs, config: ReportConfig) -> Book | None:
    """The book that is judged; None where the study calls for no trade at all."""
    return _book(inputs, config, config.book.holding)


def quick_book(inputs: ReportInputs, config: ReportConfig) -> Book | None:
    """The same book held for one session, where a long/short is held longer."""
    if config.book.holding == 1 or config.book.weighting == "sign":
        return None
    return _book(inputs, config, 1)


def _book(inputs: ReportInputs, config: ReportConfig, holding: int) -> Book | None:
    acted_on = config.kind.tradable(inputs.predictions, config.confidence_threshold)
    if acted_on.is_empty():
        return None
    book = long_short(acted_on, inputs.bars, replace(config.book, holding=holding))
    gross, net = (
        performance(
            book.equity,
            config.book_bootstrap,
            column=column,
            trials=config.trials,
            trial_variance=config.trial_variance,
        )
        for column in ("gross_return", "net_return")
    )
    return Book(book, gross, net)
