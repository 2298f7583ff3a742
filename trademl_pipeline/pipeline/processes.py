"""Which process did something, so that others can tell later whether it is still there."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Fields of /proc/<pid>/stat after the command's name, which ends with the last parenthesis.
_STATE, _STARTED = 0, 19
_ENDED = ("Z", "X")
# What two clocks of one machine may differ by.
_CLOCK_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessMark:
    """A process of some machine.

    Attributes:
        host: the machine's name.
        pid: its number there.
        start: when it began, in the machine's own terms; a number that is used again belongs to another start.
    """

    host: str
    pid: int
    start: str

    def alive(self) -> bool | None:
        """Return whether the process runs; None where that cannot be known because it is another machine's."""
        if self.host != platform.node():
            return None
        return start_of(self.pid) == self.start


def this_process() -> ProcessMark:
    """Return the mark of the calling process."""
    return ProcessMark(platform.node(), os.getpid(), start_of(os.getpid()))


def start_of(pid: int) -> str:
    """Return when a process of this machine began; empty where there is none, or it has ended and left only its number.

    Args:
        pid: of the process.
    """
    if sys.platform == "linux":
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[_STATE] in _ENDED else f"{boot}-{fields[_STARTED]}"
    return _asked(pid)


def works_since(pid: int, time_stamp: float) -> bool:
    """Return whether a process of this machine runs that did so at a time already: not another one of its number.

    Args:
        pid: of the process.
        time_stamp: seconds since 1970.
    """
    began = start_of(pid)
    if not began or sys.platform != "linux":
        return bool(began)
    since_boot = int(began.rpartition("-")[2]) / os.sysconf("SC_CLK_TCK")
    uptime = float((_PROC / "uptime").read_text().split()[0])
    return time.time() - uptime + since_boot <= time_stamp + _CLOCK_SECONDS


def _asked(pid: int) -> str:
    """Ask `ps`, where there is no /proc."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    state, _, began = output.partition(" ")
    return "" if state[:1] in ("", *_ENDED) else " ".join(began.split())
