"""A story: what happens to a cluster, step by step, and which nodes are quorate after each step.

Each story of a search is replayed in the model itself, without any of the search's shortcuts, and must have
the same result (`replay`). So the search is verified each time it reports something.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from ..cluster import Cluster, ClusterConfig, Conn, QdevicePoll, QdeviceRegister, ServiceKind, SetExpected
from ..cluster.cluster import usually_speaks_first
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
class StoryStep:
    """An event, and the situation after it. `event` is None at the beginning."""

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


Story = tuple[StoryStep, ...]


def story_of(partitions: Partitions, steps: Iterable[tuple[Event | None, State]]) -> Story:
    """The story of a search's events and states; starts in a row at the beginning become one step each."""
    return tuple(_step(partitions, event, state) for event, state in steps)


def _step(partitions: Partitions, event: Event | None, state: State) -> StoryStep:
    there = partitions.of(state.parts)
    sides = tuple(Side(one.members, one.quorate, one.waiting_for_all, one.voted_for) for one in there)
    up = {nodeid for side in sides for nodeid in side.members}
    return StoryStep(
        event, sides, tuple(nodeid for nodeid in sorted(partitions.config.nodeids) if nodeid not in up)
    )


class DisagreesError(Exception):
    """The model does not confirm a story."""


def replay(config: ClusterConfig, story: Story) -> Iterator[tuple[StoryStep, Cluster]]:
    """The story in a cluster of the model, driven as a user would: each step, and the cluster after it.

    If it matters which member of a ring speaks first, members are chosen with whom the story is confirmed.
    Raises `DisagreesError` if there are none.
    """
    attempt = _Attempt(story)
    way = next(attempt.ways(_Replay(Cluster(config), {})), None)
    if way is None:
        step = story[attempt.furthest]
        raise DisagreesError(f"{step.text}: quorate should be {sorted(step.quorate)}")
    for step, replayed in zip(story, way, strict=True):
        yield step, replayed.cluster


def disagreement(config: ClusterConfig, story: Story) -> str | None:
    """Where a replay comes out otherwise than the story says; None if it does not."""
    try:
        list(replay(config, story))
    except DisagreesError as error:
        return str(error)
    return None


def depends_on_who_speaks_first(config: ClusterConfig, story: Story) -> bool:
    """Whether the story ends differently when other members of its rings speak first."""
    last = _Replay(Cluster(config), {})
    for step in story:
        after = list(last.after(step))
        agreeing = [done for done in after if done.quorate == step.quorate]
        if len(agreeing) < len(after):
            return True
        last = agreeing[0]
    return False


_MOST_TRIED: Final = 1000
"""Steps that a replay tries before it gives up."""


@dataclass
class _Replay:
    """A cluster at some step, and the connections of its devices."""

    cluster: Cluster
    devices: dict[int, Conn]

    @property
    def quorate(self) -> frozenset[int]:
        return frozenset(nodeid for nodeid, node in self.cluster.nodes.items() if node.quorate)

    def after(self, step: StoryStep) -> Iterator[_Replay]:
        """The cluster after a step: first as corosyncs usually speak, then with other members first."""
        members = [side.members for side in step.sides]
        for chosen in product(*map(_places, members)):
            done = copy.deepcopy(self)
            done.cluster.speaks_first = dict(zip(members, chosen, strict=True))
            done.cluster.advance(_MOMENT)
            if step.event is not None:
                _do(done.cluster, step.event, step)
            elif step.sides:
                done.cluster.up(*(nodeid for side in members for nodeid in side))
            _poll(done.cluster, done.devices, step)
            yield done


def _places(members: tuple[int, ...]) -> Iterator[int]:
    """The places of those that may speak first, the usual one first."""
    first = usually_speaks_first(members)
    return ((first + at) % len(members) for at in range(len(members)))


class _Attempt:
    """To play a story. `furthest` is the step that none came further than."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._left = _MOST_TRIED
        self.furthest = 0

    def ways(self, last: _Replay, at: int = 0) -> Iterator[tuple[_Replay, ...]]:
        """The ways on from step `at`, after which the same nodes are quorate as in the story."""
        if at == len(self._story):
            yield ()
            return
        self.furthest = max(self.furthest, at)
        for done in last.after(self._story[at]):
            self._left -= 1
            if self._left < 0:
                return
            if done.quorate == self._story[at].quorate:
                for rest in self.ways(done, at + 1):
                    yield (done, *rest)


def _do(cluster: Cluster, event: Event, step: StoryStep) -> None:
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
        case ExpectedVotes(nodeid, expected_votes):
            conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
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


def _poll(cluster: Cluster, devices: dict[int, Conn], step: StoryStep) -> None:
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
    return (StoryStep(None, last.sides, last.down), *story[starts + 1 :])


def situation(step: StoryStep) -> str:
    """Who is quorate, partition by partition."""
    parts = []
    for side in step.sides:
        members = " ".join(map(str, side.members))
        if side.quorate == side.members:
            parts.append(f"{{{members}}} quorate")
        elif side.quorate:
            parts.append(f"{{{members}}} of which only {' '.join(map(str, side.quorate))} quorate")
        else:
            parts.append(f"{{{members}}} not quorate{', waiting for all' if side.waiting_for_all else ''}")
    if step.down:
        parts.append(f"down: {' '.join(map(str, step.down))}")
    return "; ".join(parts)
