"""The end of processes that a test has started."""

import os
import signal
import subprocess


def stop_group(process: subprocess.Popen, seconds: float = 60) -> None:
    """Interrupt a process and all that it started, and kill what is left after some seconds."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(seconds)
