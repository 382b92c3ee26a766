"""Whatever calls programs make, the embedded daemon answers them as corosync does, and sends the same events.

A state machine opens connections to both, makes the same call on each, valid or not, and compares: the
result or the error; then, once both have settled, what getinfo says, and the events of every connection, in
order. Ring ids differ between the two, so the current ring counts as equal.

Not compared is what the model of the embedded daemon does on purpose not as corosync 3.1.7 does (its
docstring lists it): votes beyond 8 bits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fuzz.target import Target
from tests.real import leftovers
from tests.real.config import Config, Device
from tests.real.daemon import Daemon, one_node
from votequorum_ipc import CsError, NodelistNotification, Quorum, RingId, TrackFlags, Votequorum
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig
from votequorum_ipc.strategies.calls import Call, calls
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

T = TypeVar("T")

SETTLING: Final = 3.0
"""Seconds in which both must come to say the same: corosync answers before it acts."""

MOST_VOTES: Final = 100
"""Beyond 8 bits for the quorum, corosync counts differently."""

NOW: Final = RingId(0, 0)
"""Stands for the current ring."""

Handle = Votequorum | Quorum


class Disagreement(AssertionError):
    """The embedded daemon is not like corosync."""


class Side:
    """One of the two daemons, and the connections to it."""

    def __init__(self, name: str, connect: Callable[[str], Awaitable[Handle]]) -> None:
        self.name = name
        self._connect = connect
        self.handles: dict[tuple[str, int], Handle] = {}
        self.ring = NOW

    async def open(self) -> None:
        """Make the connection that everything is asked on, and learn the current ring."""
        self.observer = await self._connect("votequorum")
        assert isinstance(self.observer, Votequorum)
        await self.observer.trackstart(flags=TrackFlags.CURRENT)
        while not isinstance(event := await self.observer.next_event(), NodelistNotification):
            pass
        self.ring = event.ring_id

    async def make(self, call: Call) -> Any:
        """Make a call; its result, or the name of its error."""
        key = call.service, call.connection
        try:
            if key not in self.handles:
                self.handles[key] = await self._connect(call.service)
            arguments = dict(call.arguments)
            if "ring_id" in arguments:
                arguments["ring_id"] = self._ring_for(arguments["ring_id"])
            return await getattr(self.handles[key], call.method)(**arguments)
        except CsError as error:
            return type(error).__name__

    def _ring_for(self, drawn: RingId | None) -> RingId:
        """A ring id of this daemon. A drawn one must not be the current one by chance."""
        return self.ring if drawn is None else drawn._replace(seq=drawn.seq | 1 << 63)

    async def hang_up(self, service: str, number: int) -> None:
        """Close a connection, if it is open."""
        if handle := self.handles.pop((service, number), None):
            await handle.finalize()

    async def state(self) -> tuple[Any, dict[tuple[str, int], int]]:
        """What there is to agree on: getinfo, and how many events wait on each connection."""
        assert isinstance(self.observer, Votequorum)
        waiting = {key: handle.connection.queued_events() for key, handle in self.handles.items()}
        return await self.observer.getinfo(), waiting

    async def events(self) -> dict[tuple[str, int], list[Any]]:
        """The queued events, with `NOW` for the current ring."""
        taken: dict[tuple[str, int], list[Any]] = {}
        for key, handle in self.handles.items():
            taken[key] = [
                self._comparable(await handle.next_event()) for _ in range(handle.connection.queued_events())
            ]
        return taken

    def _comparable(self, event: Any) -> Any:
        if getattr(event, "ring_id", None) == self.ring:
            return dataclasses.replace(event, ring_id=NOW)
        if getattr(event, "ring_seq", None) == self.ring.seq:
            return dataclasses.replace(event, ring_seq=0)
        return event

    async def close(self) -> None:
        """Close all connections."""
        for handle in self.handles.values():
            await handle.connection.aclose()
        self.handles.clear()
        if hasattr(self, "observer"):
            await self.observer.connection.aclose()


class Portal:
    """A trio run in a separate thread, for handles that live from one step to the next."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._end = trio.Event()
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self._ready.set()
            await self._end.wait()
            nursery.cancel_scope.cancel()

    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run an async function there, to its end."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def close(self) -> None:
        """End the run."""
        self._token.run_sync_soon(self._end.set)
        self._thread.join()


