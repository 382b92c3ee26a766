"""The time and memory of complete searches: the figures of docs/checking.md.

  python -m tests.check.speed [--nodes 3 4] [--seconds 600] [--faults N] [--processes 1 2]

Each configuration is searched in a new process. The CPU time is the sum over all processes of a search;
memory is the maximum of a single one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from votequorum_ipc.check import BUILT_IN, Bounds, DeviceKind, Stopped
from votequorum_ipc.check.report import Checked
from votequorum_ipc.cluster import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    TieBreaker,
    effective_rules,
)

LOWEST = TieBreaker.LOWEST

OPTIONS: dict[str, tuple[dict[str, object], DeviceKind | None]] = {
    "plain": ({}, None),
    "two_node": ({"two_node": True}, None),
    "wait_for_all": ({"wait_for_all": True}, None),
    "last_man_standing": ({"last_man_standing": True}, None),
    "auto_tie_breaker": ({"auto_tie_breaker": LOWEST}, None),
    "last_man_standing, wait_for_all": ({"last_man_standing": True, "wait_for_all": True}, None),
    "auto_tie_breaker, wait_for_all": ({"auto_tie_breaker": LOWEST, "wait_for_all": True}, None),
    "last_man_standing, auto_tie_breaker": ({"last_man_standing": True, "auto_tie_breaker": LOWEST}, None),
    "device (ffsplit)": ({"device": DeviceConfig(votes=1)}, DeviceKind.FFSPLIT),
    "device (exclusive)": ({"device": DeviceConfig(votes=1)}, DeviceKind.EXCLUSIVE),
    "device (ffsplit), wait_for_all": (
        {"device": DeviceConfig(votes=1), "wait_for_all": True},
        DeviceKind.FFSPLIT,
    ),
}


@dataclass(frozen=True)
class Job:
    """One search."""

    nodes: int
    name: str
    bounds: Bounds
    processes: int


def measure(job: Job) -> str:
    """A line of the table."""
    options, device = OPTIONS[job.name]
    config = ClusterConfig.of(job.nodes, **options)
    what = f"{job.nodes} | {job.name} |"
    try:
        effective_rules(config)
    except ConfigurationError:
        return f"{what} | | | | | refused by votequorum |"
    began, used = time.monotonic(), _processor_seconds()
    search, faults = Checked(config, device, processes=job.processes).search(BUILT_IN, job.bounds)
    seconds, used = time.monotonic() - began, _processor_seconds() - used
    how = "complete" if search.stopped is Stopped.COMPLETE else str(search.stopped)
    how += f"; complete up to {faults} faults" if faults else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    times = f"{used:.1f} s | {seconds:.1f} s | {peak} MiB"
    return f"{what} {job.processes} | {search.seen} | {times} | {how} |"


def _processor_seconds() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--seconds", type=float, help="wall-clock limit; none by default")
    parser.add_argument("--faults", type=int)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    bounds = Bounds(faults=arguments.faults, seconds=arguments.seconds)
    context = multiprocessing.get_context("spawn")
    print("| nodes | options | processes | states | processor | clock | memory | result |", flush=True)
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for nodes in arguments.nodes:
        for name in arguments.only:
            for processes in arguments.processes:
                with ProcessPoolExecutor(1, context) as pool:
                    job = Job(nodes, name, bounds, processes)
                    print(f"| {pool.submit(measure, job).result()}", flush=True)


if __name__ == "__main__":
    main()
