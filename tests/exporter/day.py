"""A simulated cluster's day, as the exporters of its three nodes would have reported it to Prometheus.

Strategy: virtual time passes in steps of two minutes. At each step the exporter's own collector takes every
node's metrics, with the time of that step. promtool turns them into blocks of a real Prometheus.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final

from votequorum_ipc import CsError, RingId
from votequorum_ipc.exporter.collector import CorosyncCollector
from votequorum_ipc.exporter.metrics import METRICS
from votequorum_ipc.overview import Observer, Overview
from votequorum_ipc.testing import (
    ClusterConfig,
    DeviceConfig,
    NodeConfig,
    SimulatedCluster,
    simulated_cluster,
)

BEGIN: Final = int(datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC).timestamp())
STEP: Final = 120
STEPS: Final = 24 * 3600 // STEP
NAMES: Final = {1: "alpha", 2: "beta", 3: "gamma"}

_CONFIG: Final = ClusterConfig(
    nodes=tuple(
        NodeConfig(node, 1, name, (f"192.0.2.{node}", f"198.51.100.{node}")) for node, name in NAMES.items()
    ),
    # A device that is not polled for two minutes counts as alive here, like one that polls every second.
    device=DeviceConfig(votes=2, timeout=10**9, sync_timeout=10**9),
)

Lines = dict[str, list[str]]
"""A family's name and its lines."""


class Day:
    """The events of the day, and their times."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._votes = True
        link = partial(cluster.link, 1, 2, 1)
        flapping = {3.2 + number / 15: partial(link, connected=bool(number % 2)) for number in range(8)}
        self.events: dict[float, Callable[[], None]] = {
            **flapping,
            6.0: partial(cluster.kill, 3),
            6.8: partial(cluster.up, 3),
            9.5: partial(cluster.link, 1, 3, 0, latency=0.020, loss=0.3),
            12.0: partial(cluster.link, 1, 3, 0, latency=0.0002, loss=0.0),
            14.0: partial(setattr, self, "_votes", False),
            15.5: partial(setattr, self, "_votes", True),
            17.5: partial(cluster.partition, {1}),
            18.2: cluster.heal,
            20.5: partial(cluster.kill, 1),
            21.2: partial(cluster.up, 1),
        }

    async def pass_until(self, hour: float) -> None:
        """Let time pass, with its events."""
        for due in sorted(due for due in self.events if due <= hour):
            self._advance(due)
            self.events.pop(due)()
            await self._vote()
        self._advance(hour)

    def _advance(self, hour: float) -> None:
        self._cluster.advance(max(hour * 3600 - self._cluster.model.now, 0))

    async def _vote(self) -> None:
        """The device votes on the nodes that are up, but not for a node that is alone."""
        for nodeid in [*self._cluster.model.nodes]:
            with contextlib.suppress(CsError):
                async with await self._cluster.connect(nodeid) as device:
                    with contextlib.suppress(CsError):
                        await device.qdevice_register("witness")
                    node = self._cluster.model.nodes[nodeid]
                    vote = self._votes and len(node.members) > 1
                    await device.qdevice_poll("witness", int(vote), RingId(*node.ring_id))


async def told() -> str:
    """The day as OpenMetrics with times: three exporters, with the labels that Prometheus would add."""
    families: Lines = collections.defaultdict(list)
    async with simulated_cluster(config=_CONFIG) as cluster, _observers(cluster) as observers:
        day = Day(cluster)
        day.events[0.0] = lambda: None
        for step in range(STEPS):
            await day.pass_until(step * STEP / 3600)
            for name, (observer, collector) in observers.items():
                overview = await observer.read()
                for family, line in _lines(name, overview, collector, BEGIN + step * STEP):
                    families[family].append(line)
    kinds = {metric.name.removesuffix("_total"): metric.kind for metric in METRICS}
    text = [f"# TYPE {family} {kinds[family]}\n{''.join(lines)}" for family, lines in families.items()]
    return "".join(text) + "# EOF\n"


@contextlib.asynccontextmanager
async def _observers(
    cluster: SimulatedCluster,
) -> AsyncIterator[dict[str, tuple[Observer, CorosyncCollector]]]:
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for node, name in NAMES.items():
            observer = await stack.enter_async_context(Observer(cluster.address(node)))
            found[name] = observer, CorosyncCollector(lambda: _LATEST[0])
        yield found


_LATEST: Final[list[Overview]] = []
"""What the collectors report: the overview that was just read."""


def _lines(
    name: str, overview: Overview, collector: CorosyncCollector, time: int
) -> Iterator[tuple[str, str]]:
    _LATEST[:] = [overview]
    for family in collector.collect():
        for sample in family.samples:
            labels = {**sample.labels, "job": "demo", "instance": name}
            inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
            yield family.name, f"{sample.name}{{{inside}}} {float(sample.value)} {time}\n"
