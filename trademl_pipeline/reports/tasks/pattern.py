"""Pattern confidence: each pattern by itself, and what filtering technical signals by confidence gains."""

from typing import Final

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.forecast_scores import difference_of_means, mean_where
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.classes import class_scores
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs
from trademl_pipeline.reports.lines import Line, with_interval
from trademl_pipeline.reports.section import Assessment, Section, Table
from trademl_pipeline.reports.tasks.published import PATTERN_ACCURACY
from trademl_pipeline.reports.text import NONE, count, figure, interval, number, percent, plural
from trademl_pipeline.tasks.measures import ranking
from trademl_pipeline.tasks.pattern import VIEWS, pooled_auc

CHANCE: Final = 0.5
THRESHOLDS: Final = (0.50, 0.55, 0.60, 0.65, 0.70)


def assess(rows: pl.DataFrame, inputs: ReportInputs, config: ReportConfig) -> Assessment:
    """Assess pattern confidence by what no other task has.

    Args:
        rows: scored predictions.
        inputs: all frames.
        config: how to measure; `confidence_threshold` is the filter that is judged.
    """
    sections = [_patterns_section(rows, config)]
    auc = pooled_auc(rows, config)
    lines = [Line("AUC over all patterns", auc, "number")] if auc and auc.value is not None else []
    sentences = [_patterns_sentence(auc)]
    primary_tests: dict[str, Score | None] = {"ranking": ranking(rows, config), "filtering": None}
    signals = technical_signals(rows)
    if signals.is_empty():
        sentences.append("Filter: no row carries a technical signal; there is nothing to filter.")
    else:
        gain, hits = (filter_gain(signals, config, value) for value in ("gained", "hit"))
        sections.append(_filter_section(signals, config, gain, hits))
        sentences.append(_filter_sentence(signals, config, gain, hits))
        primary_tests["filtering"] = gain
        if gain.value is not None:
            lines.append(Line("Gain of the filter in mean return, points", gain, "points", digits=3))
            lines.append(Line("Gain of the filter in hit rate, points", hits, "points"))
    return Assessment(
        sections=sections,
        lines=lines,
        primary_tests=primary_tests,
        sentences=sentences,
        accuracy=confident_hit_rate(signals, config),
        skill_without_edge="patterns are told apart" if auc and (auc.low or 0.0) > CHANCE else "",
    )


def confident_hit_rate(signals: pl.DataFrame, config: ReportConfig) -> Score | None:
    """How often a kept signal was right, beside all signals; None where none is kept."""
    if signals.is_empty():
        return None
    rate = mean_where(
        signals,
        config.bootstrap,
        value="hit",
        where=pl.col("confidence") >= config.confidence_threshold,
        name="hit rate of kept signals",
        bounds=(0, 1),
        baselines={"all_signals": float(signals["hit"].mean())},  # pyright: ignore[reportArgumentType]
    )
    return rate if rate.value is not None else None


