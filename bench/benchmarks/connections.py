"""Connections: the time to make one and to use it first, its memory, and a thousand of them."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator
from pathlib import Path

from ..measure import of_rounds, ratio
from ..registry import benchmark
from ..rows import Result, Row, at_most
from ..stage import FLOOR, Stage

_SHARED_MEMORY = "/dev/shm/"
_BLOCK = 512
"""Bytes in a unit of `st_blocks`, see stat(2)."""


@benchmark(
    Row("connection.trackstart", "trackstart to the first event", "x", at_most(2.0)),
    Row("connection.session", "initialize and finalize", "x", at_most(2.0)),
)
def connection(stage: Stage) -> Iterator[Result]:
    """The time from trackstart to the first event, and from initialize to finalize."""
    count = stage.scale.part(10)
    for command, least in (("trackstart", FLOOR), ("session", ())):
        with stage.sides(stage.corosync, "ours", "C", *least) as sides:
            rounds = stage.alternate(
                {name: functools.partial(side.ask, command, count) for name, side in sides.items()},
            )
        yield ratio(f"connection.{command}", of_rounds(rounds, statistics.median), "us")


@benchmark(Row("shared_memory", "/dev/shm held by one connection", "x", at_most(0.05)))
def shared_memory(stage: Stage) -> Iterator[Result]:
    """The memory that the daemon allocates in /dev/shm for a connection."""
    site = stage.corosync
    with stage.sides(site, "ours", "C") as sides:
        held = {name: [_held(site.pid, side.pid) / 1024] for name, side in sides.items()}
    yield ratio("shared_memory", held, "KiB")


def _held(daemon: int, client: int) -> int:
    files = Path(_SHARED_MEMORY).glob(f"qb-{daemon}-{client}-*/*")
    return sum(file.stat().st_blocks for file in files) * _BLOCK


@benchmark(
    Row(
        "many.memory",
        "1,000 connections in one process: memory of each beyond the mappings",
        "KiB",
        at_most(40),
    ),
    Row("many.getinfo", "the same: getinfo, against 1 connection", "x", at_most(1.2), against="1 connection"),
)
def many(stage: Stage) -> Iterator[Result]:
    """A thousand connections in one process."""
    calls, count = stage.scale.calls, stage.scale.connections
    with (
        stage.other_corosync() as site,
        stage.sides(site, "ours") as few,
        stage.sides(site, "ours") as sides,
    ):
        # What only the first call allocates does not belong to each connection.
        sides["ours"].ask("getinfo", calls)
        before = _private(sides["ours"].pid)
        sides["ours"].ask("open", count - 1)
        each = (_private(sides["ours"].pid) - before) / (count - 1) / 1024
        yield Result("many.memory", each, each, each, "KiB", {"ours": each})
        rounds = stage.alternate(
            {
                "ours": functools.partial(sides["ours"].ask, "getinfo", calls),
                "1 connection": functools.partial(few["ours"].ask, "getinfo", calls),
            },
        )
    yield ratio("many.getinfo", of_rounds(rounds, statistics.median), "us", against="1 connection")


def _private(pid: int) -> int:
    """Bytes private to this process, without its mappings of shared memory (proc(5), smaps)."""
    total, counts = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            counts = not (rest and rest[-1].startswith(_SHARED_MEMORY))
        elif counts and name in ("Private_Clean:", "Private_Dirty:"):
            total += int(rest[0]) * 1024
    return total
