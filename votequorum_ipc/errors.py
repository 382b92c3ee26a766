"""Every failure is a `CsError`, with one subclass for each `cs_error_t` of corosync's corotypes.h.

A caller writes `except TryAgain` where C compares with CS_ERR_TRY_AGAIN. Names and numbers are those of
corotypes.h without the prefix. `error_from_code` turns a daemon's answer into the exception.
`error_from_errno` does what libqb's clients do with a negative errno.
"""

from __future__ import annotations

import enum
import errno
from typing import ClassVar


class CsErrorCode(enum.IntEnum):
    """`cs_error_t`, the status in every response header (corotypes.h). OK is 1, not 0."""

    OK = 1
    LIBRARY = 2
    VERSION = 3
    INIT = 4
    TIMEOUT = 5
    TRY_AGAIN = 6
    INVALID_PARAM = 7
    NO_MEMORY = 8
    BAD_HANDLE = 9
    BUSY = 10
    ACCESS = 11
    NOT_EXIST = 12
    NAME_TOO_LONG = 13
    EXIST = 14
    NO_SPACE = 15
    INTERRUPT = 16
    NAME_NOT_FOUND = 17
    NO_RESOURCES = 18
    NOT_SUPPORTED = 19
    BAD_OPERATION = 20
    FAILED_OPERATION = 21
    MESSAGE_ERROR = 22
    QUEUE_FULL = 23
    QUEUE_NOT_AVAILABLE = 24
    BAD_FLAGS = 25
    TOO_BIG = 26
    NO_SECTIONS = 27
    CONTEXT_NOT_FOUND = 28
    TOO_MANY_GROUPS = 30
    SECURITY = 100


class CsError(Exception):
    """A call failed. `code` says how, in corosync's own numbering; the text says what to do about it."""

    code: ClassVar[CsErrorCode]

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])


class Library(CsError):
    """The connection to the daemon failed or ended (CS_ERR_LIBRARY)."""

    code = CsErrorCode.LIBRARY


class Version(CsError):
    """The other end speaks another version (CS_ERR_VERSION)."""

    code = CsErrorCode.VERSION


class Init(CsError):
    """The service is not initialized (CS_ERR_INIT)."""

    code = CsErrorCode.INIT


class Timeout(CsError):
    """The operation took too long (CS_ERR_TIMEOUT)."""

    code = CsErrorCode.TIMEOUT


class TryAgain(CsError):
    """The daemon is starting, synchronising or overloaded: try again (CS_ERR_TRY_AGAIN)."""

    code = CsErrorCode.TRY_AGAIN


class InvalidParam(CsError):
    """A parameter is not valid (CS_ERR_INVALID_PARAM)."""

    code = CsErrorCode.INVALID_PARAM


class NoMemory(CsError):
    """Out of memory (CS_ERR_NO_MEMORY)."""

    code = CsErrorCode.NO_MEMORY


class BadHandle(CsError):
    """The handle was finalized, or never initialized (CS_ERR_BAD_HANDLE)."""

    code = CsErrorCode.BAD_HANDLE


class Busy(CsError):
    """The resource is busy (CS_ERR_BUSY)."""

    code = CsErrorCode.BUSY


class Access(CsError):
    """Access is denied (CS_ERR_ACCESS)."""

    code = CsErrorCode.ACCESS


class NotExist(CsError):
    """It does not exist (CS_ERR_NOT_EXIST)."""

    code = CsErrorCode.NOT_EXIST


class NameTooLong(CsError):
    """The name is too long (CS_ERR_NAME_TOO_LONG)."""

    code = CsErrorCode.NAME_TOO_LONG


class Exist(CsError):
    """It exists already (CS_ERR_EXIST)."""

    code = CsErrorCode.EXIST


class NoSpace(CsError):
    """No space is left (CS_ERR_NO_SPACE)."""

    code = CsErrorCode.NO_SPACE


class Interrupt(CsError):
    """The call was interrupted by a signal (CS_ERR_INTERRUPT)."""

    code = CsErrorCode.INTERRUPT


class NameNotFound(CsError):
    """The name was not found (CS_ERR_NAME_NOT_FOUND)."""

    code = CsErrorCode.NAME_NOT_FOUND


class NoResources(CsError):
    """The daemon has no resources left for this (CS_ERR_NO_RESOURCES)."""

    code = CsErrorCode.NO_RESOURCES


class NotSupported(CsError):
    """The operation is not supported here (CS_ERR_NOT_SUPPORTED)."""

    code = CsErrorCode.NOT_SUPPORTED


class BadOperation(CsError):
    """The operation is not allowed (CS_ERR_BAD_OPERATION)."""

    code = CsErrorCode.BAD_OPERATION


