"""A step under seal reads by its view alone: meanwhile every other way into a lake of this process raises.

The seal is the process's, not the thread's, so that a thread which a step starts is sealed too.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from trademl_pipeline.lake.errors import LakeError


class SealedLakeError(LakeError):
    """A step reads the lake past its view."""


class _Seal:
    step = ""


_seal = _Seal()
_permits = threading.local()


@contextmanager
def sealed(step: str) -> Generator[None]:
    """Let nothing but views read any lake while `step` runs; seals may be nested.

    Args:
        step: what runs, for the message.
    """
    before, _seal.step = _seal.step, step
    try:
        yield
    finally:
        _seal.step = before


@contextmanager
def permitted() -> Generator[None]:
    """Let this thread read under the seal: for views, and for letting go of a lake."""
    depth = getattr(_permits, "depth", 0)
    _permits.depth = depth + 1
    try:
        yield
    finally:
        _permits.depth = depth


def require_open() -> None:
    """Return only if no step runs under seal, or this thread is permitted.

    Raises:
        SealedLakeError: naming the step.
    """
    if _seal.step and not getattr(_permits, "depth", 0):
        raise SealedLakeError(
            f"{_seal.step} opens the lake by another way than its view, which alone knows what the step may know: read "
            "by the view that the step is given"
        )
