"""Errors of the lake. Each message says what is wrong, where, and what to do about it.

`LakeError` is the base of all of them, so a caller that only wants to know "the lake refused" catches one
name. None of the messages ever holds a password or a secret key.
"""


class LakeError(Exception):
    """Base of every error that the lake raises."""


class LakeConfigError(LakeError):
    """A configuration value cannot be understood, or contradicts what the catalog has on record."""


class FrameRefusedError(LakeError):
    """Base of the errors about a frame that may not enter the lake; the lake is unchanged."""


class EmptyFrameError(FrameRefusedError):
    """The frame has no rows, and neither its schema nor the caller declared that it may be empty."""


class SchemaMismatchError(FrameRefusedError):
    """A column is missing, unexpected or of another type than the table schema says.

    Attributes:
        table, column: where.
        expected, got: types; None on the side on which the column is absent.
    """

    def __init__(
        self,
        message: str,
        table: str = "",
        column: str = "",
        expected: str | None = None,
        got: str | None = None,
    ) -> None:
        super().__init__(message, table, column, expected, got)
        self.message = message
        self.table = table
        self.column = column
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return self.message


class NullValueError(FrameRefusedError):
    """A column that must always have a value holds nulls or NaN."""


class DuplicateKeyError(FrameRefusedError):
    """Two or more rows share one key."""


class WrongMonthError(FrameRefusedError):
    """Rows belong to another month than the partition, or the month key is malformed."""


class UnauditedError(FrameRefusedError):
    """A month of a gated table came without an audit that passed, or a ledger of audits with rows of its own."""


class MissingTableError(LakeError):
    """The table has never been published to this lake."""


class MissingColumnError(LakeError):
    """A read asked for a column that the table does not have."""


class MissingSnapshotError(LakeError):
    """The snapshot does not exist: never made, or expired by maintenance."""


class LakeBusyError(LakeError):
    """Other writers kept the lake busy through all retries; nothing was written."""


class CatalogUnreachableError(LakeError):
    """The catalog database or the object storage cannot be reached with the configured values."""


class DiskFullError(LakeError):
    """There was no room to write; the transaction was rolled back and the old data stays."""


class LakeCorruptError(LakeError):
    """The rows read back are not those written, or a data file of the catalog is gone."""
