"""The cluster: the embedded daemon over a recorded model, with daemons that can hang.

Strategy: what a node knows changes only when the engine delivers the model's outputs, so it is recorded
there. A `Fact` is everything that a query can be answered with, from one moment to the next. The events that
the node has announced are recorded too, by a tracker that gets them directly from the model. Neither passes
through code under test.

A daemon that hangs accepts no connection, reads no request and sends nothing. The cluster continues without
waiting for it. When it resumes, it sends everything announced meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import socket
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, ClassVar, Final

import trio
from trio.testing import MockClock

from votequorum_ipc.cluster import (
    ConfigurationError,
    Conn,
    ConnectionClosed,
    DeviceConfig,
    ModelGetType,
    NodeModel,
    Output,
    Outputs,
    QdevicePoll,
    Request,
    Response,
    ServiceKind,
    SetExpected,
    SetVotes,
    TrackStart,
    effective_rules,
)
from votequorum_ipc.cluster.answers import _node_info
from votequorum_ipc.daemon import listener as listener_module
from votequorum_ipc.daemon.admission import AccessRule
from votequorum_ipc.daemon.connection import ServerConnection
from votequorum_ipc.daemon.engine import _READS as READS
from votequorum_ipc.daemon.engine import Engine
from votequorum_ipc.daemon.server import TRANSPORTS, Server
from votequorum_ipc.daemon.services.base import NodeService
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.testing import SimulatedCluster
from votequorum_ipc.types import (
    ClusterStatus,
    ExpectedVotesNotification,
    NodeInfo,
    QuorumNodelistNotification,
    QuorumType,
    QuorumV1Notification,
    RingId,
)

from .plan import Fault, Kind, Plan, Program

Announced = QuorumNodelistNotification | QuorumV1Notification | ExpectedVotesNotification
"""A node's announcements to trackers that a view's changes must repeat."""

RELOADED_DEVICE: Final = DeviceConfig(votes=1, timeout=3000, sync_timeout=3000)
"""The device that a reload adds where there was none."""

RESTING_PAUSE: Final = 7.0
"""Seconds between two queries of a program while the world rests. A following program continues as before."""

_MASK: Final = 2**32 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """What a node knows from `since` until its next fact; `position` events were announced before."""

    since: float
    position: int
    quorum_type: QuorumType
    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]
    own: NodeInfo | None
    infos: dict[int, NodeInfo | None]

    def is_told_by(self, status: ClusterStatus) -> bool:
        """Whether a status says exactly this."""
        return (
            status.quorum_type == self.quorum_type
            and self.announces(status)
            and status.info == self.own
            and all(member.info == self.infos.get(member.node_id) for member in status.members)
        )

    def announces(self, status: ClusterStatus) -> bool:
        """Whether a status agrees with what the node has announced."""
        members = tuple(member.node_id for member in status.members)
        return (status.quorate, status.ring_id, members) == (self.quorate, self.ring_id, self.members)

    def same_as(self, other: Fact) -> bool:
        """Whether the two differ only in their time."""
        return self._known == other._known

    @property
    def _known(self) -> tuple[object, ...]:
        return self.position, self.quorate, self.ring_id, self.members, self.own, self.infos


@dataclasses.dataclass(slots=True)
class Life:
    """One life of a node's daemon: what it announced and knew."""

    nodeid: int
    events: list[Announced] = dataclasses.field(default_factory=list)
    facts: list[Fact] = dataclasses.field(default_factory=list)
    ended: bool = False

    def facts_since(self, question: Question, patience: float = math.inf) -> list[Fact]:
        """The facts from a query until now, at most `patience` seconds old."""
        first = max(question.facts - 1, 0) if question.life is self else 0
        start = trio.current_time() - patience
        for at in range(len(self.facts) - 1, first, -1):
            if self.facts[at].since < start:
                return self.facts[at:]
        return self.facts[first:]


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """The moment when a program queried a node."""

    at: float
    life: Life | None
    """The node's life then; None while it was down."""
    facts: int
    """The number of facts of that life."""
    jumped: float
    """The total that the clock had jumped."""


class Hangs:
    """The daemons that hang."""

    def __init__(self) -> None:
        self._resumed: dict[int, trio.Event] = {}

    def __contains__(self, nodeid: int) -> bool:
        return nodeid in self._resumed

    def begin(self, nodeid: int) -> None:
        self._resumed.setdefault(nodeid, trio.Event())

    def end(self, nodeid: int) -> None:
        if nodeid in self._resumed:
            self._resumed.pop(nodeid).set()

    async def over(self, nodeid: int) -> None:
        while nodeid in self._resumed:
            await self._resumed[nodeid].wait()


