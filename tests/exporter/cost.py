"""The cost of a scrape: `python -m tests.exporter.cost 3 16` measures it on simulated clusters of these
sizes.

The cluster runs in another process. The figure is the exporter's own CPU time, the minimum over several
rounds.
"""

from __future__ import annotations

import os
import sys
import time

from prometheus_client import generate_latest

from votequorum_ipc.exporter.collector import CorosyncCollector, registry_of
from votequorum_ipc.exporter.serving import Asker
from votequorum_ipc.overview import Observer
from votequorum_ipc.testing import simulated_cluster_in_process

_ROUNDS = 10
_SCRAPES = 50


def measured(nodes: int) -> tuple[float, int]:
    """Milliseconds of CPU for a scrape, and its length in bytes."""
    with (
        simulated_cluster_in_process(nodes=nodes) as cluster,
        Asker(lambda: Observer(cluster.address(1))) as asker,
    ):
        registry = registry_of(CorosyncCollector(asker.read))
        text = generate_latest(registry)
        assert b"ha_cluster_corosync_quorate 1.0" in text
        rounds = []
        for _ in range(_ROUNDS):
            since = time.process_time()
            for _ in range(_SCRAPES):
                text = generate_latest(registry)
            rounds.append((time.process_time() - since) / _SCRAPES)
        return min(rounds) * 1000, len(text)


def main() -> None:
    """Print a line for each size."""
    for nodes in map(int, sys.argv[1:] or ["3", "16"]):
        milliseconds, size = measured(nodes)
        load = os.getloadavg()[0]
        print(f"{nodes:3} nodes: {milliseconds:.1f} ms of CPU, {size} bytes; load {load:.1f}")


if __name__ == "__main__":
    main()
