"""The network between hosts: bridges on a separate host, and a cable to each node that can be moved.

Every part of a partition is a bridge. Cutting the cluster plugs cables into different bridges, which nodes
notice only by silence. Isolating a node takes its link down, which its own kernel notices too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .host import Host

SUBNET = "192.0.2"  # TEST-NET-1 of RFC 5737: packets that escape have nowhere to go


class SwitchError(RuntimeError):
    """The kernel refused to make a bridge or a cable."""


def address(nodeid: int) -> str:
    """The address of a node on its cable."""
    return f"{SUBNET}.{nodeid}"


class Switch:
    """One bridge per node. At first all cables are plugged into the first bridge."""

    def __init__(self, directory: Path, nodes: dict[int, Host]) -> None:
        self.host = Host(directory)
        try:
            self._ip(self.host, [line for i in range(len(nodes)) for line in _bridge(i)])
            for nodeid, host in nodes.items():
                self._ip(self.host, _cable(nodeid, host.pid))
                self._ip(host, [f"address add {address(nodeid)}/24 dev eth0", "link set eth0 up"])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.host.close()

    def plug(self, groups: Iterable[Sequence[int]]) -> None:
        """Give each group of nodes a separate bridge, with all links up."""
        lines = []
        for bridge, group in enumerate(groups):
            for nodeid in group:
                lines.append(f"link set port{nodeid} master bridge{bridge} up")
                lines.append(_forwarding(nodeid, "on"))
        self._ip(self.host, lines)

    def add_address(self, host: Host, another: str) -> None:
        """Give a node a second address on its cable."""
        self._ip(host, [f"address add {another}/24 dev eth0"])

    def unbridge(self, *nodeids: int) -> None:
        """Take the cables of nodes out of their bridges; `plug` puts them back."""
        self._ip(self.host, [f"link set {self.port(nodeid)} nomaster" for nodeid in nodeids])

    @staticmethod
    def port(nodeid: int) -> str:
        """The name of a node's cable on the switch's host."""
        return f"port{nodeid}"

    def unplug(self, nodeid: int) -> None:
        """Take the link of a node down."""
        self._ip(self.host, [f"link set port{nodeid} down"])

    def deafen(self, nodeid: int) -> None:
        """Let a node receive nothing; what it sends still arrives. `plug` undoes this."""
        self._ip(
            self.host, [_forwarding(nodeid, "off"), f"link set port{nodeid} type bridge_slave fdb_flush"]
        )

    @staticmethod
    def _ip(host: Host, lines: list[str]) -> None:
        done = host.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")
        if done.returncode != 0:
            raise SwitchError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def _bridge(number: int) -> list[str]:
    return [f"link add bridge{number} type bridge", f"link set bridge{number} up"]


def _forwarding(nodeid: int, state: str) -> str:
    """Turn on or off whether a bridge learns a node's address and floods frames to it."""
    options = " ".join(f"{option} {state}" for option in ("learning", "flood", "mcast_flood", "bcast_flood"))
    return f"link set port{nodeid} type bridge_slave {options}"


def _cable(nodeid: int, host: int) -> list[str]:
    """A cable from the switch to the host of this keeper."""
    return [
        f"link add port{nodeid} type veth peer name eth0 netns {host}",
        f"link set port{nodeid} master bridge0 up",
    ]
