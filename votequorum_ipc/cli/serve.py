"""`votequorum-ipc serve`: a simulated cluster in the foreground, for any client of corosync's quorum API.

Strategy: one node has corosync's own addresses, or all have a prefix; the others have addresses beside it.
Words on standard input change the cluster (`script`), and after each line the nodes are shown. Time passes in
real time.
"""

from __future__ import annotations

import grp
import pwd
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from ..cluster import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    GetInfo,
    Latency,
    Response,
    RuntimeValue,
    ServiceKind,
    configuration,
    effective_rules,
)
from ..cluster.corosync_conf import CorosyncConf, parse_corosync_conf
from ..daemon.admission import AccessRule
from ..daemon.simulation import Simulation, open_simulation
from ..errors import CsError
from ..types import NodeInfo, TransportName
from .common import printable, run
from .line_input import LineInput, open_line_input
from .serve_words import HELP, Exit, Script, ScriptError

_OTHERS_PREFIX: Final = "vqsim"
"""The prefix of nodes without the well-known names."""


@click.command("serve")
@click.option(
    "--nodes", type=click.IntRange(1, 384), help="Number of nodes, with one vote each; 3 by default."
)
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A corosync.conf: its node list, quorum options and cluster name.",
)
@click.option(
    "--device", "device_votes", type=click.IntRange(1), help="Allow a quorum device with this many votes."
)
@click.option("--ipc", type=click.Choice(["shm", "socket"]), help="The clients' transport; shm by default.")
@click.option("--node", type=int, help="The node with corosync's own names; the first by default.")
@click.option(
    "--prefix", help="Use names with this prefix instead of corosync's, for several clusters side by side."
)
@click.option(
    "--immediate", is_flag=True, help="Deliver multicasts at once; in corosync they take milliseconds."
)
@click.option("--seed", type=int, default=0, help="The seed for the multicasts' delays; 0 by default.")
def command(
    nodes: int | None,
    file: Path | None,
    device_votes: int | None,
    ipc: TransportName | None,
    node: int | None,
    prefix: str | None,
    immediate: bool,
    seed: int,
) -> None:
    """Run a simulated cluster until exit, Ctrl-C or SIGTERM, to develop against without corosync.

    Any client of votequorum, quorum, cmap and cfg can use it, including corosync's own programs. Words on
    standard input change the cluster: type help. At the end of the input the cluster goes on, except at a
    terminal.
    """
    if file is not None and (nodes is not None or device_votes is not None):
        raise click.UsageError("--config cannot be combined with --nodes or --device")
    conf = _conf(file, nodes or 3, device_votes)
    local = conf.cluster.nodeids[0] if node is None else node
    if local not in conf.cluster.nodeids:
        known = ", ".join(map(str, conf.cluster.nodeids))
        raise click.UsageError(f"--node {local}: the cluster has {known}")
    transport: TransportName = ipc or ("socket" if conf.ipc_type == "socket" else "shm")
    latency = None if immediate else Latency(seed=seed)
    run(partial(serve, conf, transport, local, prefix, latency, file), as_json=False)


def _conf(file: Path | None, nodes: int, device_votes: int | None) -> CorosyncConf:
    """The requested configuration; a usage error if corosync would not start with it."""
    try:
        if file is None:
            device = None if device_votes is None else DeviceConfig(votes=device_votes)
            conf = CorosyncConf(configuration(nodes, {"device": device}), None)
        else:
            conf = parse_corosync_conf(file.read_text(errors="surrogateescape"))
        rules = effective_rules(conf.cluster)
    except (ConfigurationError, OSError) as error:
        raise click.UsageError(f"{file or '--nodes'}: {printable(str(error))}") from None
    for warning in (*conf.warnings, *rules.warnings, *_about_device(conf.cluster)):
        click.echo(f"warning: {warning}", err=True)
    if conf.unknown:
        click.echo(f"warning: unknown: {', '.join(map(printable, conf.unknown))}", err=True)
    if conf.ignored:
        click.echo(f"not simulated: {', '.join(map(printable, conf.ignored))}", err=True)
    return conf


def _about_device(config: ClusterConfig) -> Iterator[str]:
    nodes, device = sum(node.votes for node in config.nodes), config.device and config.device.votes
    if device and device >= nodes:
        yield (
            f"the quorum device has {device} of {nodes + device} votes, so the nodes have no quorum without "
            "it: give it fewer votes than the nodes have"
        )


async def serve(
    conf: CorosyncConf,
    transport: TransportName,
    local: int,
    prefix: str | None,
    latency: Latency | None,
    file: Path | None = None,
) -> None:
    """Serve until ended. Raises `Busy` when the names are in use."""

    def address(nodeid: int) -> str | None:
        if nodeid == local:
            return None if prefix is None else f"@{prefix}-{{service}}"
        return f"@{prefix or _OTHERS_PREFIX}-{nodeid}-{{service}}"

    access = AccessRule.of(_ids(conf.uids, _uid), _ids(conf.gids, _gid))
    async with open_simulation(
        conf.cluster, address=address, transport=transport, access=access, latency=latency
    ) as cluster:
        cluster.up(*conf.cluster.nodeids)
        kind = "; multicasts are immediate" if latency is None else ""
        click.echo(f"serving {_count(conf.cluster)} over {transport}{kind}; type help to see what you can do")
        for line in _addresses(cluster):
            click.echo(line)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cluster.keep_time)
                nursery.start_soon(_obey, cluster, nursery, file)
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    break


