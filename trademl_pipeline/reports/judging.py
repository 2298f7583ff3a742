"""How figures become a verdict, by rules fixed beforehand.

1. Alarm: a figure is better than forecasts of daily returns are (its ceiling, and not by luck), or on a
    simulated market better than the oracle; or the gate's latest audit refused a month whose predictions are
    in the figures.
2. Edge: the 95 % interval of one of the task's two primary tests lies above 0: of the mean daily rank IC and of
    directional accuracy over the majority baseline, unless the task has better ones (`Assessment.primary_tests`). Two
    primary tests at 2.5 % each: of reports on worthless models, about one in twenty shows an edge by luck. Where other
    predictions were tried on the same outcomes, the interval is widened to 2.5 % over their number.
3. No edge: everything else, too little data included; so are first-passage labels decided on fewer sessions than
    one of them runs for, since all of their outcomes overlap and no interval can allow for that.
"""

from collections.abc import Mapping

from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.reports.evaluation import Measurements
from trademl_pipeline.reports.oracle import Oracle
from trademl_pipeline.reports.text import count, figure, interval, number, percent, plural, points
from trademl_pipeline.reports.tries import above_zero_for, sets_of, tries_counted, tries_sentence
from trademl_pipeline.reports.verdict import Verdict

UNKNOWN_TRIES = "It took {tries}: earlier looks at these outcomes are not on record."


def judge(e: Measurements) -> Verdict:
    """Apply the rules to the figures of a report."""
    figures = (*e.task.sentences, *_skill(e), *_oracle(e), _money(e), *_evidence(e))
    too_good, refused = _too_good(e), _refused(e)
    if too_good:
        return Verdict(
            "alarm", "Too good to be true: suspect a leak, do not trade.", (*too_good, *refused, *figures)
        )
    if refused:
        return Verdict("alarm", "The gate refused months that are in these figures.", (*refused, *figures))
    if e.immature:
        return Verdict(
            "no edge",
            "No edge shown: no first-passage label has run its full length, only those decided early are known.",
            figures,
        )
    tries, tests = e.config.tries, primary_tests(e)
    above = [name for name, score in tests.items() if above_zero_for(score, tries)]
    if above and e.config.kind.first_passage and e.sessions < e.config.horizon:
        return Verdict(
            "no edge",
            f"No edge shown: decisions of {plural(e.sessions, 'session')}, fewer than the {e.config.horizon} that one "
            "first-passage label runs for, share their outcomes.",
            figures,
        )
    alone = [name for name, score in tests.items() if above_zero(score)]
    if not above and alone and tries is not None:
        return Verdict(
            "no edge",
            f"No edge shown: that in {alone[0]} may be the best of {sets_of(tries.alternatives)} that were tried on "
            "these outcomes.",
            figures,
        )
    if not above:
        return Verdict("no edge", _no_edge_headline(e), figures)
    what = "An edge" if len(above) == len(tests) else f"An edge in {above[0]}"
    unknown = (
        "" if tries is None or tries.complete else f" {UNKNOWN_TRIES.format(tries=tries_counted(tries))}"
    )
    return Verdict("edge", f"{what}, {_tail(e)}{unknown}", figures)


def primary_tests(e: Measurements) -> Mapping[str, Score | None]:
    """The figures that can show an edge, by what the edge would be in."""
    if e.task.primary_tests is not None:
        return e.task.primary_tests
    return {"ranking": e.rank_ic, "direction": e.directional_excess}


def _tail(e: Measurements) -> str:
    if e.gross is None or e.net is None:
        return "but it calls for no trade."
    net, gross = e.net.sharpe, e.gross.sharpe
    tries = e.config.tries
    if e.config.kind.unfiltered_portfolio and e.benchmark_portfolio and not above_zero_for(e.excess, tries):
        return f"but its portfolio does not surely earn more than that of {e.benchmark_portfolio.name}, after costs."
    if above_zero_for(net, tries):
        return "and the naive portfolio keeps it after costs."
    if net.value is not None and net.value > 0:
        return "but after costs it cannot be told from none."
    if gross.value is not None and gross.value > 0:
        return "but costs eat it."
    return "but the naive portfolio does not earn it."


