"""The verdict, by rules fixed beforehand.

1. Alarm: a figure is better than forecasts of daily returns are (its ceiling, and not by luck), or on a
    simulated market better than the oracle; or the gate's latest audit refused a month whose predictions are
    in the figures.
2. Edge: the 95 % interval of one of the task's two looks lies above 0: of the mean daily rank IC and of
    directional accuracy over the majority baseline, unless the task has better ones (`Assessment.looks`). Two
    looks at 2.5 % each: of reports on worthless models, about one in twenty shows an edge by luck.
3. No edge: everything else, too little data included; so are races decided on fewer sessions than one of them runs
    for, since all of their outcomes overlap and no interval can allow for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trademl_pipeline.reports.text import count, figure, interval, number, percent, plural, points

if TYPE_CHECKING:
    from trademl_pipeline.evaluation.scores import Score
    from trademl_pipeline.reports.evaluation import Evaluation
    from trademl_pipeline.reports.oracle import Oracle

Kind = Literal["edge", "no edge", "alarm"]
LABELS: dict[Kind, str] = {"edge": "Edge", "no edge": "No edge", "alarm": "Alarm"}


@dataclass(frozen=True)
class Verdict:
    """The judgement: its kind, one headline, and the sentences that give its reasons, weightiest first."""

    kind: Kind
    headline: str
    reasons: tuple[str, ...]


def judge(evaluation: "Evaluation") -> Verdict:
    """Apply the rules to the figures of an evaluation."""
    e = evaluation
    figures = (*e.task.sentences, *_skill(e), *_oracle(e), _money(e), *_evidence(e))
    too_good, refused = _too_good(e), _refused(e)
    if too_good:
        return Verdict(
            "alarm", "Too good to be true: suspect a leak, do not trade.", (*too_good, *refused, *figures)
        )
    if refused:
        return Verdict("alarm", "The gate refused months that are in these figures.", (*refused, *figures))
    if e.unripe:
        return Verdict(
            "no edge",
            "No edge shown: no race has run its full length, only those decided early are known.",
            figures,
        )
    found = [name for name, score in looks(e).items() if above_zero(score)]
    if found and e.config.kind.race and e.sessions < e.config.horizon:
        return Verdict(
            "no edge",
            f"No edge shown: decisions of {plural(e.sessions, 'session')}, fewer than the {e.config.horizon} that one "
            "race runs for, share their outcomes.",
            figures,
        )
    if not found:
        return Verdict("no edge", _no_edge_headline(e), figures)
    what = "An edge" if len(found) == len(looks(e)) else f"An edge in {found[0]}"
    return Verdict("edge", f"{what}, {_tail(e)}", figures)


def looks(e: "Evaluation") -> "Mapping[str, Score | None]":
    """The figures that can show an edge, by what the edge would be in."""
    if e.task.looks is not None:
        return e.task.looks
    return {"ranking": e.rank_ic, "direction": e.directional_excess}


def _tail(e: "Evaluation") -> str:
    if e.gross is None or e.net is None:
        return "but it calls for no trade."
    net, gross = e.net.sharpe, e.gross.sharpe
    if e.config.kind.unchosen and e.other and not above_zero(e.lead):
        return f"but its book does not surely earn more than that of {e.other.name}, after costs."
    if above_zero(net):
        return "and the naive book keeps it after costs."
    if net.value is not None and net.value > 0:
        return "but after costs it cannot be told from none."
    if gross.value is not None and gross.value > 0:
        return "but costs eat it."
    return "but the naive book does not earn it."


def above_zero(score: "Score | None") -> bool:
    """Return whether the interval exists and lies above 0."""
    return score is not None and score.low is not None and score.low > 0


def _too_good(e: "Evaluation") -> list[str]:
    alarms = list(e.task.alarms)
    if e.oracle:
        return [*alarms, *_better_than_oracle(e.oracle)]
    limits, ic, excess = e.config, e.rank_ic, e.directional_excess
    sharpe = e.gross.sharpe if e.gross else None
    # Outcomes of many sessions overlap: over few of them the mean exceeds any ceiling by luck.
    if ic is not None and not e.config.kind.race and (ic.value or 0) > limits.ic_ceiling and above_zero(ic):
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


def _better_than_oracle(oracle: "Oracle") -> list[str]:
    return [
        f"The {name} beats the oracle, which knows the planted signal, by {figure(lead.value, style)}{unit} "
        f"({interval(lead, style)}). No forecast that knows only the past can."
        for name, lead, style, unit in (
            ("daily rank IC", oracle.ic_difference, "signed", ""),
            ("directional accuracy", oracle.direction_difference, "points", " points"),
        )
        if lead is not None and above_zero(lead)
    ]


def _refused(e: "Evaluation") -> list[str]:
    shown = set(e.months)
    months = sorted({month for _, month in e.gate.standing if month in shown})
    if not months:
        return []
    names = ", ".join(m[:7] for m in months[:6]) + (" …" if len(months) > 6 else "")
    return [
        f"The latest audit refused {plural(len(months), 'month')} that have predictions in these figures "
        f"({names}); see the refusals below, repair and publish again before believing anything here."
    ]


def _skill(e: "Evaluation") -> list[str]:
    direction, excess, ic = e.directional_accuracy, e.directional_excess, e.rank_ic
    if ic is None:
        ranking = f"Ranking: no session has the {e.config.min_symbols} symbols that a rank correlation needs."
    else:
        chance = (
            "ranks prove no skill where outcomes end at barriers" if e.config.kind.race else "0 is chance"
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
        f"{interval(direction, 'percent')}); {_always(direction.baselines)}. The lead over the majority is "
        f"{points(excess.value)} points ({interval(excess, 'points')}).",
    ]


def _always(baselines: Mapping[str, float]) -> str:
    majority, up = baselines["majority"], baselines["always_up"]
    if majority == up:
        return f"always up, the majority direction, scores {percent(up)}"
    return f"always down, the majority direction, scores {percent(majority)}, always up {percent(up)}"


def _oracle(e: "Evaluation") -> list[str]:
    if not e.oracle:
        return []
    direction, ic = e.oracle.directional_accuracy, e.oracle.rank_ic
    known = []
    if direction is not None:
        known.append(f"calls {percent(direction.value)} right")
    if ic is not None:
        known.append(f"has a rank IC of {number(ic.value, signed=True)}")
    if e.oracle.told:
        known.append("scores " + ", ".join(f"{number(s.value)} in {n}" for n, s in e.oracle.told.items()))
    if not known:
        return []
    best = f"Oracle: on the same rows a forecast that knows the planting {' and '.join(known)}"
    shares = [
        f"{percent(share, 0) if share > 0 else 'nothing'} of its {name}"
        for name, share in e.oracle.shares.items()
    ]
    return [best + (f"; the model recovers {' and '.join(shares)}." if shares else ".")]


def _money(e: "Evaluation") -> str:
    if e.gross is None or e.net is None:
        return "Money: no prediction calls for a trade; there is no book to judge."
    gross, net = e.gross.sharpe, e.net.sharpe
    side = 1e4 * e.config.book.costs.a_side
    name = {"breakout": "book of the signals", "pattern": "book of the kept signals"}.get(
        e.config.task, "naive long/short"
    )
    text = (
        f"Money: the {name}, each decision held {plural(e.config.book.holding, 'session')}, has a "
        f"Sharpe ratio of {number(gross.value, 2)} ({interval(gross, digits=2)}) before costs and "
        f"{number(net.value, 2)} ({interval(net, digits=2)}) after {side:.0f} bps a side, turning over "
        f"{percent(e.net.turnover.value, 0)} of equity a session."
    )
    if e.other:
        before, after = e.other.gross.sharpe.value, e.other.net.sharpe.value
        name = f"{e.other.name[0].upper()}{e.other.name[1:]}"
        text += f" {name}: {number(before, 2)} before and {number(after, 2)} after costs."
        if e.config.kind.unchosen and e.lead:
            text += (
                f" Against that the judged book leads by {points(e.lead.value)} points a year "
                f"({interval(e.lead, 'points')}), after costs."
            )
    return text


def _evidence(e: "Evaluation") -> list[str]:
    sentences = []
    if e.gate.cells.is_empty():
        sentences.append("Gate: no audit was given; nothing here shows the figures to be free of look-ahead.")
    else:
        standing = len(e.gate.standing)
        audited = e.gate.cells.select("table_name", "month").unique().height
        sentences.append(
            f"Gate: {plural(audited - standing, 'partition')} passed, "
            f"{f'{standing:,}' if standing else 'none'} refused. "
            "No leak in what passed, within the declared clocks and the tested mutants."
        )
    if e.config.simulated:
        sentences.append(
            "This market is simulated and its signal planted: the figures show whether the pipeline finds "
            "a signal, not whether it would earn money."
        )
    return sentences


def _no_edge_headline(e: "Evaluation") -> str:
    found = [score for score in looks(e).values() if score is not None and score.value is not None]
    if found and all(score.low is None for score in found):
        return "No edge shown: too few sessions for an interval."
    ic = looks(e).get("ranking")
    if ic is not None and ic.high is not None and ic.high < 0:
        return "No edge: the ranking was worse than chance."
    if e.task.apart:
        return f"No edge: {e.task.apart} better than by chance, but what followed pays no better."
    return "No edge: the figures cannot be told from chance."