class SlowConnection(ServerConnection):
    """Takes time for each request, so that things happen between two requests."""

    pace: ClassVar[float]
    """The longest time in seconds."""
    chance: ClassVar[random.Random]

    async def _give_way(self) -> None:
        await trio.sleep(self.pace * self.chance.random())


class _Listener(listener_module.Listener):
    """Accepts no connection while its daemon hangs."""

    hangs: Hangs

    async def _accept(self) -> socket.socket | None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError:
            return None
        await self._hang_over()
        return None if self.closed else await super()._accept()

    async def _shake_hands(self, sock: socket.socket) -> ServerConnection | None:
        await self._hang_over()
        return await super()._shake_hands(sock)

    async def _hang_over(self) -> None:
        assert isinstance(self.service, NodeService)
        await self.hangs.over(self.service.nodeid)


class _Server(Server):
    """Makes listeners that can hang."""

    def __init__(self, nursery: trio.Nursery, plan: Plan) -> None:
        super().__init__(nursery, plan.transport, AccessRule.of())
        self.hangs = Hangs()

    def listen(self, service: Any, address: Any = None) -> listener_module.Listener:
        listener = _Listener(service, address, self.admission, TRANSPORTS[self.transport])
        listener.hangs = self.hangs
        self._listeners.append(listener)
        self._nursery.start_soon(listener.run)
        return listener


class _Engine(Engine):
    """Holds back the output of hanging daemons, and reports what the model did."""

    def __init__(
        self,
        plan: Plan,
        on_change: Callable[[], None],
        hangs: Hangs,
        on_delivered: Callable[[Outputs], None],
    ) -> None:
        super().__init__(plan.config, on_change, plan.latency)
        self._hangs = hangs
        self._on_delivered = on_delivered
        self._kept: dict[int, Outputs] = {}
        self._reads = False
        """Whether the current request cannot change what a node knows."""

    def forget(self, nodeid: int) -> None:
        """Drop what was held back for a node."""
        self._kept.pop(nodeid, None)

    def ask(self, conn: Conn, request: Request) -> None:
        due = self.model.next_deadline()
        self._reads = isinstance(request, READS) and (due is None or self._caught_up() + 1e-6 < due)
        super().ask(conn, request)
        self._reads = False

    def _caught_up(self) -> float:
        """The cluster's time once it has caught up with trio's."""
        passed = 0.0 if self._kept_since is None else trio.current_time() - self._kept_since
        return self.model.now + passed

    def _deliver(self, outputs: Outputs) -> None:
        now = []
        for conn, output in outputs:
            if conn.nodeid in self._hangs and not isinstance(output, ConnectionClosed):
                self._kept.setdefault(conn.nodeid, []).append((conn, output))
            else:
                now.append((conn, output))
        super()._deliver(now)
        if not self._reads:
            self._on_delivered(outputs)

    def release(self, nodeid: int) -> None:
        """Send what was held back for a node."""
        super()._deliver(self._kept.pop(nodeid, []))


