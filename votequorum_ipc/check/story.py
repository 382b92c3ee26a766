"""A story: what happens to a cluster, step by step, and who is quorate after each step.

A story that a search tells can be replayed in the model as it is, without any of the search's shortcuts,
and must come out the same (`replay`). That is how the search is checked each time it says something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..cluster import Cluster, ClusterConfig, Conn, QdevicePoll, QdeviceRegister, ServiceKind, SetExpected
from ..cluster.effects import Timer
from .events import CancelWaitForAll, Crash, Event, ExpectedVotes, Leave, Network, PowerCut, Start, Window
from .partitions import DEVICE_NAME, Partitions
from .states import State

_MOMENT: Final = 0.001
"""Seconds between two events of a replay: no window passes by itself."""


@dataclass(frozen=True)
class Side:
    """A partition in a story."""

    members: tuple[int, ...]
    quorate: tuple[int, ...]
    waiting_for_all: tuple[int, ...] = ()
    voted_for: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """What happens, and what is the case then. `event` None: the beginning."""

    event: Event | None
    sides: tuple[Side, ...]
    down: tuple[int, ...]

    @property
    def quorate(self) -> frozenset[int]:
        """All nodes that are quorate."""
        return frozenset(nodeid for side in self.sides for nodeid in side.quorate)

    @property
    def text(self) -> str:
        """The event in words."""
        if self.event is not None:
            return str(self.event)
        if not self.sides:
            return "all nodes are down"
        up = " ".join(str(nodeid) for side in self.sides for nodeid in side.members)
        return "all nodes are up" if not self.down else f"nodes {up} have started"


Story = tuple[Step, ...]


def told(partitions: Partitions, steps: Iterable[tuple[Event | None, State]]) -> Story:
    """The story of a search's events and states; starts in a row at the beginning become one step each."""
    return tuple(_step(partitions, event, state) for event, state in steps)


def _step(partitions: Partitions, event: Event | None, state: State) -> Step:
    there = [partitions.all[number] for number in state.partitions]
    sides = tuple(Side(one.members, one.quorate, one.waiting_for_all, one.voted_for) for one in there)
    up = {nodeid for side in sides for nodeid in side.members}
    return Step(
        event, sides, tuple(nodeid for nodeid in sorted(partitions.config.nodeids) if nodeid not in up)
    )


def replay(config: ClusterConfig, story: Story) -> Iterator[tuple[Step, Cluster]]:
    """The story in a cluster of the model, driven as a user would: each step, and the cluster after it."""
    cluster = Cluster(config)
    devices: dict[int, Conn] = {}
    for step in story:
        if step.event is None and step.sides:
            cluster.up(*config.nodeids)
        elif step.event is not None:
            _do(cluster, step.event, step)
        _poll(cluster, devices, step)
        yield step, cluster
        cluster.advance(_MOMENT)


def disagreement(config: ClusterConfig, story: Story) -> str | None:
    """Where a replay comes out otherwise than the story says; None if it does not."""
    for number, (step, cluster) in enumerate(replay(config, story)):
        quorate = frozenset(nodeid for nodeid, node in cluster.nodes.items() if node.quorate)
        if quorate != step.quorate:
            return f"step {number}, {step.text}: quorate are {sorted(quorate)}, not {sorted(step.quorate)}"
    return None


def _do(cluster: Cluster, event: Event, step: Step) -> None:
    groups = [side.members for side in step.sides]
    match event:
        case Crash() | PowerCut():
            cluster.kill(*step.down)
        case Leave(nodeid):
            cluster.leave(nodeid)
        case Start(nodeid):
            cluster.disks[nodeid].tracked_expected_votes = 0
            cluster.partition(*groups)
            cluster.up(nodeid)
        case Network():
            cluster.partition(*groups)
        case Window(nodeids):
            _let_pass(cluster, set(nodeids))
        case CancelWaitForAll(nodeids):
            cluster.cancel_wait_for_all(nodeids[0])
        case ExpectedVotes(nodeids, expected_votes):
            conn = cluster.connect(nodeids[0], ServiceKind.VOTEQUORUM)
            cluster.request(conn, SetExpected(expected_votes))
            cluster.disconnect(conn)
        case _:
            pass


def _let_pass(cluster: Cluster, nodeids: set[int]) -> None:
    """Let time pass until the windows of these nodes have ended."""
    while any(Timer.LAST_MAN_STANDING in cluster.node(nodeid).effects.deadlines for nodeid in nodeids):
        deadline = cluster.next_deadline()
        assert deadline is not None
        cluster.advance(max(0.0, deadline - cluster.now))


def _poll(cluster: Cluster, devices: dict[int, Conn], step: Step) -> None:
    if not cluster.rules.has_device:
        return
    for gone in devices.keys() - cluster.nodes.keys():
        del devices[gone]
    votes = {nodeid for side in step.sides for nodeid in side.voted_for}
    for nodeid, node in cluster.nodes.items():
        if nodeid not in devices:
            devices[nodeid] = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
            cluster.request(devices[nodeid], QdeviceRegister(DEVICE_NAME))
        cluster.request(devices[nodeid], QdevicePoll(DEVICE_NAME, nodeid in votes, node.ring_id))


def folded(story: Story) -> Story:
    """The story with the starts at its beginning made one step, as people tell it."""
    starts = 0
    for at, step in enumerate(story[1:], 1):
        grown = isinstance(step.event, Start) and len(step.sides) == 1
        if not grown:
            break
        starts = at
    if starts < 2:
        return story
    last = story[starts]
    return (Step(None, last.sides, last.down), *story[starts + 1 :])
