"""Which system calls fail in a sweep, and with which errors.

Strategy: a table of errors that section 2 of the man pages documents and a machine can produce. Two kinds are
left out: errors that only a defect of the caller could cause (EBADF, EFAULT), and errors that come with the
end of the other side (EPIPE, ECONNRESET). strace could not make that end real; other tests cover it. Every
kind of call that the client makes is in a table here: `make system-calls` fails when it meets another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"),
    "connect": ("ECONNREFUSED", "EAGAIN", "EACCES", "ENOENT"),
    "bind": ("EADDRINUSE", "ENOMEM"),
    "setsockopt": ("ENOMEM", "ENOPROTOOPT"),
    "getsockopt": ("ENOMEM", "ENOPROTOOPT"),
    "getsockname": ("ENOBUFS",),
    "sendto": ("ENOMEM", "ENOBUFS", "EINTR"),
    "sendmsg": ("ENOMEM", "ENOBUFS", "EINTR"),
    "recvfrom": ("ENOMEM", "EINTR"),
    "recvmsg": ("ENOMEM", "EINTR"),
    "shutdown": ("ENOTCONN",),
    "openat": ("EMFILE", "ENFILE", "EACCES", "ENOENT", "ENOMEM"),
    "readlink": ("EACCES", "ENOENT", "ENOMEM"),
    "newfstatat": ("EACCES", "ENOENT", "ENOMEM"),
    "lstat": ("EACCES", "ENOENT", "ENOMEM"),
    "fstat": ("ENOMEM",),
    "fcntl": ("EMFILE", "EINVAL", "EAGAIN"),
    "ioctl": ("ENOTTY", "EINVAL"),
    "dup": ("EMFILE",),
    "mmap": ("ENOMEM", "EAGAIN"),
    "epoll_create1": ("EMFILE", "ENFILE", "ENOMEM"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "eventfd2": ("EMFILE", "ENFILE", "ENOMEM"),
    "pread64": ("ENOMEM",),
    "pwrite64": ("ENOMEM", "ENOSPC"),
    "poll": ("EINTR", "ENOMEM"),
    "futex": ("EAGAIN", "EINTR"),
    "unlink": ("EACCES", "ENOENT", "EROFS"),
    "unlinkat": ("EACCES", "ENOENT", "EROFS"),
    "rmdir": ("EACCES", "ENOENT", "ENOTEMPTY"),
    "kill": ("EPERM", "ESRCH"),
    "pidfd_open": ("EMFILE", "ESRCH", "ENOSYS"),
}
"""Errors by kind of call."""

NEVER_FAIL: Final = frozenset(
    {
        "brk",  # the allocator then maps memory instead
        "clock_gettime",
        "clock_nanosleep",
        "close",  # a socket or a file in memory; and strace would leave the failed one open
        "exit_group",
        "getegid",
        "geteuid",
        "getgid",
        "getpid",
        "getrandom",
        "getuid",
        "lseek",
        "madvise",
        "mprotect",
        "munmap",
        "read",  # an eventfd's, which never blocks
        "readv",  # the subject's input
        "rt_sigaction",
        "rt_sigprocmask",
        "sched_getaffinity",
        "sched_yield",
        "uname",
        "write",  # to an eventfd
        "writev",  # the subject's output
    }
)
"""Calls that cannot fail here, or are not the library's."""