class World(SimulatedCluster):
    """The cluster of a plan, its record and its trace. Made by `open_world`."""

    def __init__(self, server: _Server, plan: Plan, clock: MockClock) -> None:
        super().__init__(server, plan.config, plan.latency)
        self.hangs = server.hangs
        self._engine = self._recorded = _Engine(plan, self._changed, self.hangs, self._delivered)
        self.model = self._engine.model
        self._clock = clock
        self._watched = {program.node for program in plan.programs}
        self.lives: dict[int, Life] = {}
        """The current life of each node that is up."""
        self._taps: dict[Conn, Life] = {}
        self.trace: list[str] = []
        self.violation: str | None = None
        self.scope = trio.CancelScope()
        """Cancelled by the first violation."""
        self.resting = trio.Event()
        """Set when no more faults happen."""
        self.jumped = 0.0
        """The total of the clock's jumps in seconds."""
        self.gone_at: dict[int, float] = dict.fromkeys(plan.config.nodeids, 0.0)
        """When each node's daemon went down or began to hang."""
        self.hung_for: dict[int, float] = dict.fromkeys(plan.config.nodeids, 0.0)
        """The total seconds that each node's daemon has hung."""
        self.rings = dict.fromkeys(plan.config.nodeids, 0)
        """The number of rings that each node has formed."""
        self.sync_timeout = _longest_sync(plan)
        """Seconds that a device may delay a membership change."""
        self.right = dict.fromkeys(plan.config.nodeids, True)
        """The decision of each node's device."""
        self.on_poll: dict[int, Callable[[QdevicePoll], None]] = {}
        """Called when a node's daemon has accepted a vote."""
        self.on_change: list[Callable[[], None]] = []
        """Called after each change of the model."""

    # --- the record ---

    def question(self, nodeid: int) -> Question:
        """Record that a program queries a node now."""
        life = self.lives.get(nodeid)
        if life is None or life.ended:
            return Question(self.now, None, 0, self.jumped)
        return Question(self.now, life, len(life.facts), self.jumped)

    @property
    def now(self) -> float:
        return self._clock.current_time()

    def log(self, text: str) -> None:
        self.trace.append(f"{self.now:12.6f}  {text}")

    def violate(self, text: str) -> None:
        """Record a violation, and end the history."""
        if self.violation is None:
            self.violation = text
            self.log(f"VIOLATION: {text}")
            self.scope.cancel()

    async def pause(self, program: Program, asked: int, chance: random.Random) -> None:
        """Let a program wait before its next query: the longer, the more queries it has made."""
        seconds = program.pause * chance.uniform(0.5, 1.5) * (1 + asked / 10)
        if self.resting.is_set():
            await trio.sleep(0.1 if program.kind is Kind.FOLLOW else RESTING_PAUSE)
        else:
            with trio.move_on_after(seconds):
                await self.resting.wait()

    def is_up(self, nodeid: int) -> bool:
        return nodeid in self.model.nodes

    def is_clear(self, nodeid: int) -> bool:
        """Whether a node's clients have received everything that it announced."""
        return nodeid not in self.hangs and not any(
            client._events
            for listener in self._served.get(nodeid, {}).values()
            for client in listener._clients
        )

    def _delivered(self, outputs: Outputs) -> None:
        for conn, output in outputs:
            if conn in self._taps:
                self._note(self._taps[conn], output)
            if isinstance(output, Response) and output.error is CsErrorCode.OK:
                request = output.request
                if isinstance(request, QdevicePoll) and request.cast_vote and conn.nodeid in self.on_poll:
                    self.on_poll[conn.nodeid](request)
        for nodeid in sorted(self._watched & self.lives.keys() & self.model.nodes.keys()):
            if nodeid not in self.hangs and not self.lives[nodeid].ended:
                self._note_fact(nodeid)
        for hook in self.on_change:
            hook()

    def _note(self, life: Life, output: Output) -> None:
        if isinstance(output, ConnectionClosed):
            if not life.ended:
                life.ended = True
                self.log(f"node {life.nodeid}: down")
                self.gone_at[life.nodeid] = self.now
        elif isinstance(output, Announced):
            life.events.append(output)
            if isinstance(output, QuorumNodelistNotification):
                self.rings[life.nodeid] += 1
                self.log(f"node {life.nodeid}: ring {output.ring_id} of {output.members}")
            elif isinstance(output, QuorumV1Notification):
                self.log(f"node {life.nodeid}: quorate {output.quorate}")

    def _note_fact(self, nodeid: int) -> None:
        life = self.lives[nodeid]
        fact = _fact(self.model.node(nodeid), self.now, len(life.events))
        if not life.facts or not fact.same_as(life.facts[-1]):
            life.facts.append(fact)

    # --- faults ---

    def up(self, *nodeids: int, groups: Collection[Collection[int]] | None = None) -> None:
        fresh = [nodeid for nodeid in nodeids if nodeid not in self.lives or self.lives[nodeid].ended]
        super().up(*nodeids, groups=groups)
        for nodeid in fresh:
            life = self.lives[nodeid] = Life(nodeid)
            self.log(f"node {nodeid}: up")
            self._tap(life)
            self._delivered([])

    def _tap(self, life: Life) -> None:
        """Let the model report what it sends to each tracker of this node."""
        kinds = [ServiceKind.QUORUM, ServiceKind.VOTEQUORUM] if self.config.provider else [ServiceKind.QUORUM]
        for kind in kinds:
            conn = self.model.connect(life.nodeid, kind)
            self._taps[conn] = life
            if kind is ServiceKind.QUORUM:
                self._engine.apply(self.model.request, conn, ModelGetType(1))
            self._engine.apply(self.model.request, conn, TrackStart())

    def kill(self, *nodeids: int) -> None:
        for nodeid in nodeids:
            self._end_hang(nodeid, send=False)
        super().kill(*nodeids)

    def leave(self, *nodeids: int) -> None:
        for nodeid in nodeids:
            self.resume(nodeid)
        super().leave(*nodeids)

    def hang(self, nodeid: int) -> None:
        """Make a daemon hang."""
        if self.is_up(nodeid) and nodeid not in self.hangs:
            self.hangs.begin(nodeid)
            self.gone_at[nodeid] = self.now
            self._changed()

    def resume(self, nodeid: int) -> None:
        """Let a daemon continue."""
        if nodeid in self.hangs:
            self._end_hang(nodeid, send=True)
            self._changed()
            self._delivered([])

    def _end_hang(self, nodeid: int, *, send: bool) -> None:
        if nodeid in self.hangs:
            self.hung_for[nodeid] += self.now - self.gone_at[nodeid]
            self.hangs.end(nodeid)
            if send:
                self._recorded.release(nodeid)
            else:
                self._recorded.forget(nodeid)

    def _changed(self) -> None:
        super()._changed()
        for nodeid in self._served:
            if nodeid in self.hangs:
                for service in self._served[nodeid]:
                    service.paused = True

    def jump(self, seconds: float) -> None:
        """Let the clock jump ahead."""
        self.jumped += seconds
        self._clock.jump(seconds)

    def drop(self, nodeid: int, chance: random.Random) -> None:
        """Let the daemon close a client's connection."""
        clients = [client for each in self._served.get(nodeid, {}).values() for client in each._clients]
        if clients and nodeid not in self.hangs:
            chance.choice(clients).close()

    def operate(self, nodeid: int, request: SetExpected | SetVotes) -> None:
        """An operator changes something on a node."""
        if self.is_up(nodeid) and self.config.provider:
            conn = next(
                conn
                for conn, life in self._taps.items()
                if conn.nodeid == nodeid and not life.ended and conn.service is ServiceKind.VOTEQUORUM
            )
            self._engine.apply(self.model.request, conn, request)

    def flood(self, nodeid: int, count: int) -> None:
        """Make many changes without letting a task run between them."""
        for number in range(count):
            if not self.is_up(nodeid):
                return
            if number % 3:
                self.operate(nodeid, SetExpected(len(self.config.nodes) + number % 2))
            else:
                self.reform(nodeid)

    def change_configuration(self, nodeid: int, which: int) -> None:
        """Reload with a changed name, changed votes, a device or none, or other expected votes."""
        config = self.config
        node = config.node(nodeid)
        if which == 0:
            node = dataclasses.replace(node, name=node.name + "x")
        elif which == 1:
            node = dataclasses.replace(node, votes=node.votes % 2 + 1)
        elif which == 2:
            config = dataclasses.replace(config, device=None if config.device else RELOADED_DEVICE)
        else:
            config = dataclasses.replace(config, expected_votes=len(config.nodes) + 1)
        nodes = tuple(node if each.nodeid == nodeid else each for each in config.nodes)
        config = dataclasses.replace(config, nodes=nodes)
        with contextlib.suppress(ConfigurationError):
            effective_rules(config)  # nodes must be able to start with it later
            self.reload(config)