def above_zero(score: Score | None) -> bool:
    """Return whether the interval exists and lies above 0."""
    return score is not None and score.low is not None and score.low > 0


def _too_good(e: Measurements) -> list[str]:
    alarms = list(e.task.alarms)
    if e.oracle:
        return [*alarms, *_better_than_oracle(e.oracle)]
    limits, ic, excess = e.config, e.rank_ic, e.directional_excess
    sharpe = e.gross.sharpe if e.gross else None
    # Outcomes of many sessions overlap: over few of them the mean exceeds any ceiling by luck.
    if (
        ic is not None
        and not e.config.kind.first_passage
        and (ic.value or 0) > limits.ic_ceiling
        and above_zero(ic)
    ):
        alarms.append(
            f"The mean daily rank IC is {number(ic.value, signed=True)}, above the ceiling of "
            f"{number(limits.ic_ceiling, 2)}, which forecasts that know only the past do not reach."
        )
    if excess is not None and above_zero(excess) and (excess.value or 0) > limits.direction_ceiling:
        alarms.append(
            f"Direction is called right {points(excess.value)} points more often than by the majority "
            f"baseline, above the ceiling of {points(limits.direction_ceiling, 0)} points."
        )
    if sharpe is not None and sharpe.low is not None and sharpe.low > limits.sharpe_ceiling:
        alarms.append(
            f"The Sharpe ratio before costs is {number(sharpe.value, 1)} ({interval(sharpe, digits=1)}): "
            f"the whole interval is above the ceiling of {number(limits.sharpe_ceiling, 0)}."
        )
    return alarms


def _better_than_oracle(oracle: Oracle) -> list[str]:
    return [
        f"The {name} beats the oracle, which knows the planted signal, by {figure(excess.value, style)}{unit} "
        f"({interval(excess, style)}). No forecast that knows only the past can."
        for name, excess, style, unit in (
            ("daily rank IC", oracle.ic_difference, "signed", ""),
            ("directional accuracy", oracle.direction_difference, "points", " points"),
        )
        if excess is not None and above_zero(excess)
    ]


def _refused(e: Measurements) -> list[str]:
    months_of_report = set(e.months)
    months = sorted({month for _, month in e.gate.latest_refusals if month in months_of_report})
    if not months:
        return []
    names = ", ".join(m[:7] for m in months[:6]) + (" …" if len(months) > 6 else "")
    return [
        f"The latest audit refused {plural(len(months), 'month')} that have predictions in these figures "
        f"({names}); see the refusals below, repair and publish again before believing anything here."
    ]


def _skill(e: Measurements) -> list[str]:
    direction, excess, ic = e.directional_accuracy, e.directional_excess, e.rank_ic
    if ic is None:
        ranking = f"Ranking: no session has the {e.config.min_symbols} symbols that a rank correlation needs."
    else:
        chance = (
            "ranks prove no skill where outcomes end at barriers"
            if e.config.kind.first_passage
            else "0 is chance"
        )
        ranking = (
            f"Ranking: the daily rank IC is {number(ic.value, signed=True)} on average (95 % interval "
            f"{interval(ic, 'signed')}; {chance}) over {plural(ic.sessions, 'session')}, "
            f"ICIR {number(e.icir.value if e.icir else None, 2)}."
        )
    if direction is None or excess is None:
        return [ranking]
    return [
        ranking,
        f"Direction: {percent(direction.value)} of {count(direction.n)} calls were right (95 % interval "
        f"{interval(direction, 'percent')}); {_always(direction.baselines)}. The excess over the majority is "
        f"{points(excess.value)} points ({interval(excess, 'points')}).",
    ]


