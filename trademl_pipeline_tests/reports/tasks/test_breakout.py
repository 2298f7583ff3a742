from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trademl_pipeline.labels.breakout import STRATEGIC_VALUES
from trademl_pipeline.reports import build_report
from trademl_pipeline.reports.judging import above_zero, primary_tests
from trademl_pipeline.reports.tasks.breakout import prediction_summary
from trademl_pipeline.reports.tasks.breakout_tests import kl
from trademl_pipeline_tests.reports.made_tasks import SEED, breakout_frames, task_inputs

NAMES = [
    "Temporal sequence",
    "Future contamination",
    "K4 recall consistency",
    "EV correlation",
    "Class drift",
]


@pytest.fixture(scope="module")
def breakout(config):
    return replace(config, task="breakout", ev_ceiling=1.0)


def states(report):
    return {t["name"]: t["state"] for t in report.summary()["sections"]["validation_tests"]["tests"]}


def with_folds(inputs, train_end=date(2018, 12, 20)):
    folds = inputs.predictions.select("fold").unique().with_columns(train_end=pl.lit(train_end))
    sequences = inputs.predictions.select("symbol", "session", "decision_time", "knowledge_time")
    sequences = sequences.with_columns(window_start=pl.col("session").dt.offset_by("-70d"))
    return replace(inputs, folds=folds, sequences=sequences)


def mixed(made, early_skill, late_skill):
    """Predictions of other skill in the earlier and the later half."""
    inputs = task_inputs(made, "breakout", early_skill)
    late = task_inputs(made, "breakout", late_skill)
    days = inputs.predictions["session"].unique().sort()
    middle = days[len(days) // 2]
    parts = [
        inputs.predictions.filter(pl.col("session") < middle),
        late.predictions.filter(pl.col("session") >= middle),
    ]
    return replace(inputs, predictions=pl.concat(parts))


def test_skilled_forecasts_pass_all_five_tests(made, breakout):
    report = build_report(with_folds(task_inputs(made, "breakout", 1.5)), breakout)
    assert states(report) == dict.fromkeys(NAMES, "passed")
    assert report.verdict.kind == "edge"
    e = report.evaluation
    scores = report.summary()["scores"]
    p = task_inputs(made, "breakout", 1.5).predictions
    said = p.select([f"p_k{k}" for k in range(6)]).to_numpy()
    days = p["session"].to_numpy()
    usual = np.array([said[days <= day].mean(axis=0) for day in days])
    raised = said / usual
    gain = np.where(raised[:, 4] >= 1.5, 4, np.where(raised[:, 3] >= 1.5, 3, -1))
    probable, called = said.argmax(axis=1), np.where(gain > 0, gain, raised.argmax(axis=1))
    outcome = task_inputs(made, "breakout", 1.5).outcomes["target"].to_numpy()
    assert scores["K4 recall"]["value"] == pytest.approx((called[outcome == 4] == 4).mean())
    both = np.isin(outcome, (3, 4))
    assert scores["K3 K4 recall"]["value"] == pytest.approx(np.isin(called[both], (3, 4)).mean())
    value = np.array(STRATEGIC_VALUES)[outcome]
    assert scores["EV correlation"]["value"] == pytest.approx(np.corrcoef(p["ev"], value)[0, 1])
    told = report.summary()["sections"]["classes"]["scores"]
    assert told["K4_EXCEPTIONAL recall where most probable"]["value"] == pytest.approx(
        (probable[outcome == 4] == 4).mean()
    )
    assert ((called == 4) & (outcome == 4)).sum() > ((probable == 4) & (outcome == 4)).sum()
    assert e.confusion[4, 4] == ((probable == 4) & (outcome == 4)).sum()


def test_fewer_sessions_than_a_race_runs_for_show_no_edge_however_good_they_look(made, breakout):
    inputs = task_inputs(made, "breakout", 1.5)
    days = inputs.predictions["session"].unique().sort()
    few = inputs.predictions.filter(pl.col("session") < days[30])
    report = build_report(replace(inputs, predictions=few), replace(breakout, horizon=40))
    assert report.evaluation.sessions == 30 < report.evaluation.config.horizon
    assert any(above_zero(score) for score in primary_tests(report.evaluation).values())
    assert report.verdict.kind == "no edge"
    assert "30 sessions" in report.verdict.headline


def test_worthless_forecasts_fail_the_correlation_and_show_no_edge(made, breakout):
    report = build_report(task_inputs(made, "breakout", 0.0), breakout)
    assert states(report)["EV correlation"] == "failed"
    assert report.verdict.kind == "no edge"
    assert any("failed: EV correlation" in reason for reason in report.verdict.reasons)


def test_input_known_after_the_decision_fails_the_first_test_and_alarms(made, breakout):
    inputs = task_inputs(made, "breakout", 1.0)
    later = pl.col("knowledge_time").dt.offset_by("1m")
    one = pl.when(pl.int_range(pl.len()) == 7).then(later).otherwise("knowledge_time")
    late = inputs.predictions.with_columns(knowledge_time=one)
    report = build_report(replace(inputs, predictions=late), breakout)
    assert states(report)["Temporal sequence"] == "failed"
    assert report.verdict.kind == "alarm"
    assert "1 inputs of predictions known after the decision" in report.verdict.reasons[0]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda i: with_folds(i, date(2019, 5, 2)), "folds trained into their test"),
        (
            lambda i: replace(
                i, outcomes=i.outcomes.with_columns(label_start=pl.col("session") - timedelta(days=1))
            ),
            "labels beginning before the observation",
        ),
        (
            lambda i: (lambda f: replace(f, sequences=f.sequences.head(10)))(with_folds(i)),
            "predictions without a sequence",
        ),
        (
            lambda i: (
                lambda f: replace(f, sequences=f.sequences.with_columns(window_start=date(2030, 1, 1)))
            )(with_folds(i)),
            "windows beginning after the observation",
        ),
    ],
)
def test_first_test_names_what_reaches_past_the_decision(made, breakout, spoil, what):
    report = build_report(spoil(task_inputs(made, "breakout", 1.0)), breakout)
    test = report.summary()["sections"]["validation_tests"]["tests"][0]
    assert test["state"] == "failed"
    assert list(test["violations"]) == [what]