def _count(config: ClusterConfig) -> str:
    number = len(config.nodes)
    return "1 node" if number == 1 else f"{number} nodes"


def _addresses(cluster: Simulation) -> Iterator[str]:
    for nodeid in cluster.config.nodeids:
        address = cluster.address(nodeid)
        where = "corosync's own names" if address is None else f"--address '{address}'"
        yield f"node {nodeid}: {where}"


def _ids(names: Iterable[str], look_up: Callable[[str], int]) -> list[int]:
    ids = []
    for name in names:
        try:
            ids.append(int(name) if name.isdecimal() else look_up(name))
        except KeyError:
            click.echo(f"warning: uidgid: there is no {printable(name)!r} here", err=True)
    return ids


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


# --- standard input and display ---


class _Display:
    """Shows the nodes after each line that was carried out, and whenever something else changes them."""

    def __init__(self, cluster: Simulation, script: Script, lines: LineInput) -> None:
        self._cluster = cluster
        self._script = script
        self._lines = lines
        self._shown: list[str] = []
        self.lock = trio.Lock()
        """Held while a line is carried out, so that its result is shown once."""

    async def settled(self) -> None:
        """Show the nodes once nothing is under way; the caller holds the lock."""
        await self._cluster.settled()
        self._show([*node_lines(self._cluster, self._script)])

    async def follow(self) -> None:
        """Show changes that no typed word causes: by a client, a timer, a device that stopped voting."""
        while True:
            await self._cluster.happened()
            # Not after the look: changes during such a pause would be missed.
            await trio.sleep(_SHOW_SECONDS)
            async with self.lock:
                await self._cluster.settled()
                found = [*node_lines(self._cluster, self._script)]
                if found != self._shown:
                    self._show(found)

    def _show(self, found: list[str]) -> None:
        self._shown = found
        self._lines.show(found)


_SHOW_SECONDS: Final = 0.1
"""The shortest interval in seconds between displays of changes that were not typed."""


async def _obey(cluster: Simulation, nursery: trio.Nursery, file: Path | None) -> None:
    """Carry out the lines of standard input. At a terminal, its end ends the cluster."""
    read_config = None if file is None else partial(_read_config, file)
    if read_config is not None:
        # For corosync-cfgtool -R, and any other client of cfg.
        cluster.read_config = read_config
    script = Script(cluster, nursery, _complain, read_config)
    with open_line_input(script.completions) as lines:
        display = _Display(cluster, script, lines)
        async with display.lock:
            await display.settled()
        nursery.start_soon(display.follow)
        while line := await lines.next_line():
            try:
                await _carry_out(line, display, script)
            except Exit:
                nursery.cancel_scope.cancel()
                return
        if sys.stdin.isatty():
            nursery.cancel_scope.cancel()
        # Changes are shown until the cluster ends.
        await trio.sleep_forever()


def _read_config(file: Path) -> ClusterConfig:
    return parse_corosync_conf(file.read_text(errors="surrogateescape")).cluster


async def _carry_out(line: str, display: _Display, script: Script) -> None:
    if line.lower().split()[:1] == ["help"]:
        for words, meaning in HELP:
            first = f"  {words:36} "
            click.echo(textwrap.fill(meaning, 79, initial_indent=first, subsequent_indent=" " * len(first)))
        return
    try:
        async with display.lock:
            if await script.run(line):
                await display.settled()
    except (ScriptError, CsError) as error:
        _complain(str(error))


def _complain(text: str) -> None:
    click.echo(f"error: {printable(text)}", err=True)


def node_lines(cluster: Simulation, script: Script) -> Iterator[str]:
    """A line for each node: its partition, and quorum, votes, ring and members as it sees them."""
    for nodeid in cluster.config.nodeids:
        place = f"node {nodeid}  partition {script.partitions[nodeid]}"
        node = cluster.model.nodes.get(nodeid)
        if node is None:
            yield f"{place}  down"
            continue
        members = " ".join(map(str, node.members))
        if not cluster.config.provider:
            yield f"{place}  quorate  no quorum provider  ring {node.ring_id}  members {members}"
            continue
        info = _info(cluster, nodeid)
        quorate = "quorate" if node.quorate else "NOT QUORATE"
        waits = "  waits for all nodes" if _waits_for_all(node.runtime) and not node.quorate else ""
        yield (
            f"{place}  {quorate:11}  votes {info.total_votes}/{info.node_expected_votes}, "
            f"quorum {info.quorum}  ring {node.ring_id}  members {members}{waits}"
        )


def _info(cluster: Simulation, nodeid: int) -> NodeInfo:
    """votequorum's figures for a node, as the node itself answers."""
    conn = cluster.model.connect(nodeid, ServiceKind.VOTEQUORUM)
    [(_, answer)] = cluster.model.request(conn, GetInfo())
    cluster.model.disconnect(conn)
    assert isinstance(answer, Response)
    assert isinstance(answer.value, NodeInfo)
    return answer.value


def _waits_for_all(runtime: Mapping[str, RuntimeValue]) -> bool:
    status = runtime.get("runtime.votequorum.wait_for_all_status")
    return status is not None and bool(status.value)
