"""What was measured: the machine, and the versions of all the software that took part."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import votequorum_ipc

from .side import ROOT


def facts() -> dict[str, str]:
    """Name and value of each fact that can be found out."""
    return {
        "processor": _processor(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": importlib.metadata.version("trio"),
        "construct": importlib.metadata.version("construct"),
        "votequorum_ipc": " ".join(filter(None, [votequorum_ipc.__version__, _commit()])),
        "corosync": _corosync(),
        "libqb": _libqb(),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor() or "unknown"


def _commit() -> str:
    return _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])


def _corosync() -> str:
    found = re.search(r"version '([^']*)'", _output(["corosync", "-v"]))
    return found[1] if found else "not installed"


def _libqb() -> str:
    try:
        version = ctypes.c_char_p.in_dll(ctypes.CDLL("libqb.so.100"), "qb_ver_str").value
    except (OSError, ValueError):
        return "not installed"
    return (version or b"unknown").decode()


def _output(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
