"""The requirements of real daemons on the machine, and the exact reason why one is not met.

The last check makes a real host. Containers differ so much in what they forbid that no lesser check is
reliable.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from . import installation
from .cref.library import load
from .host import Host
from .leftovers import SHARED_MEMORY

_PROGRAMS = {
    installation.program(): "corosync",
    "corosync-quorumtool": "corosync",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}


def missing() -> str | None:
    """Why no real corosync can be started here; None if it can."""
    if os.geteuid() != 0:
        return (
            "real corosync daemons need root, for namespaces and for the daemon itself; this is uid "
            + str(os.geteuid())
        )
    return _program() or _library() or _shared_memory() or _host()


def _program() -> str | None:
    for program, package in _PROGRAMS.items():
        if not shutil.which(program):
            return f"{program} is not installed (Debian's package {package})"
    return None


def _library() -> str | None:
    for name in ("votequorum", "quorum", "cmap"):
        try:
            load(name)
        except OSError as error:
            return f"the C library to compare with is not installed (Debian's package lib{name}-dev): {error}"
    return None


def _shared_memory() -> str | None:
    if SHARED_MEMORY.resolve().is_relative_to("/run"):
        return f"{SHARED_MEMORY} is inside /run, which is private to each daemon, so it cannot be shared"
    return None


def _host() -> str | None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            Host(Path(directory)).close()
        except (OSError, RuntimeError) as error:
            return (
                f"no network and mount namespaces can be made here (a container without privileges?): {error}"
            )
    return None
