"""What a real webserver shows of runs that were recorded: timeline, partitions, checks; and its button Terminate."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trademl_pipeline import settings
from trademl_pipeline.cli import prepare_instance
from trademl_pipeline.data_sets import DataSet
from trademl_pipeline.settings import ROOT
from trademl_pipeline_tests.e2e.stopping import stop_group

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE = 300.0
FEATURES = "features_indicators"
# As the page of a job asks for its runs, and the timeline for all of the repository's.
RUNS = """query($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results {
  runId jobName status startTime endTime repositoryOrigin { repositoryName repositoryLocationName } } } } }"""
ASSET = """query($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
  assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } }
  assetChecksOrError { ... on AssetChecks { checks { name
    executionForLatestMaterialization { status evaluation { partition } }
    partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } } } } } }
} } }"""
TERMINATE = """mutation($run: String!) { terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) { __typename } }"""
REPOSITORY = {"key": ".dagster/repository", "value": "__repository__@trademl_pipeline"}


class Webserver:
    """The UI on a state folder, asked as its pages ask it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **settings.environment(DataSet(home=home, symbols="6", start="2013-01-01").make({})),
            "PYTHONPATH": str(ROOT),
        }
        prepare_instance(self.environment)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = (home / "webserver.log").open("w")
        webserver = str(Path(sys.executable).parent / "dagster-webserver")
        self.process = subprocess.Popen(
            [webserver, "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)],
            env=self.environment,
            cwd=ROOT,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("{ version }")
                return
            except (urllib.error.URLError, ConnectionError):
                said = (self.home / "webserver.log").read_text()[-4000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.5)

    def ask(self, query: str, **variables: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The newest first."""
        return self.ask(RUNS, filter={"tags": [REPOSITORY], **filters})["runsOrError"]["results"]

    def asset(self, name: str) -> dict[str, Any]:
        return self.ask(ASSET, path=[name])["assetNodeOrError"]

    def stop(self) -> None:
        stop_group(self.process)
        self.log.close()


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    started = Webserver(tmp_path_factory.mktemp("state"))
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def recording(webserver: Webserver) -> Iterator[tuple[subprocess.Popen, str]]:
    """A process that has recorded runs and works on one more, whose id comes with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trademl_pipeline_tests.e2e.recorded", "direction"],
        env=webserver.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def ranges(found: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    by_status: dict[str, list[tuple[str, str]]] = {}
    for one in found["ranges"]:
        by_status.setdefault(one["status"], []).append((one["startKey"], one["endKey"]))
    return by_status


@pytest.mark.usefixtures("recording")
def test_runs_stand_in_the_timeline_and_under_their_jobs(webserver: Webserver):
    found = webserver.runs()
    assert [(run["jobName"], run["status"]) for run in found] == [
        ("fold_direction", "STARTED"),
        ("fold_direction", "SUCCESS"),
        ("prepare_direction", "FAILURE"),
        ("prepare_direction", "FAILURE"),
    ]
    origin = {"repositoryName": "__repository__", "repositoryLocationName": "trademl_pipeline"}
    assert all(run["repositoryOrigin"] == origin and run["startTime"] for run in found)
    assert all(run["endTime"] for run in found[1:])
    assert len(webserver.runs(pipelineName="fold_direction")) == 2


@pytest.mark.usefixtures("recording")
def test_a_refused_month_is_red_where_nothing_good_was_and_green_where_it_was(webserver: Webserver):
    shown = ranges(webserver.asset(FEATURES)["assetPartitionStatuses"])
    assert shown == {
        "MATERIALIZED": [("2013-01-01", "2015-11-01")],
        "FAILED": [("2015-12-01", "2015-12-01")],
    }


@pytest.mark.usefixtures("recording")
def test_every_published_month_shows_its_checks_as_passed(webserver: Webserver):
    checks = {check["name"]: check for check in webserver.asset(FEATURES)["assetChecksOrError"]["checks"]}
    assert set(checks) == {"truncation", "perturbation", "knowledge", "incremental", "plausibility"}
    for name, check in checks.items():
        shown, latest = ranges(check["partitionStatuses"]), check["executionForLatestMaterialization"]
        if name == "truncation":
            assert shown == {
                "SUCCEEDED": [("2013-01-01", "2015-11-01")],
                "FAILED": [("2015-12-01", "2015-12-01")],
            }
        else:
            assert shown == {"SUCCEEDED": [("2013-01-01", "2015-12-01")]}
        assert latest["evaluation"] == {"partition": "2015-12-01"}
    for asset in ("model_direction", "predictions_direction"):
        for check in webserver.asset(asset)["assetChecksOrError"]["checks"]:
            assert ranges(check["partitionStatuses"]) == {"SUCCEEDED": [("2015-01-01", "2015-01-01")]}
            assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED"


def test_terminate_ends_a_run_that_no_launcher_has_started(
    webserver: Webserver, recording: tuple[subprocess.Popen, str]
):
    process, run_id = recording
    webserver.ask(TERMINATE, run=run_id)
    process.wait(PATIENCE)
    (run,) = [run for run in webserver.runs() if run["runId"] == run_id]
    assert run["status"] == "CANCELED"
    shown = ranges(webserver.asset("model_direction")["assetPartitionStatuses"])
    assert shown == {"MATERIALIZED": [("2015-01-01", "2015-01-01")]}
