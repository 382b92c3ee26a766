"""The platforms on which this package's layouts of shared memory are valid."""

from __future__ import annotations

import os
import struct
import sys
from typing import Final

from ..errors import NotSupported

_FUTEX_NUMBERS: Final = {
    "x86_64": 202,
    "aarch64": 98,
    "ppc64": 221,
    "ppc64le": 221,
    "s390x": 238,
    "riscv64": 98,
    "loongarch64": 98,
}
"""The number of the system call futex, by machine (the kernel's syscall tables)."""


def check_platform() -> None:
    """Raises `NotSupported` where libqb's setup messages and shared memory have another layout."""
    if sys.platform != "linux":
        raise NotSupported(f"corosync's IPC is known only on Linux, and this is {sys.platform}")
    machine = os.uname().machine
    bits = struct.calcsize("P") * 8
    if bits != 64:
        raise NotSupported(
            f"corosync's IPC is known only for 64-bit processes, and this Python has {bits} bits (on "
            f"{machine}). qb_ipc_type does not change that: run a 64-bit Python and a 64-bit corosync"
        )
    if machine not in _FUTEX_NUMBERS:
        raise NotSupported(f"{machine} is unknown here; known are {', '.join(_FUTEX_NUMBERS)}")


def futex_number() -> int:
    """The number of the system call futex on this machine. Call `check_platform` first."""
    return _FUTEX_NUMBERS[os.uname().machine]
