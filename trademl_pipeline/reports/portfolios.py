"""The portfolio of a study's predictions with its performance before and after costs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.metrics import Score, ratio, score_from_sums
from trademl_pipeline.leakage import AuditReport, Rules, audit_portfolio
from trademl_pipeline.leakage.probes.trade_columns import EXECUTION
from trademl_pipeline.portfolio.long_short import LongShort, long_short
from trademl_pipeline.portfolio.performance import Performance, performance
from trademl_pipeline.reports.gate_results import GateResults, coverage_text
from trademl_pipeline.reports.inputs import ReportConfig, ReportError, ReportInputs
from trademl_pipeline.reports.text import plural


@dataclass(frozen=True)
class PortfolioResult:
    """A traded portfolio and how it did.

    Attributes:
        name: in which it differs from others.
        portfolio: what it traded, and when.
        gross, net: its performance before and after costs.
        audit: the gate's report of it.
    """

    name: str
    portfolio: LongShort
    gross: Performance
    net: Performance
    audit: AuditReport


class PortfolioRefusedError(ReportError):
    """A portfolio is not what its predictions and bars give, so that no report is written."""

    def __init__(self, study: str, name: str, report: AuditReport) -> None:
        super().__init__(
            f"the portfolio of {study} ({name}) is refused by the leakage gate: {report.first_violation()}"
        )
        self.report = report


def evaluated_portfolio(inputs: ReportInputs, config: ReportConfig) -> PortfolioResult | None:
    """The portfolio that is judged; None where the study calls for no trade at all."""
    name = (
        "the signals" if config.kind.unfiltered_portfolio else holding_name(config.portfolio_config.holding)
    )
    return _portfolio(inputs, config, name)


def benchmark_of(inputs: ReportInputs, config: ReportConfig) -> PortfolioResult | None:
    """Return the portfolio to read the judged one beside; None where there is nothing to compare.

    Of signals that were chosen: the same portfolio without the choice. Of a long/short held longer than one session:
    the same portfolio held for one.
    """
    name = config.kind.unfiltered_portfolio
    if name:
        return _portfolio(inputs, config, name, chosen=False)
    if config.portfolio_config.holding == 1:
        return None
    return _portfolio(inputs, config, holding_name(1), holding=1)


def excess_over_benchmark(
    portfolio: PortfolioResult | None, benchmark: PortfolioResult | None, config: ReportConfig
) -> Score | None:
    """Return the evaluated portfolio's yearly gain after costs above the other, on the sessions of both.

    Returns:
        The gain with its interval; None where either portfolio is missing or they share no session.
    """
    if portfolio is None or benchmark is None:
        return None
    both = portfolio.portfolio.equity.select("session", "net_return").join(
        benchmark.portfolio.equity.select("session", other="net_return"), on="session"
    )
    if both.is_empty():
        return None
    gap = (both.sort("session")["net_return"] - both.sort("session")["other"]).to_numpy()
    return score_from_sums(
        "return a year above the benchmark portfolio",
        np.column_stack([config.sessions_a_year * gap, np.ones(len(gap))]),
        ratio,
        config.portfolio_bootstrap,
        n=len(gap),
        baselines={"none": 0.0},
    )


def with_portfolios(gate: GateResults, portfolios: Sequence[PortfolioResult | None]) -> GateResults:
    """Return what the gate recorded of tables with its audit of the portfolios that a report shows.

    Args:
        gate: the record; one of nothing stays as it is.
        portfolios: those of the report.
    """
    audited = [result for result in portfolios if result is not None]
    if gate.coverage.is_empty() or not audited:
        return gate
    months = {month for result in audited for month in result.portfolio.equity["session"].dt.truncate("1mo")}
    row = {
        "probe": EXECUTION,
        "months": len(months),
        "passed": len(months),
        "refused": 0,
        "tested": coverage_text([json.dumps(result.audit.coverage[EXECUTION]) for result in audited]),
    }
    last = pl.DataFrame([row], schema=gate.coverage.schema)
    return replace(gate, coverage=pl.concat([gate.coverage, last]))


def holding_name(sessions: int) -> str:
    """ "held 5 sessions"."""
    return f"held {plural(sessions, 'session')}"


def _portfolio(
    inputs: ReportInputs, config: ReportConfig, name: str, *, holding: int | None = None, chosen: bool = True
) -> PortfolioResult | None:
    threshold = config.confidence_threshold if chosen else None
    acted_on = config.kind.tradable(inputs.predictions, threshold)
    if acted_on.is_empty():
        return None
    rules = replace(config.portfolio_config, holding=holding or config.portfolio_config.holding)
    portfolio = long_short(acted_on, inputs.bars, rules)
    audit = audit_portfolio(
        portfolio,
        inputs.predictions,
        inputs.bars,
        Rules(rules.costs.a_side, rules.calendar, seed=config.seed),
        lambda predictions, bars: long_short(config.kind.tradable(predictions, threshold), bars, rules),
        acted_on=acted_on,
    )
    if not audit.passed:
        raise PortfolioRefusedError(config.study, name, audit)
    gross, net = (
        performance(
            portfolio.equity,
            config.portfolio_bootstrap,
            column=column,
            trials=config.trials,
            trial_variance=config.trial_variance,
            year=config.sessions_a_year,
        )
        for column in ("gross_return", "net_return")
    )
    return PortfolioResult(name, portfolio, gross, net, audit)