def technical_signals(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a technical signal and a move after it, with `gained` (log return its way) and `hit` (0 or 1)."""
    gained = pl.col("direction").cast(pl.Float64) * pl.col("forward_return")
    return (
        rows.filter(pl.col("direction") != 0)
        .with_columns(gained=gained)
        .filter(pl.col("gained") != 0)
        .with_columns(hit=(pl.col("gained") > 0).cast(pl.Float64))
    )


def filter_gain(
    signals: pl.DataFrame, config: ReportConfig, value: str, threshold: float | None = None
) -> Score:
    """Return the mean of a column over the kept signals less its mean over all of them, drawn together.

    Args:
        signals: with their confidence and outcome.
        config: of the report.
        value: the column, gained or hit.
        threshold: of the confidence from which on a signal is kept; None: the report's.
    """
    confident = pl.col("confidence") >= (config.confidence_threshold if threshold is None else threshold)
    everyone = pl.col("confidence").is_not_null()
    name = {"gained": "mean return gained by the filter", "hit": "hit rate gained by the filter"}[value]
    return difference_of_means(
        signals, config.bootstrap, value=value, first=confident, second=everyone, name=name
    )


def _patterns_section(rows: pl.DataFrame, config: ReportConfig) -> Section:
    body, scores = [], {}
    for view in VIEWS:
        known, name = view.with_classes(rows), view.name
        scored = class_scores(rows, view, config.bootstrap)
        if scored is None:
            body.append([name, "0", *[NONE] * 6])
            continue
        auc = metrics.roc_auc(known, config.bootstrap, score=view.columns[0], target=view.target)
        scores |= {f"{name}: AUC": auc, f"{name}: accuracy": scored.accuracy}
        scores |= {f"{name}: Brier": scored.brier, f"{name}: calibration error": scored.calibration}
        body.append(
            [
                name,
                count(scored.n),
                percent(known[view.target].cast(pl.Float64).mean()),  # pyright: ignore[reportArgumentType]
                with_interval(auc, "number"),
                with_interval(scored.accuracy, "percent"),
                percent(scored.accuracy.baselines["majority"]),
                f"{number(scored.brier.value)} ({number(scored.brier.baselines['frequencies'])})",
                f"{percent(scored.calibration.value)} ({percent(scored.calibration.baselines['sampling'])})",
            ]
        )
    head = ["pattern", "rows", "came true", "AUC", "accuracy", "majority"]
    head += ["Brier (class shares)", "calibration error (from sampling)"]
    return Section(
        "patterns",
        "Each pattern by itself",
        text=[
            "A pattern is scored where its trigger fired and the next sessions could tell. An AUC of 0.5 is chance; "
            "accuracy says something only above the majority. The published design asks for "
            f"{percent(PATTERN_ACCURACY, 0)} accuracy, without saying how often the commoner answer is right."
        ],
        tables=[
            Table(
                head,
                body,
                note="Ranges are 95 % intervals; brackets hold the baseline that the heading names.",
            )
        ],
        scores=scores,
    )


def _filter_section(signals: pl.DataFrame, config: ReportConfig, gain: Score, hits: Score) -> Section:
    declared, boot = config.confidence_threshold, config.bootstrap
    everyone = pl.col("confidence").is_not_null()
    rows = [_filter_row("all signals", signals, everyone, config, None)]
    for threshold in sorted({*THRESHOLDS, declared}):
        mark = ", judged" if threshold == declared else ""
        rows.append(
            _filter_row(
                f"confidence at least {number(threshold, 2)}{mark}",
                signals,
                pl.col("confidence") >= threshold,
                config,
                threshold,
            )
        )
    hits_by = metrics.roc_auc(signals, boot, score="confidence", target="hit")
    side = 2 * config.portfolio_config.costs.a_side
    return Section(
        "filter",
        "What filtering by confidence gains",
        text=[
            f"Technical signals say a direction; the filter keeps those with a confidence of at least "
            f"{percent(declared, 0)}. Everything here is out of sample. Over all signals the confidence tells right "
            f"ones from wrong ones with an AUC of {with_interval(hits_by, 'number')}; 0.5 is chance. A signal that is "
            f"opened and closed costs {percent(side, 2)}: a mean return below that earns nothing."
        ],
        tables=[
            Table(
                ["", "signals", "kept", "hit rate", "gain in hit rate", "mean return", "gain in mean return"],
                rows,
                note="Gains are against all signals, in percentage points, drawn together with them; ranges are "
                "95 % intervals. One threshold was fixed beforehand and is judged; the others show what hangs on it.",
            )
        ],
        scores={gain.name: gain, hits.name: hits, "AUC of the confidence": hits_by},
        data={"threshold": declared, "signals": signals.height},
    )


def _filter_row(
    name: str, signals: pl.DataFrame, confident: pl.Expr, config: ReportConfig, threshold: float | None
) -> list[str]:
    n = int(signals.select(confident.sum()).item())
    boot = config.bootstrap
    hit = mean_where(signals, boot, value="hit", where=confident, name="hit rate", bounds=(0, 1))
    gained = mean_where(signals, boot, value="gained", where=confident, name="mean return")
    gains = [NONE, NONE]
    if threshold is not None:
        gains = [
            with_interval(filter_gain(signals, config, value, threshold), "points", digits)
            for value, digits in (("hit", 1), ("gained", 3))
        ]
    return [
        name,
        count(n),
        percent(n / signals.height, 0),
        with_interval(hit, "percent"),
        gains[0],
        with_interval(gained, "percent", 3),
        gains[1],
    ]


def _patterns_sentence(auc: Score | None) -> str:
    if auc is None or auc.value is None:
        return "Patterns: none could be scored."
    return (
        f"Patterns: whether one comes true is told with an AUC of {number(auc.value)} "
        f"({interval(auc)}; 0.5 is chance) over {plural(auc.n, 'row')}."
    )


def _filter_sentence(signals: pl.DataFrame, config: ReportConfig, gain: Score, hits: Score) -> str:
    declared = percent(config.confidence_threshold, 0)
    if gain.value is None:
        return f"Filter: no signal reaches a confidence of {declared}; the filter keeps nothing."
    return (
        f"Filter: a confidence of {declared} keeps {count(gain.n)} of {count(signals.height)} technical signals and "
        f"changes their hit rate by {figure(hits.value, 'points')} points ({interval(hits, 'points')}) and their mean "
        f"return by {figure(gain.value, 'points', 3)} points ({interval(gain, 'points', 3)})."
    )
