"""What can go wrong, told apart by what the caller should do about it.

Every error that reaches a person is one of these; its text says what was wrong and what to do.
Anything else that escapes is a defect of ours and is reported as `Broken`.
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """The class of an error as the ledger stores it."""

    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TRANSIENT = "transient"
    BROKEN = "broken"
    CANCELLED = "cancelled"


class ExportError(Exception):
    """Base of all errors with a message for people."""

    kind = ErrorKind.BROKEN
    exit_code = 5


class Rejected(ExportError):
    """The request cannot be served as it stands; asking again unchanged will not help."""

    kind = ErrorKind.INVALID
    exit_code = 2


class Forbidden(Rejected):
    """The person may not do this."""

    kind = ErrorKind.FORBIDDEN
    exit_code = 3


class NotFound(Rejected):
    """The thing asked for does not exist."""

    kind = ErrorKind.NOT_FOUND
    exit_code = 4


class Transient(ExportError):
    """Something outside failed in a way that often passes: worth another attempt."""

    kind = ErrorKind.TRANSIENT


class Broken(ExportError):
    """Something is wrong that neither the caller nor waiting mends: somebody must look."""

    kind = ErrorKind.BROKEN


class Unproven(Broken):
    """A finished file was read back and is not what was read from the source."""


class Cancelled(ExportError):
    """The export was cancelled on request."""

    kind = ErrorKind.CANCELLED
    exit_code = 6


class Superseded(ExportError):
    """This attempt is no longer the current one and may publish nothing."""

    kind = ErrorKind.CANCELLED
    exit_code = 6


#: The error class that stands for each stored kind, for a door that only sees the ledger's row.
BY_KIND: dict[ErrorKind, type[ExportError]] = {
    cls.kind: cls for cls in (Rejected, Forbidden, NotFound, Transient, Broken, Cancelled)
}
