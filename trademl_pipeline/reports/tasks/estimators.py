"""The models of an ensemble and the benchmark models beside it, each judged by itself on the same rows."""

from collections.abc import Mapping, Sequence

import polars as pl

from trademl_pipeline.evaluation import metrics
from trademl_pipeline.evaluation.metrics import Score
from trademl_pipeline.reports.figure import Figure, rounded
from trademl_pipeline.reports.inputs import ReportConfig, ReportInputs, with_outcomes
from trademl_pipeline.reports.lines import with_interval
from trademl_pipeline.reports.section import Section, Table
from trademl_pipeline.reports.text import NONE, count, figure, number, plural
from trademl_pipeline.tasks.report_spec import Measure

THE_STUDY = "the study"


def estimators(
    rows: pl.DataFrame,
    inputs: ReportInputs,
    config: ReportConfig,
    *,
    title: str,
    reported: Mapping[str, str],
) -> Section | None:
    """The table of estimators; None where none are given or they share no row.

    Args:
        rows: scored predictions of the study.
        inputs: estimators and what training them cost.
        config: how to measure.
        title: heading of the section.
        reported: what a published design says of its models, by the beginning of their names; {}: no such column.
    """
    if inputs.estimator_predictions is None or inputs.estimator_predictions.is_empty():
        return None
    scored = with_outcomes(inputs.estimator_predictions, inputs.outcomes, config.kind)
    shared = _shared(rows, scored)
    if shared.is_empty():
        return None
    on = ["symbol", "session"]
    study = rows.join(shared, on=on, how="semi")
    by_estimator = {
        name: part.join(shared, on=on, how="semi", maintain_order="left")
        for (name,), part in scored.sort("session", "symbol").group_by("member", maintain_order=True)
    }
    measures = config.kind.ranked_measures
    scores_by_name = {
        name: [m.of(part, config) for m in measures]
        for name, part in {THE_STUDY: study, **by_estimator}.items()
    }
    cost = _cost(inputs)
    head = [
        "",
        "rows",
        *(m.name for m in measures),
        "IC less the study's",
        *(["published"] if reported else []),
        *cost,
    ]
    body = []
    for name, scores in sorted(scores_by_name.items(), key=lambda item: _rank(item[0], item[1][0])):
        texts = [with_interval(s, m.style) for m, s in zip(measures, scores, strict=True)]
        excess = (
            NONE if name == THE_STUDY else with_interval(_excess(by_estimator[name], study, config), "signed")
        )
        published_cell = [_reported(name, reported)] if reported else []
        body.append(
            [
                name,
                count(study.height),
                *texts,
                excess,
                *published_cell,
                *(c.get(name, NONE) for c in cost.values()),
            ]
        )
    body.append(_without_skill(measures, scores_by_name[THE_STUDY], len(head)))
    n = len(by_estimator)
    text = (
        f"{plural(n, 'model')}, each by itself, and the study's own prediction, on the {count(study.height)} rows "
        "that all of them predicted. "
        "The best of several models looks better than it is: the interval knows of one model only."
    )
    return Section(
        "members",
        title,
        text=[text],
        tables=[Table(head, body, note="Ranges are 95 % intervals.")],
        figures=[_figure(scores_by_name, measures[0])],
        scores={
            f"{name}: {m.name}": s
            for name, scores in scores_by_name.items()
            for m, s in zip(measures, scores, strict=True)
            if s is not None
        },
    )


def _shared(rows: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """Keys that the study and every estimator predicted."""
    names = scored["member"].n_unique()
    keys = scored.group_by("symbol", "session").agg(pl.len()).filter(pl.col("len") == names)
    return keys.join(rows, on=["symbol", "session"], how="semi").select("symbol", "session")


def _excess(estimator: pl.DataFrame, study: pl.DataFrame, config: ReportConfig) -> Score | None:
    daily, best = (metrics.rank_ic_by_session(r, min_symbols=config.min_symbols) for r in (estimator, study))
    paired = daily.join(best.select("session", study="ic"), on="session").with_columns(
        ic=pl.col("ic") - pl.col("study")
    )
    return None if paired.is_empty() else metrics.rank_ic(paired.sort("session"), config.bootstrap)


def _cost(inputs: ReportInputs) -> dict[str, dict[str, str]]:
    """Columns of what training cost, over all folds."""
    if inputs.training is None or inputs.training.is_empty():
        return {}
    columns = {}
    if "parameters" in inputs.training.columns:
        max_parameters = inputs.training.group_by("member").agg(pl.col("parameters").max()).rows()
        columns["parameters"] = {name: count(value) for name, value in max_parameters}
    if "train_seconds" in inputs.training.columns:
        mean = inputs.training.group_by("member").agg(pl.col("train_seconds").mean()).rows()
        columns["seconds a fold"] = {name: number(value, 1) for name, value in mean}
    return columns


def _rank(name: str, score: Score | None) -> tuple[bool, float]:
    """The study first, then from best to worst."""
    return name != THE_STUDY, -(score.value if score and score.value is not None else -9.0)


def _reported(name: str, reported: Mapping[str, str]) -> str:
    known = "ensemble" if name == THE_STUDY else name.lower()
    return next((text for key, text in reported.items() if known.startswith(key)), NONE)


def _without_skill(measures: Sequence[Measure], scores: list[Score | None], width: int) -> list[str]:
    texts = [
        figure(max(s.baselines.values()) if m.better == "high" else min(s.baselines.values()), m.style)
        if s is not None and s.baselines
        else NONE
        for m, s in zip(measures, scores, strict=True)
    ]
    row = ["without skill", "", *texts]
    return [*row, *[""] * (width - len(row))]


def _figure(scores_by_name: dict[str, list[Score | None]], measure: Measure) -> Figure:
    names, values, ups, downs = [], [], [], []
    for name, scores in sorted(
        scores_by_name.items(), key=lambda item: _rank(item[0], item[1][0]), reverse=True
    ):
        score = scores[0]
        if score is None or score.value is None:
            continue
        names.append(name)
        values.append(score.value)
        ups.append(score.high - score.value if score.high is not None else 0.0)
        downs.append(score.value - score.low if score.low is not None else 0.0)
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(values),
        "y": names,
        "marker": {"size": 10, "color": ["@orange" if n == THE_STUDY else "@blue" for n in names]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded(ups),
            "arrayminus": rounded(downs),
            "color": "@muted",
            "thickness": 1.5,
            "width": 0,
        },
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    return Figure(
        "members",
        f"{measure.name[0].upper()}{measure.name[1:]} of each model, with 95 % intervals",
        "On the same rows; the study's own prediction in orange.",
        [dots],
        {
            "xaxis": {"tickformat": ".3~g", "zeroline": True},
            "yaxis": {"type": "category", "automargin": True},
            "showlegend": False,
        },
        height=100 + 30 * max(1, len(names)),
    )
