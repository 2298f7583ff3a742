"""Breakout classes: the five validation tests, the prediction summary, recalls, and what followed each signal."""

import numpy as np
import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.forecast_scores import difference_of_means, mean_where
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.labels.breakout import CLASSES, STRATEGIC_VALUES
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import Line, with_interval
from trademl_pipeline.reports.section import Assessment, Section, Table
from trademl_pipeline.reports.tasks.breakout_tests import FAILED, Test, validation_tests
from trademl_pipeline.reports.tasks.published import BREAKOUT_TARGETS
from trademl_pipeline.reports.text import NONE, count, figure, interval, number, percent, plural
from trademl_pipeline.tasks.breakout import (
    CALL_LIFT,
    K3_K4,
    K4,
    LONG_SIGNALS,
    PROBABILITIES,
    SIGNALS,
    breakout_calls,
)

_SHORT = tuple(name.split("_")[0] for name in CLASSES)


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Assess breakout classes by what no other task has.

    An edge is judged by mean simple returns: the correlation of the expected value with the return, and the
    return after signals less that after the other pattern observations. On a martingale both are 0 whatever the
    barriers, while classes, and so the correlation of expected and realised value, can be told from where the price
    stands.

    Args:
        rows: scored predictions.
        inputs: all frames; the tests read the clocks of predictions, sequences and folds.
        config: how to measure.
    """
    called = called_rows(rows)
    boot = config.bootstrap
    correlation = metrics.ev_correlation(called, boot, expected="score", realised="value")
    k4 = metrics.recall(called, boot, classes=K4, predicted="called", name="K4 recall")
    k3_k4 = metrics.recall(called, boot, classes=K3_K4, predicted="called", name="K3+K4 recall")
    ev_and_return = metrics.correlation(
        called, boot, predicted="score", actual="gain", name="EV and return, correlation"
    )
    long = pl.col("signal").is_in(LONG_SIGNALS)
    signal_excess = difference_of_means(
        called,
        boot,
        value="gain",
        first=long,
        second=~long,
        name="return after signals less after the others",
    )
    tests = validation_tests(called, inputs, config, correlation)
    lines = [Line("EV correlation", correlation, "signed"), Line("K4 recall", k4, "percent")]
    lines += [Line("K3+K4 recall", k3_k4, "percent")]
    lines = [line for line in lines if line.score.value is not None]
    return Assessment(
        sections=[
            _tests_section(tests),
            _summary_section(inputs.predictions),
            _classes_section(
                called, config, {"K4 recall": k4, "K3+K4 recall": k3_k4, "EV correlation": correlation}
            ),
            _signals_section(called, config, signal_excess, ev_and_return),
        ],
        lines=[*lines, Line("Return after signals, excess in points", signal_excess, "points")]
        if signal_excess.value is not None
        else lines,
        primary_tests={"expected value": ev_and_return, "signals": signal_excess},
        sentences=[_skill(correlation, k4, ev_and_return), _pay(signal_excess), _tests_sentence(tests)],
        alarms=_alarms(tests, correlation, inputs, config),
        accuracy=metrics.class_accuracy(called, boot, probabilities=PROBABILITIES),
        skill_without_edge="outcomes are told apart" if (correlation.low or 0.0) > 0 else "",
    )


def called_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the calls of `breakout_calls`, `value` (strategic value that came), `gain` (simple return)."""
    values = dict(enumerate(STRATEGIC_VALUES))
    return breakout_calls(rows).with_columns(
        value=pl.col("target").cast(pl.Int64).replace_strict(values, return_dtype=pl.Float64),
        gain=pl.col("forward_return").exp() - 1,
    )


