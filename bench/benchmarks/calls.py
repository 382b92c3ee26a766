"""getinfo: one after another, from many tasks at once on one connection, and as a subprocess."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator

from ..measure import absolute, of_rounds, percentile, ratio
from ..placement import PLACEMENTS, placed
from ..registry import benchmark
from ..rivals import quorumtool
from ..rows import Result, Row, at_least, at_most
from ..stage import FLOOR, Stage

_TASKS = (4, 32, 128)

_p99 = functools.partial(percentile, percent=99)


@benchmark(
    Row("getinfo.median.free", "getinfo one after another, median", "x", at_most(1.0)),
    Row("getinfo.median.one CPU", "the same, one CPU", "x", at_most(2.0)),
    Row("getinfo.median.two CPUs", "the same, the daemon on a CPU of its own", "x"),
    Row("getinfo.p99.free", "getinfo one after another, 99th percentile", "x", at_most(1.5)),
    Row("getinfo.p99.one CPU", "the same, one CPU", "x"),
    Row("getinfo.p99.two CPUs", "the same, the daemon on a CPU of its own", "x"),
)
def getinfo(stage: Stage) -> Iterator[Result]:
    """One call after another: ours, the C program, the C library through ctypes, the least in Python."""
    site, calls = stage.corosync, stage.scale.calls
    with stage.sides(site, "ours", "C", "ctypes", *FLOOR) as sides:
        asks = {name: functools.partial(side.ask, "getinfo", calls) for name, side in sides.items()}
        for placement in PLACEMENTS:
            with placed(placement, site.pid, [side.pid for side in sides.values()]):
                rounds = stage.alternate(asks)
            yield ratio(f"getinfo.median.{placement}", of_rounds(rounds, statistics.median), "us")
            yield ratio(f"getinfo.p99.{placement}", of_rounds(rounds, _p99), "us")


@benchmark(
    Row("steps.rings", "getinfo by steps, one CPU: the rings and the doorbell", "us"),
    Row("steps.trio", "the same, and giving way to other tasks once (trio)", "us"),
    Row("steps.coded", "the same, and encoding and decoding", "us"),
    Row("steps.request", "Connection.request: everything but the codec", "us"),
    Row("steps.getinfo", "Votequorum.getinfo: everything", "us"),
)
def steps(stage: Stage) -> Iterator[Result]:
    """What a call costs step by step: each row adds a step, on one CPU."""
    site, calls = stage.corosync, stage.scale.calls
    with stage.sides(site, "ours", *FLOOR) as sides:
        asks = {
            "rings": functools.partial(sides["rings"].ask, "getinfo", calls),
            "trio": functools.partial(sides["rings, trio"].ask, "getinfo", calls),
            "coded": functools.partial(sides["rings, trio"].ask, "coded", calls),
            "request": functools.partial(sides["ours"].ask, "request", calls),
            "getinfo": functools.partial(sides["ours"].ask, "getinfo", calls),
        }
        with placed("one CPU", site.pid, [side.pid for side in sides.values()]):
            given = stage.alternate(asks)
    for name, medians in of_rounds(given, statistics.median).items():
        yield absolute(f"steps.{name}", {"ours": medians}, "us")


@benchmark(
    Row("pipelined.free", "32 tasks on one connection, calls/s, C one after another", "x", at_least(2.0)),
    Row("pipelined.one CPU", "the same, one CPU", "x", at_least(0.7)),
    Row("pipelined.two CPUs", "the same, the daemon on a CPU of its own", "x"),
)
def pipelined(stage: Stage) -> Iterator[Result]:
    """Calls per second: ours from 32 tasks on one connection, C's one after another."""
    site, calls = stage.corosync, stage.scale.calls
    with stage.sides(site, "ours", "C") as sides:
        asks = {
            "ours": functools.partial(sides["ours"].ask, "tasks:32", calls),
            "C": functools.partial(sides["C"].ask, "total", calls),
        }
        for placement in PLACEMENTS:
            with placed(placement, site.pid, [side.pid for side in sides.values()]):
                rounds = stage.alternate(asks)
            rates = of_rounds(rounds, lambda times: calls / times[0], scale=1e9)
            yield ratio(f"pipelined.{placement}", rates, "calls/s")


@benchmark(
    *(
        Row(f"tasks.{tasks}", f"calls/s from {tasks} tasks, against 1 task", "x", against="1 task")
        for tasks in _TASKS
    ),
)
def tasks(stage: Stage) -> Iterator[Result]:
    """How calls per second grow with the number of tasks on one connection."""
    calls = stage.scale.calls
    with stage.sides(stage.corosync, "ours") as sides:
        ask = sides["ours"].ask
        given = stage.alternate(
            {count: functools.partial(ask, f"tasks:{count}", calls) for count in (1, *_TASKS)}
        )
    rates = of_rounds(given, lambda times: calls / times[0], scale=1e9)
    for count in _TASKS:
        pair = {"ours": rates[count], "1 task": rates[1]}
        yield ratio(f"tasks.{count}", pair, "calls/s", against="1 task")


@benchmark(
    Row("quorumtool", "getinfo against corosync-quorumtool -s, parsed", "x", against="quorumtool"),
)
def quorumtool_text(stage: Stage) -> Iterator[Result]:
    """One query: ours on an open connection; corosync-quorumtool as a subprocess, its text parsed."""
    site, calls = stage.corosync, stage.scale.part(50)
    with stage.sides(site, "ours") as sides, site.host.namespace():
        rounds = stage.alternate(
            {
                "ours": lambda: sides["ours"].ask("getinfo", calls),
                "quorumtool": lambda: quorumtool.getinfo(calls),
            },
        )
    yield ratio("quorumtool", of_rounds(rounds, statistics.median), "us", against="quorumtool")
