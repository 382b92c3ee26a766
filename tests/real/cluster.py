"""Several real corosyncs as one cluster, which can be cut and healed.

The cluster knows which nodes can reach each other, so it knows the memberships to expect: `agreed` checks
that every running node's membership is exactly the running nodes that it can reach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from .config import Config, Node
from .daemon import Daemon, Status
from .host import Host
from .switch import Switch, address
from .waiting import DEADLINE, eventually, eventually_async


class Cluster:
    """The nodes of one configuration, each a `Daemon` on a separate host."""

    def __init__(self, switch: Switch, nodes: Mapping[int, Daemon]) -> None:
        self.nodes = nodes
        self.switch = switch
        self._groups: list[tuple[int, ...]] = [tuple(nodes)]

    def __getitem__(self, nodeid: int) -> Daemon:
        return self.nodes[nodeid]

    def __iter__(self) -> Iterator[Daemon]:
        return iter(self.nodes.values())

    def partition(self, *groups: Sequence[int]) -> None:
        """Cut the network so that nodes reach only the nodes of their group. Does not wait for the effect."""
        assert sorted(nodeid for group in groups for nodeid in group) == sorted(self.nodes)
        self.switch.plug(groups)
        self._groups = [tuple(group) for group in groups]

    def isolate(self, nodeid: int) -> None:
        """Take the link of one node down; the others stay connected. Does not wait for the effect."""
        self.switch.plug([[other for other in self.nodes if other != nodeid]])
        self.switch.unplug(nodeid)
        self._groups = [(nodeid,), tuple(other for other in self.nodes if other != nodeid)]

    def heal(self) -> None:
        """Let all nodes reach each other again. Does not wait for the effect."""
        self.partition(tuple(self.nodes))

    def start(self) -> None:
        """Start the nodes that are down, and block until all nodes have `agreed`."""
        stopped = [node for node in self if not node.alive]
        for node in stopped:
            node.start()
        for node in stopped:
            node.wait_ready()
        self.wait_agreed()

    def restore(self) -> None:
        """Heal the network and start the nodes that have died."""
        self.heal()
        self.start()

    def restart(self) -> None:
        """Restart all nodes, with the configured votes and without clients."""
        self.discard()
        self.start()

    def discard(self) -> None:
        """Kill all daemons at once."""
        for node in self:
            node.discard()

    def agreed(self) -> bool:
        """Whether each running node's membership is exactly the running nodes that it can reach."""
        return all(self._agreed(group) for group in self._groups)

    def wait_agreed(self, within: float = DEADLINE) -> None:
        """Block until the nodes have `agreed`."""
        eventually(self.agreed, within=within, otherwise=self.describe)

    async def until_agreed(self, within: float = DEADLINE) -> None:
        """`wait_agreed` for trio."""
        await eventually_async(self.agreed, within=within, otherwise=self.describe)

    def statuses(self) -> dict[int, Status | None]:
        """The status that each running node reports."""
        return {nodeid: node.status() for nodeid, node in self.nodes.items() if node.alive}

    def quorate(self) -> bool:
        """Whether all nodes are running and quorate."""
        statuses = self.statuses().values()
        return len(statuses) == len(self.nodes) and all(status and status.quorate for status in statuses)

    def describe(self) -> str:
        """The expected and the actual state, for an error message."""
        tails = "\n".join(f"node {nodeid}{node.log_tail(12)}" for nodeid, node in self.nodes.items())
        return f"nodes agree on memberships {self._groups}, but they report {self.statuses()}\n{tails}"

    def _agreed(self, group: tuple[int, ...]) -> bool:
        running = tuple(nodeid for nodeid in sorted(group) if self.nodes[nodeid].alive)
        statuses = [
            self.nodes[nodeid].status() if self.nodes[nodeid].answers() else None for nodeid in running
        ]
        return (
            all(status is not None and status.members == running for status in statuses)
            and len({status.ring_id for status in statuses if status}) <= 1
            and len({status.info.get("total_votes") for status in statuses if status}) <= 1
        )


def three_nodes() -> tuple[Node, ...]:
    """Three nodes with a vote each."""
    return tuple(Node(nodeid) for nodeid in (1, 2, 3))


@contextlib.contextmanager
def cluster(
    config: Config, directory: Path, transports: Mapping[int, Literal["shm", "socket"]] | None = None
) -> Iterator[Cluster]:
    """A running cluster in which all nodes have met. The switch gives the nodes their addresses.

    `transports` overrides the configured transport for some nodes' clients.
    """
    config = replace(
        config, nodes=tuple(replace(node, address=address(node.nodeid)) for node in config.nodes)
    )
    with contextlib.ExitStack() as stack:
        hosts = {}
        for node in config.nodes:
            hosts[node.nodeid] = Host(_subdirectory(directory, f"node{node.nodeid}"))
            stack.callback(hosts[node.nodeid].close)
        switch = Switch(_subdirectory(directory, "switch"), hosts)
        stack.callback(switch.close)
        for node in config.nodes:
            if node.second_link:
                switch.add_address(hosts[node.nodeid], node.second_address)
        nodes = {}
        for nodeid, host in sorted(hosts.items()):
            transport = (transports or {}).get(nodeid, config.transport)
            nodes[nodeid] = Daemon(host, replace(config, transport=transport), host.directory, nodeid)
        whole = Cluster(switch, nodes)
        stack.callback(whole.discard)
        whole.start()
        yield whole


def _subdirectory(directory: Path, name: str) -> Path:
    path = directory / name
    path.mkdir()
    return path
