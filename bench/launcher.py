"""A side that runs a command: `python -m bench.launcher COMMAND...`; `run N` runs it N times.

It answers with pairs: nanoseconds from start to exit, and the command's peak memory in KiB. It is a separate,
small process because the kernel counts the memory of the process that starts a program as the program's. A
command that exits with another status than 0 ends the side with an error.
"""

from __future__ import annotations

import os
import sys
from time import monotonic_ns

from bench.answering import answer, commands


def _run(argv: list[str]) -> tuple[int, int]:
    start = monotonic_ns()
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    taken = monotonic_ns() - start
    if status != 0:
        raise SystemExit(f"{argv} ended with wait status {status}")
    return taken, usage.ru_maxrss


if __name__ == "__main__":
    for _, count in commands():
        answer([number for _ in range(count) for number in _run(sys.argv[1:])])
