"""The corosync that the tests run: the one on PATH, unless the environment names another.

  COROSYNC_PREFIX=/opt/corosync   another installation: sbin, bin and lib below that directory
  COROSYNC=/path/to/program       this program instead of `corosync`, for example a wrapper

Strategy: ask the daemon for differences between versions, never assume them. `corosync -v` lists the build
options; a build that refuses unencrypted totem says so there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import subprocess
from pathlib import Path

_VERSION = re.compile(r"version '(?P<version>(?P<numbers>\d+(?:\.\d+)*)[^']*)'")
_REFUSES_PLAIN_TOTEM = "enforce_encryption"
_LIBRARY_DIRECTORIES = ("lib", "lib64")


def prefix() -> Path | None:
    """The installation that COROSYNC_PREFIX names."""
    named = os.environ.get("COROSYNC_PREFIX")
    return Path(named) if named else None


def program() -> str:
    """The program to run as corosync."""
    return os.environ.get("COROSYNC") or "corosync"


def put_on_path() -> None:
    """Put the programs and libraries of the chosen installation first on the paths of child processes.

    Some root users have no sbin on their PATH, where Debian installs corosync and ip: it is added too.
    """
    path = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    chosen = prefix()
    if chosen:
        path = [str(chosen / "sbin"), str(chosen / "bin"), *path]
        libraries = [str(chosen / name) for name in _LIBRARY_DIRECTORIES]
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(
            [*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        )
    os.environ["PATH"] = os.pathsep.join(path)


def load_library(name: str) -> ctypes.CDLL:
    """A C library of the chosen installation, such as "libquorum.so.5". Raises `OSError` if it is missing."""
    for directory in _LIBRARY_DIRECTORIES:
        path = (prefix() or Path()) / directory / name
        if prefix() and path.exists():
            _load_libqb(path.parent)
            return ctypes.CDLL(str(path))
    return ctypes.CDLL(name)


@functools.cache
def _load_libqb(directory: Path) -> None:
    # LD_LIBRARY_PATH is read when a process starts, too late to change for this one; a library that is
    # already loaded is not looked up again.
    for library in sorted(directory.glob("lib*.so.*")):
        if library.name.startswith(("libqb.so.", "libcorosync_common.so.")):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@functools.cache
def description() -> str:
    """The output of `corosync -v`. Raises `OSError` if the program cannot be started."""
    return subprocess.run([program(), "-v"], capture_output=True, text=True, check=False).stdout


def version() -> tuple[int, ...]:
    """The version as numbers, such as (3, 1, 7)."""
    found = _VERSION.search(description())
    return tuple(map(int, found["numbers"].split("."))) if found else ()


def version_text() -> str:
    """The version as the program prints it, such as "3.1.7"; empty if it prints none."""
    found = _VERSION.search(description())
    return found["version"] if found else ""


def demands_encryption() -> bool:
    """Whether this corosync refuses unencrypted totem, as corosync main does unless built otherwise."""
    return _REFUSES_PLAIN_TOTEM in description().split()