def prediction_summary(predictions: pl.DataFrame) -> str:
    """The prediction summary as the published breakout design prints it: classes called, signals, and the STRONG ones.

    Args:
        predictions: p_k0 … p_k5, ev, signal.
    """
    n = predictions.height
    called = np.bincount(predictions.select(PROBABILITIES).to_numpy().argmax(axis=1), minlength=len(CLASSES))
    signals = dict(predictions.group_by("signal").len().iter_rows())
    lines = [f"Total sequences: {n:,}", "Predicted class distribution:"]
    lines += [f"  {name}: {k:,} ({100 * k / n:.1f}%)" for name, k in zip(_SHORT, called, strict=True)]
    lines += ["", "Signal distribution:"]
    lines += [
        f"  {name}: {signals.get(name, 0):,} ({100 * signals.get(name, 0) / n:.1f}%)"
        for name in reversed(SIGNALS)
    ]
    strong = predictions.filter(pl.col("signal") == "STRONG")
    lines += ["", "STRONG signals:"]
    if strong.is_empty():
        return "\n".join([*lines, "  none"])
    averages = strong.select(pl.col("ev", "p_k4", "p_k5").cast(pl.Float64).mean()).row(0)
    lines += [f"  Avg {name}: {x:.3f}" for name, x in zip(("EV", "P(K4)", "P(K5)"), averages, strict=True)]
    return "\n".join(lines)


def _tests_section(tests: list[Test]) -> Section:
    rows = [[t.name, t.state, t.figures, t.rule] for t in tests]
    return Section(
        "validation_tests",
        "Five validation tests",
        text=[_tests_sentence(tests)],
        tables=[
            Table(
                ["test", "result", "figures", "passes if"],
                rows,
                note="Earlier and later: before and from the middle session of the scored range. “Undecided” is no "
                "pass: too little is known.",
                left=frozenset({1, 2, 3}),
            )
        ],
        data={"tests": [{"name": t.name, "state": t.state, **t.data} for t in tests]},
    )


def _tests_sentence(tests: list[Test]) -> str:
    by_state = {
        state: [t.name for t in tests if t.state == state] for state in ("passed", FAILED, "undecided")
    }
    text = f"Tests: {len(by_state['passed'])} of {len(tests)} validation tests passed"
    for state in (FAILED, "undecided"):
        if by_state[state]:
            text += f"; {state}: {', '.join(by_state[state])}"
    return text + "."


def _summary_section(predictions: pl.DataFrame) -> Section:
    text = "All predictions, whether their outcome is known yet or not."
    return Section(
        "prediction_summary", "Prediction summary", text=[text], code=prediction_summary(predictions)
    )


def _classes_section(called: pl.DataFrame, config: ReportConfig, aimed: dict[str, Score]) -> Section:
    boot, rows, scores = config.bootstrap, [], {}
    for k, name in enumerate(CLASSES):
        recall = metrics.recall(called, boot, classes=(k,), predicted="called")
        probable = metrics.recall(called, boot, classes=(k,))
        # Precision is the recall of what was called by what came.
        precision = metrics.recall(called, boot, classes=(k,), predicted="target", target="called")
        scores |= {f"{name} recall": recall, f"{name} precision": precision}
        scores[f"{name} recall where most probable"] = probable
        rows.append(
            [
                name.replace("_", " "),
                count(recall.n),
                percent(precision.baselines["at_random"]),
                count(precision.n),
                with_interval(recall, "percent"),
                percent(recall.baselines["at_random"]),
                with_interval(precision, "percent"),
                percent(probable.value),
            ]
        )
    goals = [
        [
            name,
            with_interval(score, style),
            figure(next(iter(score.baselines.values())), style),
            count(score.n),
            "above " + figure(BREAKOUT_TARGETS[name], style, 2 if style == "signed" else 0),
            _reached(score, BREAKOUT_TARGETS[name]),
        ]
        for (name, score), style in zip(aimed.items(), ("percent", "percent", "signed"), strict=True)
    ]
    return Section(
        "classes",
        "Which classes are found",
        tables=[
            Table(
                [
                    "class",
                    "came",
                    "share",
                    "called",
                    "recall",
                    "recall if blind",
                    "precision",
                    "most probable",
                ],
                rows,
                note=f"K4, or else K3, is called where its probability is at least {CALL_LIFT} times its own mean over "
                "this and earlier sessions; or else the class whose probability is most above its own. “If blind”: the "
                "recall of as many calls made at random, which is the share called; "
                "precision if blind is the share that came. Calling a rare class often makes its recall high and its "
                "precision low: read both. “Most probable”: the recall where the largest probability alone decides, as "
                "in the confusion matrix and the class accuracy.",
            ),
            Table(
                ["", "figure", "without skill", "n", "published target", "reached"],
                goals,
                title="Beside what the design aims at",
                note="n of a recall is the number of rows of the class. Without skill: called blindly as often.",
                left=frozenset({5}),
            ),
        ],
        scores=scores | aimed,
    )


