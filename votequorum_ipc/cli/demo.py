"""`votequorum-ipc demo`: shows what quorum is and what this library does, in twenty seconds, without
corosync.

Strategy: a scene is a sentence and an event in a simulated cluster. What the display shows comes from one
client for each node, connected over real IPC and following events like any user's program. So it shows what
such a program would see. In a terminal the display is redrawn in place; elsewhere each change is a line.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import click
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ..cluster import DeviceConfig
from ..errors import Library
from ..qdevice import run_qdevice
from ..testing import SimulatedCluster, simulated_cluster
from ..types import InfoFlags, NodeInfo, TrackFlags
from ..votequorum import Votequorum
from .common import run, until_interrupted
from .serve_words import always_votes

CODE: Final = """\
import trio
from votequorum_ipc import InfoFlags, QuorumNotification, Votequorum

async def main():
    async with await Votequorum.initialize() as vq:       # corosync on this machine
        info = await vq.getinfo()
        print("quorate:", InfoFlags.QUORATE in info.flags)
        await vq.trackstart()
        async for event in vq.events():
            if isinstance(event, QuorumNotification):
                print("quorate" if event.quorate else "NOT quorate: stop everything")

trio.run(main)
"""

_DEVICE_CODE: Final = """\
async def vote(view):                                     # your own quorum device
    return await my_storage_is_mine(view.members)

await run_qdevice("shared-disk", vote)
"""


@dataclass(frozen=True)
class Scene:
    """One step of the demonstration."""

    text: str
    act: Callable[[SimulatedCluster], None] | None = None
    device: bool = False
    """Whether node 1's quorum device begins to vote now."""


FIRST_ACT: Final = (
    Scene("Three nodes, one vote each. More than half of 3 votes is 2: that is the quorum."),
    Scene("Node 3 crashes. Two votes are left, still a majority: work goes on.", lambda c: c.kill(3)),
    Scene(
        "Node 2 crashes too. Node 1 cannot know whether the others are dead or merely unreachable "
        "and still working. Without quorum it must stop.",
        lambda c: c.kill(2),
    ),
    Scene("Node 2 is back: two votes, quorum is regained.", lambda c: c.up(2)),
    Scene("And node 3.", lambda c: c.up(3)),
    Scene(
        "Now the network breaks between node 1 and the others. Both halves are alive, "
        "but only one has a majority: never two clusters.",
        lambda c: c.partition({1}, {2, 3}),
    ),
    Scene("The network is repaired.", lambda c: c.heal()),
)

SECOND_ACT: Final = (
    Scene("The same cluster with a quorum device, which can give node 1 two more votes. Quorum is 3 of 5."),
    Scene(
        "Node 1's device says yes. It is a function that you write, called again and again. "
        "A device's votes count on its own node.",
        device=True,
    ),
    Scene(
        "Nodes 2 and 3 crash. Node 1 and its device have 3 of 5 votes: the last node keeps working.",
        lambda c: c.kill(2, 3),
    ),
)


@click.command("demo")
@click.option("--pace", type=click.FloatRange(0, 60), default=2.0, help="Seconds per scene; 2 by default.")
def command(pace: float) -> None:
    """Show what quorum is on a simulated cluster of three nodes: twenty seconds, no corosync, no root."""
    console = Console(highlight=False)
    run(partial(until_interrupted, partial(demo, console, pace)), as_json=False)


async def demo(console: Console, pace: float) -> None:
    """Play both acts with `pace` seconds for each scene, then show what a user would write."""
    stage = Stage()
    with display(console, stage):
        async with simulated_cluster(nodes=3) as cluster:
            await _play(cluster, FIRST_ACT, stage, pace)
        stage.clear()
        async with simulated_cluster(nodes=3, device=DeviceConfig(votes=2)) as cluster:
            await _play(cluster, SECOND_ACT, stage, pace)
    show_code(console)


# --- playing ---

_LOOK_AGAIN: Final = 0.1
"""Seconds."""


async def _play(cluster: SimulatedCluster, scenes: tuple[Scene, ...], stage: Stage, pace: float) -> None:
    async with trio.open_nursery() as nursery:
        stage.narrate(scenes[0].text)
        for nodeid in cluster.config.nodeids:
            await nursery.start(_watch, cluster, nodeid, stage)
        await trio.sleep(pace)
        for scene in scenes[1:]:
            stage.narrate(scene.text)
            if scene.act is not None:
                scene.act(cluster)
            if scene.device:
                await nursery.start(partial(run_qdevice, "demo", always_votes, address=cluster.address(1)))
            await trio.sleep(pace)
        nursery.cancel_scope.cancel()


