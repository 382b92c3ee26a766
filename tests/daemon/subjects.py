"""A real corosync and the embedded daemon side by side, so that one test can compare them.

Each is a node on a host. `printed` gives the output of a corosync program there in comparable form: without
the date and the ring's sequence, which depends on how often a cluster has met.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from tests.real.config import Config, Device
from tests.real.daemon import Daemon
from tests.real.host import Host
from votequorum_ipc import Votequorum
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, Latency, NodeConfig, parse_tie_breaker
from votequorum_ipc.daemon import AccessRule, Simulation, open_simulation

Argv = Sequence[str]


@dataclass(frozen=True)
class Printed:
    """What a program printed, and its exit code."""

    argv: tuple[str, ...]
    status: int
    out: str
    err: str


async def printed(host: Host, argv: Argv, uid: int = 0, gid: int = 0) -> Printed:
    """Run a program on a host, as root or as another user."""
    done = await trio.run_process(
        host.command(argv, uid=uid, gid=gid), capture_stdout=True, capture_stderr=True, check=False, stdin=b""
    )
    return Printed(tuple(argv), done.returncode, comparable(done.stdout), comparable(done.stderr))


def comparable(raw: bytes) -> str:
    """A program's output without what differs between runs."""
    text = re.sub(r"(?m)^(Date: +).*$", r"\1(now)", raw.decode())
    text = re.sub(r"(?m)^(Ring ID: +[0-9a-f]+)\.[0-9a-f]+$", r"\1.(some)", text)
    # knet measures over time how much it can send at once.
    text = re.sub(r"mtu: \d+", "mtu: (some)", text)
    return re.sub(r"(?m)(join_count \(u32\) = )\d+$", r"\1(some)", text)


def as_model(config: Config) -> ClusterConfig:
    """The configuration of a real daemon, for the model."""
    options = {name: value for name, value in config.quorum.items() if name != "auto_tie_breaker_node"}
    tie_breaker = options.pop("auto_tie_breaker", 0)
    node = config.quorum.get("auto_tie_breaker_node")
    flags = {
        name: value if name in ("expected_votes", "last_man_standing_window") else bool(value)
        for name, value in options.items()
    }
    device = config.device
    return ClusterConfig(
        nodes=tuple(
            NodeConfig(
                node.nodeid,
                1 if node.votes is None else node.votes,
                node.name or f"node{node.nodeid}",
                (node.address, node.second_address) if node.second_link else (node.address,),
            )
            for node in config.nodes
        ),
        auto_tie_breaker=parse_tie_breaker(bool(tie_breaker), None if node is None else str(node)),
        device=None if device is None else _device(device),
        cluster_name="votequorum-ipc-test",
        provider=config.provider or "",
        **flags,  # type: ignore[arg-type]
    )


def _device(device: Device) -> DeviceConfig:
    timeouts = {"timeout": device.timeout, "sync_timeout": device.sync_timeout}
    given = {name: value for name, value in timeouts.items() if value is not None}
    return DeviceConfig(device.model, device.votes, **given)


@contextlib.asynccontextmanager
async def served(
    config: ClusterConfig,
    transport: Literal["shm", "socket"],
    up: Sequence[int] = (),
    access: AccessRule | None = None,
    latency: Latency | None = None,
) -> AsyncIterator[Simulation]:
    """The embedded daemon, with these nodes up, or all; node 1 has the well-known names."""

    def address(nodeid: int) -> str | None:
        return None if nodeid == 1 else f"@node{nodeid}-{{service}}"

    async with open_simulation(
        config, address=address, transport=transport, access=access, latency=latency
    ) as simulation:
        simulation.up(*(up or config.nodeids))
        yield simulation


async def client_of(subject: Daemon | None) -> Votequorum:
    """Our client on a real daemon, or on the daemon served in the test's namespace."""
    if subject is None:
        return await Votequorum.initialize()
    with subject.namespace():
        return await Votequorum.initialize()
