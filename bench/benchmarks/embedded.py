"""The embedded daemon next to corosync: calls a second of the C program, and our client on it."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Iterator

from ..measure import of_rounds, ratio
from ..registry import Result, Row, at_least, benchmark
from ..side import Side
from ..stage import Stage

_CONNECTIONS = (1, 50)


@benchmark(
    Row("embedded.1", "embedded daemon: C's calls/s, 1 connection", "x", at_least(0.3), against="corosync"),
    Row(
        "embedded.50", "embedded daemon: C's calls/s, 50 connections", "x", at_least(0.3), against="corosync"
    ),
    Row(
        "embedded.growth",
        "embedded daemon: from 1 to 50 connections",
        "x",
        at_least(1.0),
        against="1 connection",
    ),
)
def embedded(stage: Stage) -> Iterator[Result]:
    """getinfo calls a second with the C program, a thread for each connection."""
    calls = stage.scale.calls
    rates = {}
    for connections in _CONNECTIONS:
        with _clients(stage, connections) as sides:
            each = max(1, calls // connections)
            given = stage.alternate(
                {name: functools.partial(side.ask, "threads", each) for name, side in sides.items()},
            )
        made = each * connections
        rates[connections] = of_rounds(given, lambda times, made=made: made / times[0], scale=1e9)  # type: ignore[misc]
        yield ratio(f"embedded.{connections}", rates[connections], "calls/s", against="corosync")
    few, many = (rates[connections]["ours"] for connections in _CONNECTIONS)
    yield ratio("embedded.growth", {"ours": many, "1 connection": few}, "calls/s", against="1 connection")


@contextlib.contextmanager
def _clients(stage: Stage, connections: int) -> Iterator[dict[str, Side]]:
    """A C program on each daemon, with so many connections."""
    with stage.sides(stage.embedded, "C") as ours, stage.sides(stage.corosync, "C") as theirs:
        sides = {"ours": ours["C"], "corosync": theirs["C"]}
        if connections > 1:
            for side in sides.values():
                side.ask("open", connections - 1)
        yield sides


@benchmark(Row("embedded.getinfo", "getinfo one after another, on the embedded daemon", "x"))
def on_embedded(stage: Stage) -> Iterator[Result]:
    """Our client and the C program, both on the embedded daemon."""
    with stage.sides(stage.embedded, "ours", "C") as sides:
        rounds = stage.alternate(
            {name: functools.partial(side.ask, "getinfo", stage.scale.calls) for name, side in sides.items()},
        )
    yield ratio("embedded.getinfo", of_rounds(rounds, statistics.median), "us")