def _always(baselines: Mapping[str, float]) -> str:
    majority, up = baselines["majority"], baselines["always_up"]
    if majority == up:
        return f"always up, the majority direction, scores {percent(up)}"
    return f"always down, the majority direction, scores {percent(majority)}, always up {percent(up)}"


def _oracle(e: Measurements) -> list[str]:
    if not e.oracle:
        return []
    direction, ic = e.oracle.directional_accuracy, e.oracle.rank_ic
    known = []
    if direction is not None:
        known.append(f"calls {percent(direction.value)} right")
    if ic is not None:
        known.append(f"has a rank IC of {number(ic.value, signed=True)}")
    if e.oracle.probability_scores:
        known.append(
            "scores " + ", ".join(f"{number(s.value)} in {n}" for n, s in e.oracle.probability_scores.items())
        )
    if not known:
        return []
    best = f"Oracle: on the same rows a forecast that knows what was planted {' and '.join(known)}"
    shares = [
        f"{percent(share, 0) if share > 0 else 'nothing'} of its {name}"
        for name, share in e.oracle.shares.items()
    ]
    return [best + (f"; the model recovers {' and '.join(shares)}." if shares else ".")]


def _money(e: Measurements) -> str:
    if e.gross is None or e.net is None:
        return "Money: no prediction calls for a trade; there is no portfolio to judge."
    gross, net = e.gross.sharpe, e.net.sharpe
    side = 1e4 * e.config.portfolio_config.costs.a_side
    text = (
        f"Money: the {e.config.kind.portfolio_name}, each decision held "
        f"{plural(e.config.portfolio_config.holding, 'session')}, has a Sharpe ratio of {number(gross.value, 2)} "
        f"({interval(gross, digits=2)}) before costs and "
        f"{number(net.value, 2)} ({interval(net, digits=2)}) after {side:.0f} bps a side, turning over "
        f"{percent(e.net.turnover.value, 0)} of equity a session."
    )
    if e.benchmark_portfolio:
        before, after = e.benchmark_portfolio.gross.sharpe.value, e.benchmark_portfolio.net.sharpe.value
        name = f"{e.benchmark_portfolio.name[0].upper()}{e.benchmark_portfolio.name[1:]}"
        text += f" {name}: {number(before, 2)} before and {number(after, 2)} after costs."
        if e.config.kind.unfiltered_portfolio and e.excess:
            text += (
                f" Against that the evaluated portfolio earns more by {points(e.excess.value)} points a year "
                f"({interval(e.excess, 'points')}), after costs."
            )
    return text


def _evidence(e: Measurements) -> list[str]:
    sentences = []
    if e.gate.cells.is_empty():
        sentences.append("Gate: no audit was given; nothing here shows the figures to be free of look-ahead.")
    else:
        n_refused = len(e.gate.latest_refusals)
        audited = e.gate.cells.select("table_name", "month").unique().height
        sentences.append(
            f"Gate: {plural(audited - n_refused, 'partition')} passed, "
            f"{f'{n_refused:,}' if n_refused else 'none'} refused. "
            "No leak in what passed, within the declared clocks and the tested mutants."
        )
    if e.config.tries is not None:
        sentences.append(f"Tries: {tries_sentence(e.config.tries)}")
    if e.config.simulated:
        sentences.append(
            "This market is simulated and its signal planted: the figures show whether the pipeline finds "
            "a signal, not whether it would earn money."
        )
    return sentences


def _no_edge_headline(e: Measurements) -> str:
    scores = [score for score in primary_tests(e).values() if score is not None and score.value is not None]
    if scores and all(score.low is None for score in scores):
        return "No edge shown: too few sessions for an interval."
    ic = primary_tests(e).get("ranking")
    if ic is not None and ic.high is not None and ic.high < 0:
        return "No edge: the ranking was worse than chance."
    if e.task.skill_without_edge:
        return (
            f"No edge: {e.task.skill_without_edge} better than by chance, but what followed pays no better."
        )
    return "No edge: the figures cannot be told from chance."
