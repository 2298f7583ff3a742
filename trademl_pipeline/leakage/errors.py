"""Errors of the gate.

`report.LeakageError` says that a probe found something. `AuditError` and its kinds say that nothing could be
concluded, because what was handed in cannot be audited: they are never a pass.
"""


class AuditError(ValueError):
    """The audit cannot be carried out on what it was given."""


class AuditInputError(AuditError):
    """A frame or setting handed to an audit is wrong, such as a column that is missing or a key that occurs twice."""


class ExtractorError(AuditError):
    """The extractor raised; the original error is its cause."""


class ExtractorOutputError(AuditError):
    """The extractor returned something that cannot be compared cell by cell."""


class OutsideDataError(AuditError):
    """The extractor's output does not come from what it was given.

    Deleting and corrupting its input therefore says nothing.
    """


class NonDeterministicError(AuditError):
    """Two calls on the same input gave different results, so a difference would prove nothing."""


class NonDeterministicExtractorError(NonDeterministicError):
    """The extractor gave different results for the same bars."""
