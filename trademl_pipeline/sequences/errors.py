"""Errors of rows that models cannot be fitted on."""


class FitError(ValueError):
    """A model cannot be fitted on these rows; the message says on what, why and what would help."""