class Differential:
    """A session: a real corosync, and an embedded daemon for each case."""

    def __init__(self, daemon: Daemon, portal: Portal) -> None:
        self.daemon = daemon
        self.portal = portal
        self._pristine: Any = None

    def check(self, case: tuple[Call | tuple[str, int], ...]) -> None:
        """Play a sequence of calls and hang-ups."""
        self.begin()
        try:
            for step in case:
                self.step(step)
        finally:
            self.finish()

    def begin(self) -> None:
        """Two fresh daemons."""
        self.portal.run(self._begin)

    async def _begin(self) -> None:
        self._cluster_ends = trio.Event()
        cluster: SimulatedCluster = await self.portal.nursery.start(self._embedded, self._cluster_ends)
        self.real = Side("corosync", self._connect_real)
        self.embedded = Side("embedded", lambda service: _connect(service, cluster.address(1)))
        for side in (self.real, self.embedded):
            await side.open()
        self._pristine, _ = await self.embedded.state()
        await self._settle("the start")

    async def _embedded(
        self, end: trio.Event, task_status: trio.TaskStatus[SimulatedCluster] = trio.TASK_STATUS_IGNORED
    ) -> None:
        config = ClusterConfig.of(1, device=DeviceConfig(votes=1))
        async with simulated_cluster(config=config, transport=self.daemon.config.transport) as cluster:
            task_status.started(cluster)
            await end.wait()

    async def _connect_real(self, service: str) -> Handle:
        with self.daemon.namespace():
            return await _connect(service, None)

    def step(self, step: Call | tuple[str, int]) -> None:
        """Do the same with both, and compare."""
        self.portal.run(self._step, step)

    async def _step(self, step: Call | tuple[str, int]) -> None:
        if isinstance(step, Call):
            if (
                step.arguments.get("votes", 0) > MOST_VOTES
                or step.arguments.get("expected_votes", 0) > MOST_VOTES
            ):
                return
            results = [await side.make(step) for side in (self.real, self.embedded)]
            if results[0] != results[1]:
                raise Disagreement(
                    f"{step}: corosync gives {results[0]!r}, the embedded daemon {results[1]!r}"
                )
        else:
            for side in (self.real, self.embedded):
                await side.hang_up(*step)
        await self._settle(step)

    async def _settle(self, step: object) -> None:
        until = trio.current_time() + SETTLING
        while (real := await self.real.state()) != (embedded := await self.embedded.state()):
            if trio.current_time() > until:
                raise Disagreement(f"after {step}:\ncorosync says {real},\nthe embedded daemon {embedded}")
            await trio.sleep(0.002)
        events = [await side.events() for side in (self.real, self.embedded)]
        if events[0] != events[1]:
            raise Disagreement(f"after {step}:\ncorosync sent {events[0]},\nthe embedded daemon {events[1]}")

    def finish(self) -> None:
        """Close everything. A corosync whose state has changed is started again."""
        unchanged = self.portal.run(self._finish)
        if not unchanged:
            self.daemon.restart()

    async def _finish(self) -> bool:
        state = None
        with contextlib.suppress(CsError):
            state, _ = await self.real.state()
        for side in (self.real, self.embedded):
            await side.close()
        self._cluster_ends.set()
        return bool(state == self._pristine)


async def _connect(service: str, address: str | None) -> Handle:
    if service == "quorum":
        return await Quorum.initialize(address=address)
    return await Votequorum.initialize(address=address)


def machine(session: Differential, ended: Callable[[tuple[Any, ...]], None]) -> type[RuleBasedStateMachine]:
    """A state machine on a session; `ended` is told each sequence when it is over."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[Call | tuple[str, int]] = []
            session.begin()

        @rule(call=calls())
        def call(self, call: Call) -> None:
            self.steps.append(call)
            session.step(call)

        @rule(service=st.sampled_from(["votequorum", "quorum"]), number=st.integers(0, 2))
        def hang_up(self, service: str, number: int) -> None:
            self.steps.append((service, number))
            session.step((service, number))

        def teardown(self) -> None:
            ended(tuple(self.steps))
            session.finish()

    return Machine


@contextlib.contextmanager
def _session() -> Iterator[Differential]:
    leftovers.reap()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-differential-") as directory,
        contextlib.ExitStack() as stack,
    ):
        config = Config(device=Device())
        daemon = stack.enter_context(one_node(config, Path(directory)))
        portal = stack.enter_context(contextlib.closing(Portal()))
        yield Differential(daemon, portal)


TARGETS = [
    Target(
        name="differential",
        property=__doc__ or "",
        cases=st.lists(calls(), max_size=20).map(tuple),
        session=_session,
        machine=machine,
        examples=8,
        needs_corosync=True,
    )
]
