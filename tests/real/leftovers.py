"""What a killed corosync leaves in /dev/shm, and which of it may be removed.

libqb names everything after the daemon's process id, which does not prove who started the daemon. So each of
our daemons first makes a record: an empty file whose name has our marker, its process id and start time, and
those of its keeper. A record outlives every process; once its daemon is dead, we may remove the files of that
process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
MARKER = "votequorum-ipc-test-daemon"


def record() -> None:
    """Make the record of the calling process, a child of its keeper that is about to become a daemon."""
    numbers = [str(number) for pid in (os.getpid(), os.getppid()) for number in (pid, _start_time(pid))]
    (SHARED_MEMORY / ".".join([MARKER, *numbers])).touch()


def connections(pid: int) -> list[Path]:
    """The directories of the connections that daemon `pid` has, or has left behind."""
    return sorted(SHARED_MEMORY.glob(f"qb-{pid}-*"))


def remove(pid: int) -> None:
    """Remove everything of daemon `pid`, if it is one of ours and dead."""
    for found in SHARED_MEMORY.glob(f"{MARKER}.{pid}.*"):
        _settle(found)


def reap() -> None:
    """Remove the leftovers of daemons whose keepers are dead too, as no other process will."""
    for found in SHARED_MEMORY.glob(f"{MARKER}.*"):
        *_, keeper, start_time = _numbers(found)
        if _start_time(keeper) != start_time:
            _settle(found)


def _numbers(found: Path) -> list[int]:
    """Process id and start time of a record's daemon, then of the daemon's keeper."""
    return [int(part) for part in found.name.split(".")[1:]]


def _settle(found: Path) -> None:
    pid, start_time, *_ = _numbers(found)
    now = _start_time(pid)
    if now == start_time:
        return
    if now is None:
        _remove_files(pid)
    # Otherwise the process id has a new owner, and the files of that number may be the new owner's.
    found.unlink(missing_ok=True)


def _remove_files(pid: int) -> None:
    for path in [*connections(pid), *SHARED_MEMORY.glob(f"qb-corosync-{pid}-blackbox-*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _start_time(pid: int) -> int | None:
    """Start time of process `pid`, in clock ticks since boot; None if it is gone or a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The command, in brackets, may contain spaces and brackets: count fields after the last bracket.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    return None
