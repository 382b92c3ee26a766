"""What a corosync that was killed leaves in /dev/shm, and who may remove it.

libqb names everything after the daemon's process id, which proves nothing about who started it. So each
daemon of ours first puts down a record, an empty file that carries our marker, its process id and its start
time. A record outlives every process; as soon as its daemon is dead, the files of that process id are ours to
remove.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
MARKER = "votequorum-ipc-test-daemon"


def record() -> None:
    """Put down the record of the calling process, which is about to become a daemon."""
    pid = os.getpid()
    (SHARED_MEMORY / f"{MARKER}.{pid}.{_start_time(pid)}").touch()


def connections(pid: int) -> list[Path]:
    """The directories of the connections that daemon `pid` holds, or has left behind."""
    return sorted(SHARED_MEMORY.glob(f"qb-{pid}-*"))


def remove(pid: int) -> None:
    """Remove everything of daemon `pid`, if it is one of ours and dead; otherwise nothing."""
    for found in SHARED_MEMORY.glob(f"{MARKER}.{pid}.*"):
        _settle(found)


def reap() -> None:
    """Remove what the dead daemons of any run have left, for instance of one that was killed."""
    for found in SHARED_MEMORY.glob(f"{MARKER}.*.*"):
        _settle(found)


def _settle(found: Path) -> None:
    pid, start_time = (int(part) for part in found.name.split(".")[1:])
    now = _start_time(pid)
    if now == start_time:
        return
    if now is None:
        _remove_files(pid)
    # Else the process id has a new owner: what is there under that number now is not for us to judge.
    found.unlink(missing_ok=True)


def _remove_files(pid: int) -> None:
    for path in [*connections(pid), *SHARED_MEMORY.glob(f"qb-corosync-{pid}-blackbox-*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _start_time(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; None if there is none, or a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The command, in brackets, may hold blanks and brackets itself: count fields after the last one.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    return None