async def _watch(
    cluster: SimulatedCluster, nodeid: int, stage: Stage, *, task_status: trio.TaskStatus[None]
) -> None:
    """Follow a node as a user's program would; connect again when it comes back."""
    while True:
        with contextlib.suppress(Library):
            async with await Votequorum.initialize(address=cluster.address(nodeid)) as handle:
                await handle.trackstart(flags=TrackFlags.CHANGES_ONLY)
                while True:
                    stage.saw(nodeid, await handle.getinfo())
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    # corosync announces memberships and quorum, but not a device's vote.
                    with trio.move_on_after(_LOOK_AGAIN):
                        await handle.next_event()
        stage.saw(nodeid, None)
        while nodeid not in cluster.model.nodes:  # noqa: ASYNC110 - as a user's program would
            await trio.sleep(_LOOK_AGAIN)


# --- showing ---


@dataclass
class Stage:
    """The current sentence, and the last thing that each node's client saw."""

    began: float = field(default_factory=time.monotonic)
    text: str = ""
    seen: dict[int, NodeInfo | None] = field(default_factory=dict)
    on_text: Callable[[str], None] = print
    on_change: Callable[[int, NodeInfo | None], None] = lambda nodeid, info: None

    def narrate(self, text: str) -> None:
        """Begin a scene."""
        self.text = text
        self.on_text(text)

    def saw(self, nodeid: int, info: NodeInfo | None) -> None:
        """A node's client learned something; None: the node is gone."""
        if nodeid not in self.seen or self.seen[nodeid] != info:
            self.seen[nodeid] = info
            self.on_change(nodeid, info)

    def clear(self) -> None:
        """Another cluster."""
        self.seen.clear()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began


@contextlib.contextmanager
def display(console: Console, stage: Stage) -> Iterator[None]:
    """Show each change of a stage: redrawn in a terminal that can do that, as lines elsewhere."""
    if not console.is_terminal or console.is_dumb_terminal:  # rich draws nothing on a dumb one
        stage.on_text = lambda text: click.echo(f"\n[{stage.seconds:4.1f} s] {text}")
        stage.on_change = lambda nodeid, info: click.echo(f"         {_line(nodeid, info)}")
        yield
        return
    with Live(_scene(stage), console=console, auto_refresh=False) as live:
        stage.on_text = lambda text: live.update(_scene(stage), refresh=True)
        stage.on_change = lambda nodeid, info: live.update(_scene(stage), refresh=True)
        yield


def _line(nodeid: int, info: NodeInfo | None) -> str:
    if info is None:
        return f"node {nodeid}: gone"
    return f"node {nodeid}: {_verdict(info)}, votes {info.total_votes}, quorum {info.quorum}"


def _verdict(info: NodeInfo) -> str:
    return "quorate" if InfoFlags.QUORATE in info.flags else "NOT QUORATE"


def _scene(stage: Stage) -> Group:
    table = Table(box=None, padding=(0, 3, 0, 0))
    for title in ("node", "votes it sees", "quorum", "may it act?"):
        table.add_column(title)
    for nodeid, info in sorted(stage.seen.items()):
        table.add_row(*_row(nodeid, info))
    caption = Text(stage.text)
    return Group(
        Panel(Group(caption, Text(), table), title="corosync's quorum, simulated", width=78, height=11),
    )


def _row(nodeid: int, info: NodeInfo | None) -> tuple[Text, ...]:
    if info is None:
        return Text(f"node {nodeid}"), Text("-"), Text("-"), Text("down", "dim")
    quorate = InfoFlags.QUORATE in info.flags
    bar = "■" * info.total_votes + "□" * max(0, info.node_expected_votes - info.total_votes)
    device = " with its device" if InfoFlags.QDEVICE_CAST_VOTE in info.flags else ""
    return (
        Text(f"node {nodeid}", "bold"),
        Text(f"{bar} {info.total_votes}", "green" if quorate else "red"),
        Text(f"{info.quorum} of {info.node_expected_votes}"),
        Text(f"yes, quorate{device}" if quorate else "NO, quorum lost", "green" if quorate else "bold red"),
    )


def show_code(console: Console) -> None:
    """Print the programs that a user would write, and what to try next."""
    for title, code in (("Your program", CODE), ("Your own quorum device", _DEVICE_CODE)):
        if console.is_terminal:
            console.print(Rule(title), Syntax(code, "python", background_color="default"))
        else:
            click.echo(f"\n--- {title}\n\n{code}")
    click.echo(f"Try it without a cluster: run '{_this_command()} serve' in another terminal.")


def _this_command() -> str:
    """How to call the command again from here: by its name, if the shell finds it."""
    name = "votequorum-ipc"
    return name if shutil.which(name) else os.path.relpath(sys.argv[0])