def test_first_test_is_undecided_without_clocks(made, breakout):
    inputs = task_inputs(made, "breakout", 1.0)
    bare = replace(inputs, predictions=inputs.predictions.drop("knowledge_time"))
    assert states(build_report(bare, breakout))["Temporal sequence"] == "undecided"


def test_past_predicted_far_better_than_the_recent_is_contamination(made, breakout):
    report = build_report(mixed(made, 3.0, 0.0), breakout)
    assert states(report)["Future contamination"] == "failed"
    assert states(report)["K4 recall consistency"] == "failed"
    assert any("failed: Future contamination, K4 recall consistency" in r for r in report.verdict.reasons)
    other = states(build_report(mixed(made, 0.0, 3.0), breakout))
    assert other["Future contamination"] == "passed"
    assert other["K4 recall consistency"] == "failed"


def test_consistency_of_few_exceptional_rows_is_undecided(made, breakout):
    inputs = task_inputs(made, "breakout", 1.0)
    rare = (
        pl.when((pl.col("target") == 4) & (pl.col("session") > date(2019, 1, 8))).then(0).otherwise("target")
    )
    report = build_report(replace(inputs, outcomes=inputs.outcomes.with_columns(target=rare)), breakout)
    assert states(report)["K4 recall consistency"] == "undecided"


def test_exceptional_class_never_called_has_nothing_to_be_consistent(made, breakout):
    inputs = task_inputs(made, "breakout", 1.0)
    none = [pl.lit(0.0).alias("p_k4"), (pl.col("p_k0") + pl.col("p_k4")).alias("p_k0")]
    report = build_report(replace(inputs, predictions=inputs.predictions.with_columns(none)), breakout)
    assert states(report)["K4 recall consistency"] == "undecided"
    rows = report.summary()["sections"]["classes"]["tables"][0]["rows"]
    assert (rows[4][3], rows[4][4].split(" to ")[0]) == ("0", "0.0 % (0.0")


