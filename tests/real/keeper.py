"""A host: the process that holds the namespaces of a daemon. When it ends, everything on the host ends.

Started as `unshare --net --mount python -m tests.real.keeper`, so both namespaces are anonymous: they vanish
with their last process. Commands are lines of JSON on standard input; the answer to each is a line on
standard output. The parent holds the other end of that pipe. However the parent ends, even by SIGKILL, the
keeper then reads end of file, kills what it has started and removes what that left. If the keeper itself is
killed, the kernel kills its daemons (PR_SET_PDEATHSIG), and their records in /dev/shm let the next run clean
up.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from . import leftovers

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve commands until the process that sends them is gone."""
    _furnish()
    # The kernel must reap: libqb checks with kill(pid, 0), and takes a zombie for a living daemon.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    started: dict[int, int] = {}
    try:
        _answer({"ready": os.getpid()})
        for line in sys.stdin:
            pid = _start(**json.loads(line))
            started[pid] = os.pidfd_open(pid)
            _answer({"pid": pid})
    finally:
        _end(started)


def _furnish() -> None:
    """Give the host a loopback interface and a private /run, where corosync keeps its lock file."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)


def _answer(message: dict[str, int]) -> None:
    print(json.dumps(message), flush=True)


def _start(argv: list[str], log: str) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(argv, log, keeper)
        finally:
            os._exit(127)
    return pid


def _become(argv: list[str], log: str, keeper: int) -> NoReturn:
    """Turn this fresh child into the daemon."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(127)  # the keeper died before prctl took effect
    leftovers.record()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(Path(log).parent)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _end(started: dict[int, int]) -> None:
    for pidfd in started.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    # As there are no zombies, this waits for the last child and then fails with ECHILD.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, 0)
    for pid in started:
        leftovers.remove(pid)


if __name__ == "__main__":
    main()
