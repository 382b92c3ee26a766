"""Files of shared memory: made by a server, opened by a client on the server's word, removed by either.

Strategy: a path that the other end names is used only if it lies below /dev/shm and no directory on the way
is a link. Each directory is opened in its parent without following links. So nothing elsewhere is ever opened
or removed, and the way cannot change in between. /dev/shm itself may be a link, since it is the system's.
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
"""What opening a link fails with when it is not to be followed."""


def checked_path(path: str, field: str) -> str:
    """The path, if it is a plain one below /dev/shm. Raises `MessageError`, naming the field, otherwise."""
    if not path.startswith(SHM_DIRECTORY) or os.path.normpath(path) != path:
        raise MessageError(f"{path!r} is not below {SHM_DIRECTORY}", field=field)
    return path


class SharedFileMissing(Library):
    """There is no such file in this process's /dev/shm."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the daemon's shared memory is gone: {path}")
        self.path = path


@contextlib.contextmanager
def open_shared_file(path: str, size: int) -> Iterator[int]:
    """A descriptor, for the block, on a shared file of exactly `size` bytes that the other end named.

    Raises `SharedFileMissing`, a `Library`, when it is missing, `Access` when it may not be opened,
    `TryAgain` when a process holds a lease on it, `MessageError` when it is elsewhere or not a plain file of
    that size.
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
        advice = ". Mount /dev/shm so that it can be written to" if error.errno == errno.EROFS else ""
        raise error_from_errno(error.errno or 0, f"cannot open {path}: {error.strerror}{advice}") from error


@contextlib.contextmanager
def _directory_of(path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that a path below /dev/shm ends in, and the name there.

    Raises `MessageError` for a path that leads elsewhere, OSError as open(2) does.
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
    """Open a directory in a directory, and close the latter."""
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
    """Remove files and the directory that they are in, unless they lead elsewhere or the system refuses.

    One that cannot be removed does not keep the others. A directory in which anything is left stays.
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
    """A descriptor on a new file of shared memory, zeroed, mode 0600, with its pages reserved."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Without this a full /dev/shm would show as a SIGBUS at the first store.
        os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108
        raise
    return descriptor
