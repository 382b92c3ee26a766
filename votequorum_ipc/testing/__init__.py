"""A cluster for tests: N nodes with real IPC on this machine, without corosync, root or a network.

```python
async with simulated_cluster(nodes=3) as cluster:
    async with await cluster.connect(node=1) as vq:
        await vq.trackstart()
        cluster.partition({1}, {2, 3})      # its events have been delivered when it returns
        assert not (await vq.getinfo()).quorate
```

This is for trio, in the test's own loop. Under asyncio, or without an event loop, the cluster runs in a
thread:

```python
with simulated_cluster_in_thread(nodes=3) as cluster:
    with Votequorum.initialize(address=cluster.address(1)) as vq:
        cluster.partition({1}, {2, 3})
        assert not vq.getinfo().quorate
```

Strategy: `cluster` has the cluster itself, `elsewhere` runs one in a thread or a process. With pytest, each
of the three functions is a fixture with the same name.
"""

from __future__ import annotations

from ..cluster import ClusterConfig, DeviceConfig, Latency, NodeConfig, configuration
from .cluster import SimulatedCluster, simulated_cluster
from .elsewhere import SimulatedClusterProxy, simulated_cluster_in_process, simulated_cluster_in_thread

__all__ = [
    "ClusterConfig",
    "DeviceConfig",
    "Latency",
    "NodeConfig",
    "SimulatedCluster",
    "SimulatedClusterProxy",
    "configuration",
    "simulated_cluster",
    "simulated_cluster_in_process",
    "simulated_cluster_in_thread",
]
