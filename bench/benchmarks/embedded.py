"""The embedded daemon compared with corosync: the C program's calls per second, and our client on it."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Callable, Iterator

from ..measure import of_rounds, ratio
from ..registry import benchmark
from ..rows import Result, Row, at_least
from ..stage import Site, Stage

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
    """getinfo calls per second with the C program, one thread per connection."""
    with contextlib.ExitStack() as stack:
        rates = stage.alternate(
            {
                (name, connections): _rate(stack, stage, site, connections)
                for connections in _CONNECTIONS
                for name, site in (("ours", stage.embedded), ("corosync", stage.corosync))
            },
        )
    for connections in _CONNECTIONS:
        pair = {name: rates[name, connections] for name in ("ours", "corosync")}
        yield ratio(f"embedded.{connections}", pair, "calls/s", against="corosync")
    few, many = (rates["ours", connections] for connections in _CONNECTIONS)
    yield ratio("embedded.growth", {"ours": many, "1 connection": few}, "calls/s", against="1 connection")


def _rate(stack: contextlib.ExitStack, stage: Stage, site: Site, connections: int) -> Callable[[], float]:
    """Calls per second of a C program on a daemon, with this many connections."""
    side = stack.enter_context(stage.sides(site, "C"))["C"]
    side.ask("open", connections - 1)
    each = max(1, stage.scale.calls // connections)

    def measure() -> float:
        (taken,) = side.ask("threads", each)
        return each * connections / taken * 1e9

    return measure


@benchmark(Row("embedded.getinfo", "getinfo one after another, on the embedded daemon", "x"))
def on_embedded(stage: Stage) -> Iterator[Result]:
    """Our client and the C program, both on the embedded daemon."""
    with stage.sides(stage.embedded, "ours", "C") as sides:
        rounds = stage.alternate(
            {name: functools.partial(side.ask, "getinfo", stage.scale.calls) for name, side in sides.items()},
        )
    yield ratio("embedded.getinfo", of_rounds(rounds, statistics.median), "us")
