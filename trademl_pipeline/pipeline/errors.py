"""Errors of steps."""


class StepError(Exception):
    """A step cannot work at all, whatever the month: the message says what to set or to make first."""