def _reached(score: Score, target: float) -> str:
    if score.value is None:
        return NONE
    if score.value <= target:
        return "no"
    return "yes" if score.low is not None and score.low > target else "yes, but the interval reaches below"


def _signals_section(
    called: pl.DataFrame, config: ReportConfig, signal_excess: Score, ev_and_return: Score
) -> Section:
    boot, rows, scores = config.bootstrap, [], {}
    for name in (*SIGNALS, "all"):
        chosen = pl.col("symbol").is_not_null() if name == "all" else pl.col("signal") == name
        of_signal = called.filter(chosen)
        gain = mean_where(called, boot, value="gain", where=chosen, name=f"return after {name}")
        value = mean_where(called, boot, value="value", where=chosen, name=f"value after {name}")
        scores |= {gain.name: gain, value.name: value}
        rows.append(
            [
                name,
                count(of_signal.height),
                percent(of_signal.height / called.height),
                with_interval(gain, "percent"),
                percent(of_signal.select(pl.col("best_gain").mean()).item()),
                number(of_signal.select(pl.col("score").mean()).item(), 2, signed=True),
                with_interval(value, "signed", 2),
                *(
                    percent(of_signal.select(pl.col("target").is_in(k).mean()).item())
                    for k in ([4], [3, 4], [5])
                ),
            ]
        )
    text = (
        f"After STRONG, GOOD and MODERATE the mean return is {figure(signal_excess.value, 'points')} points "
        f"({interval(signal_excess, 'points')}) above that after the other pattern observations; the expected value "
        f"and the return correlate by {with_interval(ev_and_return, 'signed')}. Pattern observations of one pattern "
        "follow each other and share their outcome: n is far above the number of separate events, and the intervals "
        "allow for it."
    )
    head = ["signal", "n", "share", "mean return", "mean best gain", "mean EV", "mean value that came"]
    head += ["K4", "K3 or K4", "K5"]
    return Section(
        "signals",
        "What followed each signal",
        text=[text],
        tables=[
            Table(
                head,
                rows,
                note="Return: from the close of the observation to the end of its first-passage label, before costs. "
                "Best gain is the highest high, which no one sells at. Ranges are 95 % intervals.",
            )
        ],
        scores={**scores, signal_excess.name: signal_excess, ev_and_return.name: ev_and_return},
    )


def _skill(correlation: Score, k4: Score, ev_and_return: Score) -> str:
    recall = (
        f"K4 recall is {percent(k4.value)} of {plural(k4.n, 'row')} ({interval(k4, 'percent')}; "
        f"{percent(k4.baselines['at_random'])} if blind)"
        if k4.value is not None
        else "no K4 came"
    )
    return (
        f"Classes: the EV correlation is {number(correlation.value, signed=True)} "
        f"({interval(correlation, 'signed')}; 0 is chance) and {recall}. Telling classes apart is one "
        "thing, earning by it another: the EV correlates with the return by "
        f"{number(ev_and_return.value, signed=True)} ({interval(ev_and_return, 'signed')})."
    )


def _pay(signal_excess: Score) -> str:
    if signal_excess.value is None:
        return "Signals: no comparison, since all pattern observations or none carry a signal to buy."
    return (
        f"Signals: after {plural(signal_excess.n, 'signal')} to buy the mean return is "
        f"{figure(signal_excess.value, 'points')} points ({interval(signal_excess, 'points')}) above that after the "
        "other pattern observations, before costs."
    )


def _alarms(tests: list[Test], correlation: Score, inputs: ReportInputs, config: ReportConfig) -> list[str]:
    alarms = [f"The test “{t.name}” failed: {t.figures}." for t in tests if t.state == FAILED and t.leak]
    if inputs.oracle is None and correlation.low is not None and correlation.low > config.ev_ceiling:
        alarms.append(
            f"The EV correlation is {number(correlation.value, signed=True)} ({interval(correlation, 'signed')}), "
            f"above the ceiling of {number(config.ev_ceiling, 2)}, which forecasts of the past alone do not reach."
        )
    return alarms
