"""Ctrl-C and SIGTERM, and the end of the parent, as a process of the loop takes them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What ends a command from outside: Ctrl-C, `kill`, and the terminal that goes away.
ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
_PR_SET_PDEATHSIG = 1


class Stopped(KeyboardInterrupt):
    """A signal ended the work.

    It is no `Exception`: what goes on after errors, such as a loop over months, shall not go on after it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that a shell expects of a command that this signal ended."""
        return 128 + self.number


class Interruption:
    """Turns signals into `Stopped`, at once or after what must not be torn apart.

    Attributes:
        number: of the last signal; None before any.
        times: how many there were.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.times = 0
        self._holds = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: for `signal.signal`."""
        self.number, self.times = number, self.times + 1
        if not self._holds:
            raise Stopped(number)

    @contextmanager
    def kept(self) -> Generator[None]:
        """Keep a signal within the block, for somebody to look at afterwards."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep a signal until the outermost such block has ended, and raise it then."""
        with self.kept():
            yield
        self.raise_pending()

    def raise_pending(self) -> None:
        """Raise `Stopped` for a signal that was kept.

        Raises:
            Stopped: there was one.
        """
        if self.number is not None and not self._holds:
            raise Stopped(self.number)

    @contextmanager
    def installed(self) -> Generator[None]:
        """Take the signals that end a command, within the block.

        A signal that was ignored before, as under `nohup`, stays so. Python lets the main thread alone do this; in
        another one nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}
        try:
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, self.handle)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def signals_wait() -> Generator[None]:
    """Hold the signals that end a command back within the block; a process that is started in it has them blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_ending_to_parent(interruption: Interruption) -> None:
    """Let a worker be ended by its parent alone: by SIGTERM, or because the parent is gone.

    Ctrl-C reaches all processes of a terminal, and the parent ends the workers when it has seen it.

    Args:
        interruption: that takes SIGTERM.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interruption.handle)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is started by multiprocessing"
    if sys.platform == "linux":
        # The kernel ends it even in the middle of compiled code that lets no thread of Python's in.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)
    threading.Thread(target=_end_after, args=(parent,), daemon=True, name="parent watch").start()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def end_anyway(seconds: float) -> Generator[None]:
    """End this process if a signal has not been heeded some seconds after it came.

    Python heeds signals between two of its own steps, and a fit in compiled code may be one long step.

    Args:
        seconds: from the signal to the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    done = threading.Event()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] in ENDING and not done.wait(seconds):
                os._exit(128 + number[0])

    watcher = threading.Thread(target=watch, daemon=True, name="signal watch")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)