def _longest_sync(plan: Plan) -> float:
    # A reload may bring a device.
    reloads = any(step.fault is Fault.RELOAD for step in plan.steps)
    devices = [plan.config.device, RELOADED_DEVICE if reloads else None]
    return max((device.sync_timeout / 1000 for device in devices if device), default=0.0)


def _fact(node: NodeModel, now: float, position: int) -> Fact:
    quorum, votequorum = node.quorum, node.votequorum
    own, infos = None, {}
    if quorum.quorum_type is QuorumType.SET:
        own = _masked(_node_info(votequorum, votequorum.db.us))
        for member in quorum.sync_members:
            known = votequorum.db.find(member)
            infos[member] = None if known is None else _masked(_node_info(votequorum, known))
    return Fact(
        now,
        position,
        quorum.quorum_type,
        quorum.quorate,
        quorum.sync_ring_id,
        quorum.sync_members,
        own,
        infos,
    )


def _masked(info: NodeInfo) -> NodeInfo:
    """A `NodeInfo` whose values fit into uint32s."""
    return info._replace(
        node_expected_votes=info.node_expected_votes & _MASK,
        highest_expected=info.highest_expected & _MASK,
        total_votes=info.total_votes & _MASK,
        quorum=info.quorum & _MASK,
        qdevice_votes=info.qdevice_votes & _MASK,
    )


@contextlib.asynccontextmanager
async def open_world(plan: Plan, clock: MockClock) -> AsyncIterator[World]:
    """A world whose nodes are all up and know one another, and whose time passes with trio's."""
    async with trio.open_nursery() as nursery:
        server = _Server(nursery, plan)
        world = World(server, plan, clock)
        try:
            world.up(*plan.config.nodeids)
            world.settle()
            nursery.start_soon(world.keep_time)
            await trio.lowlevel.checkpoint()
            yield world
        finally:
            await world.aclose()
            server.close()
            nursery.cancel_scope.cancel()
