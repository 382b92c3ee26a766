"""Shared-memory files: created by a server, opened by a client where the server says, removed by either.

Strategy: a path from the other end is used only if it lies below /dev/shm and none of its directories is a
link. Each directory is opened relative to its parent without following links. So nothing elsewhere is ever
opened or removed, and the path cannot change in between. /dev/shm itself may be a link, since it belongs to
the system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from ..errors import Library, MessageError, error_from_errno

SHM_DIRECTORY: Final = "/dev/shm/"
"""Where libqb keeps shared files on Linux."""

_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ELSEWHERE: Final = {errno.ELOOP, errno.ENOTDIR}
"""The errors of opening a link that must not be followed."""


def checked_path(path: str, field: str) -> str:
    """Returns the path if it is a plain path below /dev/shm. Otherwise raises `MessageError`, naming the
    field."""
    if not path.startswith(SHM_DIRECTORY) or os.path.normpath(path) != path:
        raise MessageError(f"{path!r} is not below {SHM_DIRECTORY}", field=field)
    return path


class SharedFileMissing(Library):
    """This process's /dev/shm does not have the file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the daemon's shared memory is gone: {path}")
        self.path = path


@contextlib.contextmanager
def open_shared_file(path: str, size: int) -> Iterator[int]:
    """A descriptor, for the block, on a shared file of exactly `size` bytes that the other end named.

    Raises `SharedFileMissing`, a `Library`, when it is missing, `Access` when it may not be opened,
    `TryAgain` when a process holds a lease on it, `MessageError` when it is not below /dev/shm or not a
    regular file of that size.
    """
    descriptor = _opened(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise MessageError(f"a file of {status.st_size} bytes instead of {size}", field=path)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    try:
        with _directory_of(path) as (directory, name):
            # Without O_NONBLOCK, a process with a lease on the file could make this wait for 45 seconds.
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        raise SharedFileMissing(path) from None
    except OSError as error:
        advice = ". Mount /dev/shm writable" if error.errno == errno.EROFS else ""
        raise error_from_errno(error.errno or 0, f"cannot open {path}: {error.strerror}{advice}") from error


@contextlib.contextmanager
def _directory_of(path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory of a path below /dev/shm, and the name in that directory.

    Raises `MessageError` for a path that leads elsewhere, and OSError as open(2) does.
    """
    *steps, name = checked_path(path, "shared file")[len(SHM_DIRECTORY) :].split("/")
    descriptor = os.open(SHM_DIRECTORY, _STEP)
    try:
        for step in steps:
            descriptor = _descend(descriptor, step, path)
        yield descriptor, name
    finally:
        os.close(descriptor)


def _descend(directory: int, step: str, path: str) -> int:
    """Open a directory in its parent, and close the parent."""
    try:
        descriptor = os.open(step, _STEP | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in _ELSEWHERE:
            raise MessageError(
                f"{path!r} leads elsewhere: {step!r} is not a directory", field="shared file"
            ) from None
        raise
    os.close(directory)
    return descriptor


def remove_shared(*paths: str) -> None:
    """Remove files and their directory, unless they lead elsewhere or the system refuses.

    A file that cannot be removed does not stop the removal of the others. A directory that is not empty
    stays.
    """
    for path in paths:
        remove_shared_file(path)
    for directory in {path.rpartition("/")[0] for path in paths}:
        with contextlib.suppress(OSError, MessageError), _directory_of(directory) as (parent, name):
            os.rmdir(name, dir_fd=parent)


def remove_shared_file(path: str) -> None:
    """Remove a file, unless it leads elsewhere or the system refuses."""
    with contextlib.suppress(OSError, MessageError), _directory_of(path) as (directory, name):
        os.unlink(name, dir_fd=directory)


def create_shared_file(path: str, size: int) -> int:
    """A descriptor of a new shared-memory file: zeroed, mode 0600, its pages reserved."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Without this, a full /dev/shm would cause a SIGBUS at the first store.
        os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108
        raise
    return descriptor
