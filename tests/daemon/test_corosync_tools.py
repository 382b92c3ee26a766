"""corosync's own programs, unmodified, print the same for the embedded daemon as for a real corosync."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import pytest
import trio

from tests.conftest import StartCluster, StartDaemon, cannot
from tests.daemon.subjects import Argv, Printed, as_model, client_of, comparable, printed, served
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.host import Host
from tests.real.waiting import DEADLINE, eventually_async
from votequorum_ipc import NodelistNotification, TrackFlags, Votequorum
from votequorum_ipc.daemon import AccessRule, Simulation

Transport = Literal["shm", "socket"]

QUORUMTOOL = "corosync-quorumtool"
CMAPCTL = "corosync-cmapctl"
CFGTOOL = "corosync-cfgtool"

READS: tuple[Argv, ...] = (
    [QUORUMTOOL],
    [QUORUMTOOL, "-s"],
    [QUORUMTOOL, "-s", "-p"],
    [QUORUMTOOL, "-s", "-H"],
    [QUORUMTOOL, "-l"],
    [QUORUMTOOL, "-l", "-p"],
    [QUORUMTOOL, "-l", "-i"],
    [QUORUMTOOL, "-l", "-i", "-p"],
    [QUORUMTOOL, "-l", "-a"],
    [QUORUMTOOL, "-l", "-o", "a"],
    [QUORUMTOOL, "-l", "-o", "i"],
    [QUORUMTOOL, "-l", "-o", "n"],
    [CMAPCTL, "-g", "quorum.provider"],
    [CMAPCTL, "-g", "runtime.votequorum.this_node_id"],
    [CMAPCTL, "-g", "no.such.key"],
    [CMAPCTL, "quorum."],
    [CMAPCTL, "nodelist."],
    [CMAPCTL, "runtime.votequorum."],
    [CMAPCTL, "runtime.members."],
    [CMAPCTL, "totem.cluster_name"],
    [CMAPCTL, "totem.transport"],
    [CMAPCTL, "system.qb_ipc_type"],
    [CMAPCTL, "no.such."],
    [CFGTOOL, "-s"],
    [CFGTOOL, "-s", "-b"],
    [CFGTOOL, "-n"],
    [CFGTOOL, "-a", "1"],
    [CFGTOOL, "-a", "9"],
    [CFGTOOL, "-L"],
    [CFGTOOL, "-k", "9"],
    [CMAPCTL, "-m", "stats", "stats.knet.node1.link0.connected"],
    [CMAPCTL, "-m", "stats", "-g", "stats.srp.no_such_key"],
)
"""Commands that change nothing, including errors."""

WRITES: tuple[Argv, ...] = (
    [QUORUMTOOL, "-n", "1", "-v", "2"],
    [QUORUMTOOL, "-e", "5"],
    [QUORUMTOOL, "-e", "1"],
    [QUORUMTOOL, "-n", "9", "-v", "1"],
    [QUORUMTOOL, "-v", "3"],
    [QUORUMTOOL, "-e", "4"],
    [QUORUMTOOL, "-f"],
)
"""Changes, in an order in which some are refused."""

KEYS: tuple[Argv, ...] = (
    [CMAPCTL, "-s", "example.one", "u8", "255"],
    [CMAPCTL, "-s", "example.two", "str", "some text"],
    [CMAPCTL, "-i", "example.one"],
    [CMAPCTL, "-c", "example.one"],
    [CMAPCTL, "-i", "example.two"],
    [CMAPCTL, "-s", "with blanks", "u8", "1"],
    [CMAPCTL, "-s", "nodelist.node.0.nodeid", "u32", "2"],
    [CMAPCTL, "-d", "nodelist.node.0.nodeid"],
    [CMAPCTL, "-d", "example.none"],
    [CMAPCTL, "example."],
    [CMAPCTL, "-D", "example."],
    [CMAPCTL, "example."],
    [CMAPCTL, "-s", "quorum.expected_votes", "u32", "3"],
    [CFGTOOL, "-R"],
    [CMAPCTL, "config."],
    [CMAPCTL, "quorum."],
    [CMAPCTL, "-m", "stats", "-s", "stats.clear.all", "u8", "1"],
    [CMAPCTL, "-m", "stats", "-s", "stats.clear.nothing", "u8", "1"],
    [CMAPCTL, "-m", "stats", "-d", "stats.srp.mcast_tx"],
)
"""Writes to cmap and a reload, with refused writes and what remains."""

PAIR = (Node(1), Node(2, address="127.0.0.2", name="beta", votes=2))


async def compare(real: Daemon, ours: Host, *commands: Argv) -> None:
    """Each command prints the same for both."""
    for argv in commands:
        async with trio.open_nursery() as nursery:
            seen: dict[Host, Printed] = {}
            for host in (ours, real.host):
                nursery.start_soon(_print, host, argv, seen)
        assert seen[ours] == seen[real.host]


async def _print(host: Host, argv: Argv, seen: dict[Host, Printed]) -> None:
    seen[host] = await printed(host, argv)


async def compare_settled(real: Daemon, ours: Host, *commands: Argv) -> None:
    """The same for commands that can be repeated: a real cluster gets time to finish its work."""
    deadline = trio.current_time() + DEADLINE
    while True:
        try:
            return await compare(real, ours, *commands)
        except AssertionError:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(0.05)


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(nodes=PAIR, quorum={"two_node": 1}),
        Config(nodes=PAIR, quorum={"expected_votes": 7, "wait_for_all": 1, "auto_tie_breaker": 1}),
        Config(nodes=PAIR, quorum={"last_man_standing": 1, "allow_downscale": 1}),
        Config(device=Device(votes=1)),
    ],
    ids=["plain", "two_node", "tie_breaker", "last_man_standing", "device"],
)
async def test_one_node_looks_the_same_to_every_tool_before_and_after_changes(
    start_daemon: StartDaemon, host: Host, config: Config, transport: Transport
) -> None:
    config = replace(config, transport=transport)
    real = start_daemon(config)
    # The other node of the pair has never been up, so the model does not start it either.
    async with served(as_model(config), transport, up=(1,)):
        await compare(real, host, *READS)
        for argv in WRITES:
            await compare(real, host, argv)
            await compare_settled(real, host, [QUORUMTOOL, "-s"], [CMAPCTL, "runtime.votequorum."])


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_corosyncs_own_programs_write_keys_and_reload_a_file(
    start_daemon: StartDaemon, host: Host, transport: Transport
) -> None:
    config = Config(transport=transport)
    real = start_daemon(config)
    async with served(as_model(config), transport):
        await compare(real, host, *KEYS)


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_cfgtool_shuts_a_node_down(start_daemon: StartDaemon, host: Host, transport: Transport) -> None:
    config = Config(transport=transport)
    real = start_daemon(config)
    async with served(as_model(config), transport) as simulation:
        await compare(real, host, [CFGTOOL, "-H"])
        assert simulation.model.nodes == {}
        await eventually_async(lambda: not real.alive)


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_a_quorum_device_looks_the_same_from_registration_to_unregistration(
    start_daemon: StartDaemon, host: Host, transport: Transport
) -> None:
    config = Config(device=Device(votes=1), transport=transport)
    real = start_daemon(config)
    shown: tuple[Argv, ...] = ([QUORUMTOOL, "-s"], [QUORUMTOOL, "-l", "-p"], [CMAPCTL, "runtime.votequorum."])

    async def on_both(call: Callable[[Votequorum], Awaitable[None]]) -> None:
        for vq in clients:
            await call(vq)
        await compare_settled(real, host, *shown)

    async def poll(vq: Votequorum, cast: bool) -> None:
        await vq.trackstart(flags=TrackFlags.CURRENT)
        event = await vq.next_event()
        assert isinstance(event, NodelistNotification)
        await vq.next_event()
        await vq.qdevice_poll("Qdevice", cast, event.ring_id)

    async with served(as_model(config), transport):
        clients = await client_of(None), await client_of(real)
        async with clients[0], clients[1]:
            await on_both(lambda vq: vq.qdevice_register("Qdevice"))
            await on_both(lambda vq: poll(vq, True))
            await on_both(lambda vq: vq.qdevice_master_wins("Qdevice", True))
            await on_both(lambda vq: poll(vq, False))
            await on_both(lambda vq: vq.qdevice_update("Qdevice", "Other"))
            await compare(real, host, [QUORUMTOOL, "-f"])
            await compare_settled(real, host, *shown)


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_three_nodes_look_the_same_together_cut_and_healed(
    start_cluster: StartCluster, host: Host, transport: Transport
) -> None:
    real = start_cluster(Config(nodes=(Node(1), Node(2), Node(3, votes=2)), transport=transport))
    async with served(as_model(real[1].config), transport) as simulation:
        await compare_settled(real[1], host, *READS)
        await _monitored(real, simulation, host)
        await compare_settled(real[1], host, *READS)
        real.heal()
        await real.until_agreed()
        simulation.heal()
        await compare_settled(real[1], host, *READS)
        real[3].kill()
        simulation.kill(3)
        await real.until_agreed()
        await compare_settled(real[1], host, *READS)


async def _monitored(real: Cluster, simulation: Simulation, host: Host) -> None:
    """Cut both while `corosync-quorumtool -m` runs; compare the first block that it prints, and the last."""
    monitors = [_Monitor(host), _Monitor(real[1].host)]
    try:
        for monitor in monitors:
            await monitor.until_last_says("Quorate ")
        real.isolate(1)
        simulation.partition({1}, {2, 3})
        await real.until_agreed()
        for monitor in monitors:
            await monitor.until_last_says("Activity blocked")
        ours, theirs = ([comparable(block) for block in monitor.blocks()] for monitor in monitors)
        assert ours[0] == theirs[0]
        assert ours[-1] == theirs[-1]
    finally:
        for monitor in monitors:
            monitor.end()


class _Monitor:
    """A `corosync-quorumtool -m` on a host."""

    def __init__(self, host: Host) -> None:
        self._log = host.directory / "monitor"
        # The output goes to a file: into a pipe it would write only large blocks.
        command = ["stdbuf", "-oL", QUORUMTOOL, "-m"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(host.command(command), stdout=log, stdin=subprocess.DEVNULL)

    def blocks(self) -> list[bytes]:
        """The blocks that are complete."""
        heading = b"Quorum information\n"
        return [
            heading + block for block in self._log.read_bytes().split(heading)[1:] if block.endswith(b"\n\n")
        ]

    async def until_last_says(self, text: str) -> None:
        await eventually_async(
            lambda: any(text.encode() in block for block in self.blocks()[-1:]),
            otherwise=lambda: f"the last block says {text!r}: {self.blocks()}",
        )

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


async def test_notifyd_reports_nodes_links_quorum_and_clients(host: Host) -> None:
    if shutil.which("corosync-notifyd") is None:
        cannot("corosync-notifyd is not installed")
    config = as_model(Config(nodes=(Node(1), Node(2), Node(3))))
    command = host.command(["stdbuf", "-oL", "corosync-notifyd", "-f", "-o"])
    start = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    async with served(config, "shm") as simulation, trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(start)
        assert process.stdout
        told = ""

        async def until(*words: str) -> None:
            nonlocal told
            assert process.stdout
            with trio.fail_after(DEADLINE):
                while not all(word in told for word in words):
                    more = await process.stdout.receive_some()
                    assert more, told
                    told += more.decode()

        await until("is now quorate", "is now connected to corosync")
        told = ""
        simulation.partition({1}, {2, 3})
        await until("has lost quorum", "[2] ip:127.0.0.1 left", "link 0 to node 3 is now disconnected")
        told = ""
        simulation.heal()
        await until("is now quorate", "[2] ip:127.0.0.1 joined", "link 0 to node 3 is now operational")
        told = ""
        async with await Votequorum.initialize():
            await until("is now connected to corosync")
        await until("is now disconnected from corosync")
        process.terminate()


async def test_cmapctl_shows_changes_as_they_happen(host: Host) -> None:
    config = as_model(Config(nodes=(Node(1), Node(2), Node(3))))
    command = host.command(["stdbuf", "-oL", CMAPCTL, "-t", "runtime.members.3.status"])
    start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    async with served(config, "shm") as simulation, trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(start)
        assert process.stdin
        assert process.stdout
        shown = b""
        while b"finish" not in shown:
            shown += await process.stdout.receive_some()
        simulation.kill(3)
        while b"modify" not in shown:
            shown += await process.stdout.receive_some()
        await process.stdin.send_all(b"q\n")
    assert shown.decode().splitlines()[-1] == "modify> runtime.members.3.status (str) = left"


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (AccessRule(), False),
        (AccessRule.of(uids=[65534]), True),
        (AccessRule.of(gids=[65533]), True),
        (AccessRule.of(uids=[65533], gids=[65534]), False),
    ],
    ids=["nobody", "uid", "gid", "others"],
)
async def test_other_users_are_accepted_if_the_configuration_lists_them(
    host: Host, transport: Transport, access: AccessRule, allowed: bool
) -> None:
    async with served(as_model(Config()), transport, access=access):
        seen = await printed(host, [QUORUMTOOL], uid=65534, gid=65533)
        assert (seen.status == 0) is allowed
        assert (seen == await printed(host, [QUORUMTOOL])) is allowed