def test_predicted_classes_that_move_fail_the_drift_test(made, breakout):
    inputs = task_inputs(made, "breakout", 1.0)
    late = pl.col("session") > date(2019, 5, 20)
    flat = [0.01, 0.01, 0.01, 0.01, 0.01, 0.95]
    moved = [pl.when(late).then(flat[k]).otherwise(f"p_k{k}").alias(f"p_k{k}") for k in range(6)]
    report = build_report(replace(inputs, predictions=inputs.predictions.with_columns(moved)), breakout)
    assert states(report)["Class drift"] == "failed"
    assert report.verdict.kind != "alarm"


def test_divergence_is_that_of_the_formula():
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert kl(p, q) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))
    assert kl(p, p) == 0


def test_summary_reads_as_the_published_one():
    predictions = pl.DataFrame(
        {
            **{f"p_k{k}": [0.0, 0.0, 0.0, 0.0] for k in range(6)},
            "p_k0": [0.7, 0.6, 0.1, 0.0],
            "p_k4": [0.1, 0.2, 0.8, 0.7],
            "p_k5": [0.2, 0.2, 0.1, 0.3],
            "ev": [-2.0, -1.0, 6.0, 7.0],
            "signal": ["AVOID", "AVOID", "STRONG", "STRONG"],
        }
    )
    assert prediction_summary(predictions).splitlines() == [
        "Total sequences: 4", "Predicted class distribution:",
        "  K0: 2 (50.0%)", "  K1: 0 (0.0%)", "  K2: 0 (0.0%)", "  K3: 0 (0.0%)", "  K4: 2 (50.0%)", "  K5: 0 (0.0%)",
        "", "Signal distribution:",
        "  AVOID: 2 (50.0%)", "  NONE: 0 (0.0%)", "  MODERATE: 0 (0.0%)", "  GOOD: 0 (0.0%)", "  STRONG: 2 (50.0%)",
        "", "STRONG signals:", "  Avg EV: 6.500", "  Avg P(K4): 0.750", "  Avg P(K5): 0.200",
    ]  # fmt: skip
    assert prediction_summary(predictions.head(2)).endswith("STRONG signals:\n  none")


def test_signal_table_holds_what_followed(made, breakout):
    inputs = task_inputs(made, "breakout", 0.5)
    scores = build_report(inputs, breakout).summary()["sections"]["signals"]["scores"]
    rows = inputs.predictions.join(inputs.outcomes, on=["symbol", "session"])
    for name in ("MODERATE", "AVOID"):
        own = rows.filter(pl.col("signal") == name)
        assert scores[f"return after {name}"]["n"] == own.height
        assert scores[f"return after {name}"]["value"] == pytest.approx(
            np.expm1(own["forward_return"]).mean()
        )


def test_classes_told_apart_without_paying_are_no_edge(made, breakout):
    frames = breakout_frames(made, 1.0, np.random.default_rng(SEED))
    noise = np.random.default_rng(8).standard_normal(made.keys.height)
    flat = frames["outcomes"].with_columns(forward_return=pl.Series(0.05 * noise))
    report = build_report(replace(task_inputs(made, "breakout", 1.0), outcomes=flat), breakout)
    assert report.verdict.kind == "no edge"
    assert (
        "outcomes are told apart better than by chance, but what followed pays no better"
        in report.verdict.headline
    )


def test_correlation_above_the_ceiling_alarms_unless_an_oracle_knows_better(made, breakout):
    inputs = task_inputs(made, "breakout", 6.0)
    assert build_report(inputs, replace(breakout, ev_ceiling=0.7)).verdict.kind == "alarm"


def test_book_is_read_beside_every_snapshot(made, breakout):
    report = build_report(task_inputs(made, "breakout", 1.0), breakout)
    assert set(report.summary()["books"]) == {"gross", "net", "gross_every_snapshot", "net_every_snapshot"}
    assert "every snapshot, after costs" in report.to_markdown()
