"""Failures are reported where a person looks: one line per failed run in a log, and a webhook where one is set."""

import json
import urllib.request
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG

from trademl_pipeline import settings

# A secret: whoever knows the address can post there.
WEBHOOK = "TRADEML_ALERT_WEBHOOK"
TIMEOUT_SECONDS = 10.0


def failure_record(context: dg.RunFailureSensorContext) -> dict[str, str | list[str]]:
    """Return what a person must know of a failed run."""
    run = context.dagster_run
    steps = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        reason = data.user_failure_data.description if data.user_failure_data else None
        steps.append(
            f"{event.step_key}: {reason or (data.error.message.strip() if data.error else 'failed')}"
        )
    ended = context.instance.get_run_stats(run.run_id).end_time
    return {
        "time": datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds") if ended else "",
        "run": run.run_id,
        "job": run.job_name,
        "month": run.tags.get(PARTITION_NAME_TAG, run.tags.get(ASSET_PARTITION_RANGE_START_TAG, "")),
        "steps": steps or [context.failure_event.message or "the run failed before any step"],
    }


@dg.run_failure_sensor(
    name="report_failures",
    description="Appends each failed run to failures.jsonl in the data set's folder, and posts it as JSON to "
    f"{WEBHOOK} where that is set.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def report_failures(context: dg.RunFailureSensorContext) -> None:
    """Write the failure down, then tell the webhook; a webhook that fails makes the sensor try again."""
    record = failure_record(context)
    line = json.dumps(record)
    in_force = settings.current()
    with (in_force.home / "failures.jsonl").open("a") as log:
        log.write(line + "\n")
    context.log.error(
        f"run {record['run']} of {record['job']} {record['month']} failed: {'; '.join(record['steps'])}"
    )
    url = in_force.alerts.webhook.get_secret_value()
    if url:
        request = urllib.request.Request(
            url, data=line.encode(), headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            response.read()


def definitions() -> dg.Definitions:
    """The sensor of failed runs."""
    return dg.Definitions(sensors=[report_failures])
