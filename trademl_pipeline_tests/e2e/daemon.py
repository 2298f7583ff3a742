"""`dagster-daemon run` that looks every second instead of every 30."""

import dagster._daemon.controller as controller
from dagster._daemon.cli import create_dagster_daemon_cli

controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1

if __name__ == "__main__":
    create_dagster_daemon_cli()()
