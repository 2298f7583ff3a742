"""Each morning, the bars that are missing; each month, all of the month that has closed.

The retrain schedule takes in the month that has closed, and the next month's fold is then trained on it.
"""

from datetime import timedelta

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from trademl_pipeline import settings
from trademl_pipeline.defs.jobs import Job, all_jobs
from trademl_pipeline.defs.maintenance import maintenance_job
from trademl_pipeline.defs.market.bars import FETCH_TAG
from trademl_pipeline.market.calendar import close_utc, month_key, month_range, month_sessions, offset_month
from trademl_pipeline.pipeline.job_names import (
    COLD_RUN,
    NIGHTLY,
    ingest_job_name,
    month_job_name,
    train_job_name,
)
from trademl_pipeline.pipeline.raw_bars import MISSING
from trademl_pipeline.studies import STUDIES, StudySpec
from trademl_pipeline.tables.bar_tables import TIMEFRAMES, bar_tables

# 06:00 in New York on the 1st: the last session of the month has closed, the first of the next has not opened.
CRON = "0 6 1 * *"
TIMEZONE = "America/New_York"


# Well after the close, when vendors have put right what they put right, and before the next open.
DAILY_CRON = "0 6 * * *"
# After the day's bars and before anybody looks.
NIGHTLY_CRON = "0 2 * * *"
# Sundays, when nothing is fetched or trained.
WEEKLY_CRON = "0 12 * * 0"
# A lake that has been left alone for longer is brought up to date by hand: trademl ingest --missing.
MAX_MONTHS = 24


def ingest_schedule(job: Job, table: str) -> dg.ScheduleDefinition:
    """Each morning, what the lake lacks of the months since the last that it has."""

    @dg.schedule(
        name=job.name.replace("ingest_", "daily_", 1),
        job=job,
        cron_schedule=DAILY_CRON,
        execution_timezone=TIMEZONE,
        description=f"Fetch the bars that {table} lacks, from its last month on to yesterday's.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        at, calendar = context.scheduled_execution_time, settings.current().calendar
        published = context.instance.get_materialized_partitions(dg.AssetKey(table))
        now = month_key(at.date())
        if close_utc(month_sessions(now, calendar)[0], calendar) > at:
            # The month has begun, and none of its sessions has ended.
            now = offset_month(now, -1)
        first = max(max((m for m in published if m <= now), default=now), offset_month(now, 1 - MAX_MONTHS))
        return [
            dg.RunRequest(
                run_key=f"{job.name}-{month}-{at:%Y-%m-%d}",
                partition_key=month,
                tags={FETCH_TAG: MISSING},
            )
            for month in month_range(first, now)
        ]

    return daily


def nightly_schedule(job: Job) -> dg.ScheduleDefinition:
    """Each night, the audit of everything published so far."""

    @dg.schedule(
        name=job.name,
        job=job,
        cron_schedule=NIGHTLY_CRON,
        execution_timezone=TIMEZONE,
        description="Audit every published month exhaustively, unchanged months that have passed carried over, "
        "and make a month of each study again by cold processes.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time
        # Nights of one month draw different months for the cold run.
        return dg.RunRequest(
            run_key=f"{job.name}-{at:%Y-%m-%d}",
            partition_key=month_key(at.date()),
            run_config={"ops": {COLD_RUN: {"config": {"night": f"{at:%Y-%m-%d}"}}}},
        )

    return nightly


def maintenance_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Each week, the upkeep of the lake."""
    return dg.ScheduleDefinition(
        name=f"weekly_{job.name}",
        job=job,
        cron_schedule=WEEKLY_CRON,
        execution_timezone=TIMEZONE,
        description="Merge small files and let go of old snapshots that no certificate and no model names.",
    )


def retrain_schedule(study: StudySpec, closed_month: Job) -> dg.ScheduleDefinition:
    """On the 1st of each month, everything of the month that has just closed."""

    @dg.schedule(
        name=f"retrain_{study.name}",
        job=closed_month,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        description=f"{study.title}: take in the month that has closed; the sensor next_fold_{study.name} then "
        "trains the fold of the month that begins.",
    )
    def retrain(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        closed = month_key((context.scheduled_execution_time - timedelta(days=1)).date().replace(day=1))
        return dg.RunRequest(run_key=f"{study.name}-{closed}", partition_key=closed)

    return retrain


def next_fold_sensor(study: StudySpec, closed_month: Job, train: Job) -> dg.SensorDefinition:
    """When a month's job has succeeded, train the fold of the month after it."""

    @dg.run_status_sensor(
        name=f"next_fold_{study.name}",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[closed_month],
        request_job=train,
        description=f"{study.title}: after a closed month has been taken in, train the next month's fold.",
    )
    def next_fold(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        month = context.dagster_run.tags.get(PARTITION_NAME_TAG)
        if context.dagster_run.job_name != month_job_name(study.name) or month is None:
            return dg.SkipReason("not a run of one closed month")
        following = offset_month(month, 1)
        return dg.RunRequest(run_key=f"{train_job_name(study.name)}-{following}", partition_key=following)

    return next_fold


# Share of a feature set's columns whose distribution has shifted from which on a model is trained anew.
DRIFT_SHARE = 0.25


def drift_sensor(study: StudySpec, train: Job) -> dg.SensorDefinition:
    """When a month's features have drifted, train the next month's fold whatever the study's rhythm is."""

    @dg.asset_sensor(
        name=f"drift_{study.name}",
        asset_key=dg.AssetKey(study.features.name),
        job=train,
        description=f"{study.title}: when {DRIFT_SHARE:.0%} of the features have shifted against the months before, "
        "train the next fold now, also where the study refits by the quarter.",
    )
    def drift(context: dg.SensorEvaluationContext, event: dg.EventLogEntry) -> dg.RunRequest | dg.SkipReason:
        made = event.asset_materialization
        month = made.partition if made else None
        if made is None or month is None:
            return dg.SkipReason("not a month of features")
        published = context.instance.get_materialized_partitions(dg.AssetKey(study.features.name))
        if month < max(published):
            return dg.SkipReason(f"{month[:7]} is not the latest month of {study.features.name}")
        shown = made.metadata.get("columns_shifted")
        columns = len(study.features.columns) - 4
        share = float(shown.value) / columns if shown is not None else 0.0  # pyright: ignore[reportArgumentType]
        if share < DRIFT_SHARE:
            return dg.SkipReason(f"{share:.0%} of {columns} features have shifted in {month[:7]}")
        following = offset_month(month, 1)
        return dg.RunRequest(
            run_key=f"drift-{study.name}-{following}",
            partition_key=following,
            run_config={"ops": {study.models.name: {"config": {"refit": "month"}}}},
        )

    return drift


def definitions() -> dg.Definitions:
    """Every job over assets, the schedules, and the sensors that train what a schedule has prepared."""
    studies = list(STUDIES.values())
    jobs = all_jobs(studies)
    daily = [(jobs[ingest_job_name(frame)], bar_tables(frame).bars.name) for frame in TIMEFRAMES]
    schedules = [ingest_schedule(job, table) for job, table in daily]
    sensors: list[dg.SensorDefinition] = []
    for study in studies:
        closed_month, train = jobs[month_job_name(study.name)], jobs[train_job_name(study.name)]
        schedules.append(retrain_schedule(study, closed_month))
        sensors += [next_fold_sensor(study, closed_month, train), drift_sensor(study, train)]
    schedules += [nightly_schedule(jobs[NIGHTLY]), maintenance_schedule(maintenance_job)]
    return dg.Definitions(jobs=list(jobs.values()), schedules=schedules, sensors=sensors)
