"""The embedded daemon of one node in a separate process, under the well-known names of its host."""

from __future__ import annotations

import importlib
from typing import Any

import trio


async def _serve() -> None:
    # Imported by name, so that the benchmarks can be checked and run without it.
    daemon: Any = importlib.import_module("votequorum_ipc.daemon")
    cluster: Any = importlib.import_module("votequorum_ipc.cluster")
    async with daemon.open_simulation(cluster.ClusterConfig.of(1), address=lambda nodeid: None) as simulation:
        simulation.up(1)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_serve)
