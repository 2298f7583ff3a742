"""How the loop lays jobs out, what it does after a refusal, and what it writes down of each run."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trademl_pipeline import settings
from trademl_pipeline.market.calendar import month_range
from trademl_pipeline.pipeline import runner as loop
from trademl_pipeline.pipeline.catalog import (
    COMPARISON_ASSET,
    fold_assets,
    generations,
    input_assets,
    input_reads,
)
from trademl_pipeline.pipeline.errors import StepError
from trademl_pipeline.pipeline.job_names import GPU_POOL
from trademl_pipeline.pipeline.recording import MonthDone, MonthRefused
from trademl_pipeline.pipeline.report import report_name
from trademl_pipeline.pipeline.run import Result, folds, prepare, run_studies
from trademl_pipeline.pipeline.runner import Job, Runner
from trademl_pipeline.pipeline.train import TrainOptions
from trademl_pipeline.pipeline.worker_process import attempt, emit_to
from trademl_pipeline.pipeline.workers import Hooks, Outcome, Stopped, Task, Workers
from trademl_pipeline.studies import STUDIES
from trademl_pipeline.tables import RAW_BARS
from trademl_pipeline_tests.pipeline.recorded_runs import FakeListener, FakeRecorder, FakeSteps

START, FIRST, LAST, AS_OF = "2013-01-01", "2014-11-01", "2015-02-01", "2015-03-01"
FOLDS = month_range(FIRST, LAST)
MODEL, PREDICTIONS = fold_assets(STUDIES["direction"])[:2]
TWO = ("direction", "breakout")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    made = FakeSteps()
    monkeypatch.setattr(loop, "opened", made.opened)
    return made


Make = Callable[..., Runner]


def attempt_of(task: Task, hooks: Hooks) -> Outcome:
    """What became of a task, as workers in this process find it out."""
    emit_to(lambda message: hooks.on_message(task, message))
    try:
        return attempt(task)
    finally:
        emit_to(None)


@pytest.fixture
def runner(recorder: FakeRecorder, listener: FakeListener, tmp_path: Path) -> Iterator[Make]:
    """Make a runner that works in this process."""
    with Workers(1) as workers:

        def make(*, keep_going: bool = False, **flags: int) -> Runner:
            said = settings.load(tmp_path, {f"training.{name}": value for name, value in flags.items()}, {})
            return Runner(said, recorder, listener, workers, keep_going=keep_going)

        yield make


def run(runner: Runner, *studies: str) -> Result:
    return run_studies(runner, studies or ("direction",), FIRST, LAST, as_of=AS_OF, start=START)


def one(name: str, *months: str, assets: tuple[str, ...] = ("a",), pool: str = "") -> Job:
    return Job(name, assets, months or ("2014-01-01",), pool=pool)


def test_months_that_may_share_a_model_follow_one_another_and_quarters_run_side_by_side():
    options = TrainOptions(size="base")
    groups = folds("direction", month_range("2014-11-01", "2015-04-01"), options)
    assert [[job.months for job in group] for group in groups] == [
        [("2014-11-01",), ("2014-12-01",)],
        [("2015-01-01",), ("2015-02-01",), ("2015-03-01",)],
        [("2015-04-01",)],
    ]
    jobs = [job for group in groups for job in group]
    assert {job.name for job in jobs} == {"fold_direction"}
    assert {job.assets for job in jobs} == {tuple(fold_assets(STUDIES["direction"]))}
    assert {(job.options, job.study, job.pool) for job in jobs} == {(options, "direction", GPU_POOL)}


def test_a_quarter_of_another_year_is_another_one():
    groups = folds("direction", ["2014-01-01", "2015-01-01"], TrainOptions())
    assert [len(group) for group in groups] == [1, 1]


def test_inputs_that_are_made_together_read_only_what_was_made_before():
    inputs = list(dict.fromkeys(a for study in STUDIES.values() for a in input_assets(study)))
    done: set[str] = set()
    for group in generations(inputs):
        for asset in group:
            assert set(input_reads()[asset]) & set(inputs) <= done
        done |= set(group)
    assert done == set(inputs)
    assert generations(inputs)[0] == [RAW_BARS.name]


def test_a_study_is_prepared_trained_and_reported_in_this_order(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener
):
    assert run(runner()) == Result(0, ("direction",))
    inputs, whole = input_assets(STUDIES["direction"]), month_range(START, AS_OF)
    history = [asset for asset in inputs if asset not in (RAW_BARS.name, "labels_direction")]
    # Outcomes need bars and labels of later months, and nothing else of them.
    assert {steps.months_of(asset)[-1] for asset in history} == {LAST}
    assert steps.months_of(RAW_BARS.name) == steps.months_of("labels_direction") == whole
    order = [asset for asset, _ in steps.made]
    assert max(order.index(asset) for asset in inputs) < order.index(MODEL)
    assert [(a, m) for a, m in steps.made if a in (MODEL, PREDICTIONS)] == [
        (asset, month) for month in FOLDS for asset in (MODEL, PREDICTIONS)
    ]
    assert steps.made[-1] == (report_name("direction"), AS_OF)
    assert set(recorder.ended().values()) == {"succeeded"}
    assert listener.totals["Folds"] == len(FOLDS)
    assert listener.pieces.count(f"fold_direction {LAST}") == 1
    assert listener.problems == []


def test_every_run_is_begun_told_and_ended_once(runner: Make, steps: FakeSteps, recorder: FakeRecorder):
    run(runner())
    begun = [(r.job, r.assets, r.months) for r in recorder.runs]
    assert len(begun) == len(set(begun))
    assert len({r.run_id for r in recorder.runs}) == len(begun)
    for recorded in recorder.runs:
        assert recorded.end == "succeeded"
        expected = [(asset, month) for asset in recorded.assets for month in recorded.months]
        assert [(event.asset, event.month) for event in recorded.events] == expected
        assert all(isinstance(event, MonthDone) for event in recorded.events)
    by_job = {recorded.job: recorded for recorded in recorder.runs}
    assert {"prepare_all", "fold_direction", "write_report_direction"} == set(by_job)
    for recorded in recorder.runs:
        study = {} if recorded.job == "prepare_all" else {"study": "direction"}
        alone = {"asset": recorded.assets[0]} if len(recorded.assets) == 1 else {}
        assert recorded.tags == study | alone
    # What a step writes to its log stands in its run, and in no other.
    assert (
        [line for _, line in by_job["write_report_direction"].lines]
        == [line for _, line in by_job["write_report_direction"].lines if report_name("direction") in line]
        != []
    )


def test_a_refused_month_fails_its_job_and_its_group_and_the_others_go_on(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener
):
    steps.refused = {MODEL: {"2014-11-01"}}
    assert run(runner()) == Result(1, refused=(f"{MODEL} 2014-11",))
    # December is of the same quarter.
    assert steps.months_of(MODEL) == ["2014-11-01", "2015-01-01", "2015-02-01"]
    assert steps.months_of(PREDICTIONS) == ["2015-01-01", "2015-02-01"]
    ended = {r.months[0]: r for r in recorder.runs if r.job == "fold_direction"}
    assert {month: r.end for month, r in ended.items()} == {
        "2014-11-01": "failed",
        "2015-01-01": "succeeded",
        "2015-02-01": "succeeded",
    }
    ((_, message),) = ended["2014-11-01"].ends
    assert message == (
        f"{MODEL}: 1 of 1 months refused (2014-11); the lake keeps what it held for them. "
        f"First: {MODEL} is not to be had"
    )
    assert listener.problems == [message]
    (event,) = ended["2014-11-01"].events
    assert isinstance(event, MonthRefused)
    assert ("ERROR", f"{MODEL} 2014-11: {MODEL} is not to be had") in ended["2014-11-01"].lines


def test_a_group_goes_on_after_a_refusal_where_that_is_asked(runner: Make, steps: FakeSteps):
    steps.refused = {MODEL: {"2014-11-01"}}
    assert run(runner(keep_going=True)) == Result(1, ("direction",), refused=(f"{MODEL} 2014-11",))
    assert steps.months_of(MODEL) == FOLDS
    assert steps.months_of(PREDICTIONS) == FOLDS[1:]
    assert steps.months_of(report_name("direction")) == [AS_OF]


def test_other_months_of_an_asset_are_made_beside_a_refused_one_and_what_reads_it_is_not(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener
):
    features = STUDIES["direction"].features.name
    steps.refused = {features: {"2013-05-01", "2013-07-01"}}
    assert run(runner()) == Result(1, refused=(f"{features} 2013-05", f"{features} 2013-07"))
    assert steps.months_of(features) == month_range(START, LAST)
    made = {asset for asset, _ in steps.made}
    behind = {a for a in input_assets(STUDIES["direction"]) if features in input_reads()[a]}
    assert behind
    assert not behind & made
    assert not {MODEL, report_name("direction")} & made
    assert [problem.split("; ")[0] for problem in listener.problems] == [
        f"{features}: 2 of {len(month_range(START, LAST))} months refused (2013-05, 2013-07)"
    ]
    assert recorder.ended()[f"prepare_all {LAST}"]
    assert [r.end for r in recorder.runs if r.assets == (features,)] == ["failed"]


def test_after_a_refusal_of_the_gate_no_other_job_begins_and_nothing_is_reported(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener
):
    steps.leaks = {PREDICTIONS: {"2014-11-01"}}
    assert run(runner(), *TWO) == Result(1, refused=(f"{PREDICTIONS} 2014-11",))
    assert steps.months_of(MODEL) == ["2014-11-01"]
    assert not {report_name(study) for study in TWO} & {asset for asset, _ in steps.made}
    assert [r.end for r in recorder.runs if r.job.startswith("fold")] == ["failed"]
    assert recorder.held == {}
    (line,) = [line for line in listener.lines if line.startswith("Not run after the refusal")]
    assert "fold_direction 2014-12-01, fold_direction 2015-01-01" in line
    assert "fold_breakout 2015-02-01" in line
    assert "--keep-going" in line


def test_after_a_refused_input_its_other_months_are_not_run(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener
):
    features = STUDIES["direction"].features.name
    steps.leaks = {features: {"2013-05-01"}}
    assert run(runner()) == Result(1, refused=(f"{features} 2013-05",))
    assert steps.months_of(features) == month_range(START, "2013-05-01")
    (problem,) = listener.problems
    assert problem.startswith(f"{features}: 1 of {len(month_range(START, LAST))} months refused (2013-05)")
    assert "Not run after the refusal: 2013-06 to 2015-02 (21 of the months" in problem
    assert MODEL not in {asset for asset, _ in steps.made}


def test_everything_is_made_after_a_refusal_of_the_gate_where_that_is_asked(runner: Make, steps: FakeSteps):
    features = STUDIES["direction"].features.name
    steps.leaks = {features: {"2013-05-01"}, MODEL: {"2014-11-01"}}
    assert run(runner(keep_going=True)) == Result(
        2, ("direction",), refused=(f"{features} 2013-05", f"{MODEL} 2014-11")
    )
    assert steps.months_of(features) == month_range(START, LAST)
    assert steps.months_of(MODEL) == FOLDS


def test_a_job_that_waits_for_its_slot_when_the_gate_refuses_another_is_closed_as_not_run(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch
):
    steps.leaks = {"a": {"2014-01-01"}}
    made = runner()
    monkeypatch.setattr(made.workers, "count", 2)
    recorder.held["somebody", "else"] = GPU_POOL

    def hand_out(groups, hooks, *, keep_going):
        first, second = (group[0] for group in groups)
        assert not hooks.may_start(second)
        hooks.on_start(first)
        outcome = attempt_of(first, hooks)
        hooks.on_outcome(outcome)
        assert not hooks.goes_on()
        return []

    monkeypatch.setattr(made.workers, "run", hand_out)
    assert len(made.run([[one("first")], [one("second", assets=("b",), pool=GPU_POOL)]])) == 1
    assert recorder.ended() == {"second 2014-01-01": "canceled", "first 2014-01-01": "failed"}
    assert recorder.held == {("somebody", "else"): GPU_POOL}


def test_everything_is_made_after_a_refused_input_where_that_is_asked(runner: Make, steps: FakeSteps):
    steps.refused = {STUDIES["direction"].features.name: {"2013-05-01"}}
    assert run(runner(keep_going=True)) == Result(
        1, ("direction",), refused=(f"{STUDIES['direction'].features.name} 2013-05",)
    )
    assert steps.months_of(MODEL) == FOLDS


def test_a_study_that_failed_is_neither_reported_nor_compared_and_the_other_is_reported(
    runner: Make, steps: FakeSteps
):
    steps.refused = {MODEL: {"2014-11-01"}}
    assert run(runner(), *TWO) == Result(1, ("breakout",), refused=(f"{MODEL} 2014-11",))
    made = {asset for asset, _ in steps.made}
    assert report_name("breakout") in made
    assert not {report_name("direction"), COMPARISON_ASSET} & made


def test_studies_whose_report_failed_are_not_compared(runner: Make, steps: FakeSteps, listener: FakeListener):
    steps.refused = {report_name("direction"): {AS_OF}}
    assert run(runner(), *TWO) == Result(
        1, ("breakout",), refused=(f"{report_name('direction')} {AS_OF[:7]}",)
    )
    assert COMPARISON_ASSET not in {asset for asset, _ in steps.made}
    assert len(listener.problems) == 1


def test_several_studies_are_compared_once_and_share_their_inputs(runner: Make, steps: FakeSteps):
    assert run(runner(), *TWO) == Result(0, TWO, compared=True)
    assert steps.months_of(COMPARISON_ASSET) == [AS_OF]
    assert steps.months_of(RAW_BARS.name) == month_range(START, AS_OF)


def test_a_comparison_that_failed_is_a_problem_and_not_told_as_made(runner: Make, steps: FakeSteps):
    steps.refused = {COMPARISON_ASSET: {AS_OF}}
    assert run(runner(), *TWO) == Result(1, TWO, refused=(f"{COMPARISON_ASSET} {AS_OF[:7]}",))


def test_one_study_is_compared_with_nothing(runner: Make, steps: FakeSteps):
    run(runner())
    assert COMPARISON_ASSET not in {asset for asset, _ in steps.made}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StepError("no preset 'huge'"), "no preset 'huge'"),
        (KeyError("close"), f"fold_direction {FIRST}: KeyError: 'close'"),
        (ZeroDivisionError(), f"fold_direction {FIRST}: ZeroDivisionError: ZeroDivisionError"),
    ],
)
def test_an_error_is_told_in_one_line(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener, error, line
):
    steps.errors = {MODEL: error}
    problems = runner().run(folds("direction", [FIRST], TrainOptions()))
    assert problems == [line]
    assert recorder.runs[0].ends == [("failed", line)]


def test_threads_are_shared_between_workers_when_nothing_was_said(
    runner: Make, steps: FakeSteps, monkeypatch: pytest.MonkeyPatch
):
    made = runner()
    monkeypatch.setattr(made.workers, "threads", 3)
    run(made)
    assert {options.threads for (asset, _), options in steps.options.items() if asset == MODEL} == {3}


def test_threads_that_were_said_are_kept(runner: Make, steps: FakeSteps, monkeypatch: pytest.MonkeyPatch):
    made = runner(threads=2, epochs=4)
    monkeypatch.setattr(made.workers, "threads", 3)
    run(made)
    assert {(o.threads, o.epochs) for (asset, _), o in steps.options.items() if asset == MODEL} == {(2, 4)}


def test_folds_hold_a_slot_of_the_pool_while_they_run_and_nothing_else_does(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder
):
    held: dict[str, list[str]] = {}
    steps.meanwhile = lambda asset, month: held.setdefault(asset, []).extend(recorder.held.values())
    steps.refused = {PREDICTIONS: {"2014-12-01"}}
    run(runner())
    assert held[MODEL] == [GPU_POOL] * len(steps.months_of(MODEL))
    assert set(held) - {MODEL, PREDICTIONS} == {asset for asset in held if not held[asset]}
    assert recorder.held == {}, "what was claimed is released, after a failure too"
    assert set(recorder.claims) == {(GPU_POOL, MODEL)}


def test_a_job_waits_for_its_slot_in_one_run(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch
):
    recorder.held["somebody", "else"] = GPU_POOL

    def claim(pool: str, run, step: str) -> bool:
        if len(recorder.claims) == 2:
            recorder.held.clear()
        return FakeRecorder.claim(recorder, pool, run, step)

    monkeypatch.setattr(recorder, "claim", claim)
    assert runner().run([[one("fold", pool=GPU_POOL)]]) == []
    assert len(recorder.claims) == 3
    assert recorder.ended() == {"fold 2014-01-01": "succeeded"}
    assert recorder.held == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_run_as_canceled_and_leaves_what_was_done(
    steps: FakeSteps, recorder: FakeRecorder, listener: FakeListener, tmp_path: Path, number: signal.Signals
):
    def stop(asset: str, month: str) -> None:
        if (asset, month) == ("b", "2014-02-01"):
            os.kill(os.getpid(), number)

    steps.meanwhile = stop
    jobs = [one("first"), one("second", "2014-01-01", "2014-02-01", "2014-03-01", assets=("b",), pool="gpu")]
    said = settings.load(tmp_path, environ={})
    with pytest.raises(Stopped), Workers(1) as workers:
        Runner(said, recorder, listener, workers).run([[*jobs, one("third")], [one("other")]])
    assert recorder.ended() == {"first 2014-01-01": "succeeded", "second 2014-03-01": "canceled"}
    assert [event.month for event in recorder.runs[1].events] == ["2014-01-01"]
    assert "what was published before stays" in recorder.runs[1].ends[0][1]
    assert recorder.held == {}


def test_a_run_that_is_terminated_in_the_ui_ends_and_the_others_go_on(
    runner: Make, steps: FakeSteps, recorder: FakeRecorder
):
    def terminate(asset: str, month: str) -> None:
        if asset == "b":
            recorder.runs[0].terminated = True

    steps.meanwhile = terminate
    jobs = [one("first", "2014-01-01", "2014-02-01", assets=("b",)), one("next")]
    problems = runner().run([jobs, [one("other")]])
    assert problems == ["first 2014-02-01: called off"]
    assert recorder.ended() == {"first 2014-02-01": "canceled", "other 2014-01-01": "succeeded"}
    assert steps.made == [("b", "2014-01-01"), ("a", "2014-01-01")]


def test_preparing_stops_before_the_generation_behind_a_problem(
    runner: Make, steps: FakeSteps, listener: FakeListener
):
    steps.refused = {RAW_BARS.name: {START}}
    problems = prepare(runner(), ["direction"], START, LAST, AS_OF)
    assert len(problems) == 1
    assert listener.problems == problems
    assert {asset for asset, _ in steps.made} == {RAW_BARS.name}
    assert not any("each audited before it was published" in line for line in listener.lines)
