"""Tries in a report: how many there were, in words, and how they widen the intervals that an edge has to clear."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from trademl_pipeline.evaluation.scores import Score
from trademl_pipeline.evaluation.tries import Tries
from trademl_pipeline.reports.text import count, plural

# One-sided level of an interval that holds 95 %.
LEVEL = 0.025


def sets_of(n: int) -> str:
    """ "3 sets of predictions"."""
    return plural(n, "set of predictions", "sets of predictions")


def tries_counted(tries: Tries) -> str:
    """ "2 tries", or "at least 2 tries" where others are not on record."""
    return ("" if tries.complete else "at least ") + plural(tries.tries, "try", "tries")


def tries_line(plain: Mapping[str, Any]) -> str:
    """Return the counts of a report's summary on one line.

    Args:
        plain: as `Tries.to_plain` gives them.
    """
    searched = f", {plural(plain['searched'], 'configuration')} searched" if plain["searched"] else ""
    counted = ("" if plain["complete"] else "at least ") + plural(plain["tries"], "try", "tries")
    return f"{counted} of these outcomes, {sets_of(plain['scored'])} scored{searched}"


def trials_counted(trials: int, tries: Tries | None) -> str:
    """ "4 trials", or "at least 4 trials" where others are not on record."""
    return ("" if tries is None or tries.complete else "at least ") + plural(trials, "trial")


def tries_sentence(tries: Tries) -> str:
    """Return how often outcomes of the rows were looked at, and what counts as a try."""
    searched = (
        f" and {plural(tries.searched, 'configuration')} that searches tried on inner rows of training sets, which are "
        "no test rows"
        if tries.searched
        else ""
    )
    counted = tries_counted(tries)
    sentence = (
        f"{counted[0].upper()}{counted[1:]} on record at the outcomes of these rows, this one among them, by all "
        f"studies that are judged by them: {sets_of(tries.scored)} scored in all, estimators and benchmark models "
        f"included. An edge has to be one for the best of {count(tries.alternatives)}; the deflated Sharpe ratio "
        f"counts all{searched}."
    )
    if tries.complete:
        return sentence
    return f"{sentence} There may have been others, of which nothing is known: {tries.missing}."


def above_zero_for(score: Score | None, tries: Tries | None) -> bool:
    """Return whether a figure lies above 0 though it may be the best of several.

    The lower half of its interval is widened from 2.5 % to 2.5 % over the number of sets that it may have been chosen
    from (Bonferroni), by the ratio of the normal quantiles.

    Args:
        score: the figure.
        tries: on record; None: it is the only one.
    """
    if score is None or score.value is None or score.low is None:
        return False
    return score.value - widening(1 if tries is None else tries.alternatives) * (score.value - score.low) > 0


def widening(alternatives: int) -> float:
    """Return by how much the interval of the best of several figures is wider than that of one.

    Args:
        alternatives: figures that it may have been chosen from, itself included.
    """
    normal = NormalDist()
    return normal.inv_cdf(LEVEL / max(1, alternatives)) / normal.inv_cdf(LEVEL)
