import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from trademl_pipeline.defs.sensors import WEBHOOK, report_failures


@dg.op
def breaks() -> None:
    raise dg.Failure("features_x: 1 of 1 months refused (2016-01)")


@dg.job
def broken() -> None:
    breaks()


def report(instance: dg.DagsterInstance) -> None:
    result = broken.execute_in_process(
        instance=instance, raise_on_error=False, tags={"dagster/partition": "2016-01-01"}
    )
    context = dg.build_run_status_sensor_context(
        sensor_name="report_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()
    report_failures(context)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder without a webhook."""
    monkeypatch.setenv("TRADEML_HOME", str(tmp_path))
    monkeypatch.delenv(WEBHOOK, raising=False)
    return tmp_path


def test_a_failed_run_is_one_line_that_says_what_and_which_month(state: Path):
    with dg.instance_for_test() as instance:
        report(instance)
        report(instance)
    lines = [json.loads(line) for line in (state / "failures.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["job"] == "broken"
    assert lines[0]["month"] == "2016-01-01"
    assert lines[0]["steps"] == ["breaks: features_x: 1 of 1 months refused (2016-01)"]
    assert lines[0]["time"].endswith("+00:00")


def test_a_webhook_is_told(state: Path, monkeypatch: pytest.MonkeyPatch):
    heard = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.server_port}/")
    try:
        with dg.instance_for_test() as instance:
            report(instance)
    finally:
        server.shutdown()
    assert [h["job"] for h in heard] == ["broken"]


def test_a_webhook_that_is_down_is_an_error_and_the_line_is_kept(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(WEBHOOK, "http://127.0.0.1:9/")
    with dg.instance_for_test() as instance, pytest.raises(OSError, match="refused"):
        report(instance)
    assert (state / "failures.jsonl").exists()