class FailedOperation(CsError):
    """The operation failed (CS_ERR_FAILED_OPERATION)."""

    code = CsErrorCode.FAILED_OPERATION


class MessageError(CsError):
    """A message is malformed, or names a ring that is gone (CS_ERR_MESSAGE_ERROR).

    `field` names what is wrong when the message came from the other end and could not be decoded, such
    as "getinfo response.size"; it is None when the daemon itself answered with this code, as it does to
    `qdevice_poll` with an old ring id.
    """

    code = CsErrorCode.MESSAGE_ERROR

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field

    @property
    def is_answer(self) -> bool:
        """Whether the daemon answered with this code, so that its message could be decoded."""
        return self.field is None


class QueueFull(CsError):
    """The queue is full (CS_ERR_QUEUE_FULL)."""

    code = CsErrorCode.QUEUE_FULL


class QueueNotAvailable(CsError):
    """The queue is not available (CS_ERR_QUEUE_NOT_AVAILABLE)."""

    code = CsErrorCode.QUEUE_NOT_AVAILABLE


class BadFlags(CsError):
    """The flags are not valid (CS_ERR_BAD_FLAGS)."""

    code = CsErrorCode.BAD_FLAGS


class TooBig(CsError):
    """The message is larger than the connection allows (CS_ERR_TOO_BIG)."""

    code = CsErrorCode.TOO_BIG


class NoSections(CsError):
    """There is nothing more to iterate over (CS_ERR_NO_SECTIONS)."""

    code = CsErrorCode.NO_SECTIONS


class ContextNotFound(CsError):
    """The context was not found (CS_ERR_CONTEXT_NOT_FOUND)."""

    code = CsErrorCode.CONTEXT_NOT_FOUND


class TooManyGroups(CsError):
    """There are too many groups (CS_ERR_TOO_MANY_GROUPS)."""

    code = CsErrorCode.TOO_MANY_GROUPS


class Security(CsError):
    """A security check failed (CS_ERR_SECURITY)."""

    code = CsErrorCode.SECURITY


ERROR_CLASSES: dict[CsErrorCode, type[CsError]] = {cls.code: cls for cls in CsError.__subclasses__()}
"""The one class for each code other than OK."""


def error_from_code(code: int, message: str = "") -> CsError:
    """The exception for a response's `cs_error_t`; `MessageError` for a number that corotypes.h does not
    have."""
    try:
        cls = ERROR_CLASSES[CsErrorCode(code)]
    except (ValueError, KeyError):
        return MessageError(f"{code} is not a cs_error_t that reports a failure", field="error")
    return cls(message)


_BY_ERRNO: dict[int, CsErrorCode] = {
    errno.EBADF: CsErrorCode.BAD_HANDLE,
    errno.ENOMEM: CsErrorCode.NO_MEMORY,
    errno.ENOMSG: CsErrorCode.TRY_AGAIN,
    errno.ENOBUFS: CsErrorCode.TRY_AGAIN,
    errno.ETIMEDOUT: CsErrorCode.TRY_AGAIN,
    errno.EAGAIN: CsErrorCode.TRY_AGAIN,
    errno.EBADE: CsErrorCode.FAILED_OPERATION,
    errno.ETIME: CsErrorCode.TIMEOUT,
    errno.EINVAL: CsErrorCode.INVALID_PARAM,
    errno.EBUSY: CsErrorCode.BUSY,
    errno.EACCES: CsErrorCode.ACCESS,
    errno.EOVERFLOW: CsErrorCode.NAME_TOO_LONG,
    errno.EEXIST: CsErrorCode.EXIST,
    errno.ENOSPC: CsErrorCode.NO_SPACE,
    errno.EINTR: CsErrorCode.INTERRUPT,
    errno.ENOENT: CsErrorCode.NOT_EXIST,
    errno.ENODEV: CsErrorCode.NOT_EXIST,
    errno.ENOSYS: CsErrorCode.NOT_SUPPORTED,
    errno.ENOTSUP: CsErrorCode.NOT_SUPPORTED,
    errno.EBADMSG: CsErrorCode.MESSAGE_ERROR,
    errno.EMSGSIZE: CsErrorCode.TOO_BIG,
    errno.E2BIG: CsErrorCode.TOO_BIG,
}


def error_from_errno(number: int, message: str = "") -> CsError:
    """The exception for what a C client would report for a positive errno; `Library` for one without a code.

    Source: `qb_to_cs_error` in corosync's common_lib/error_conversion.c.
    """
    return ERROR_CLASSES[_BY_ERRNO.get(number, CsErrorCode.LIBRARY)](message)
