"""`corosync-quorumtool -s` as a subprocess, its text parsed: what many programs do today."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from time import monotonic_ns


def getinfo(count: int) -> list[int]:
    """Nanoseconds for each of `count` queries, from starting the program to the parsed answer."""
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        _status()
        numbers.append(monotonic_ns() - start)
    return numbers


def _status() -> Mapping[str, str]:
    done = subprocess.run(
        ["corosync-quorumtool", "-s"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    fields = dict(_field(line) for line in done.stdout.splitlines() if ":" in line)
    # The exit status says only whether there is quorum; the text shows whether it worked.
    if "Total votes" not in fields:
        raise RuntimeError(f"corosync-quorumtool ended with {done.returncode}: {done.stderr.strip()}")
    return fields


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
