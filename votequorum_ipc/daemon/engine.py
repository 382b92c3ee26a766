"""Runs the model of a cluster: takes clients' requests, delivers outputs, and advances time.

Strategy: every change of the cluster goes through `apply`, which hands the model's outputs to the clients
before it returns. Nothing runs by itself: time passes in `advance` or, within `keep_time`, in real time. The
services of the nodes stand on top of this, and `Simulation` on top of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ParamSpec

import trio

from ..cluster import (
    Cluster,
    ClusterConfig,
    Conn,
    GetInfo,
    GetQuorate,
    GetType,
    Latency,
    ModelGetType,
    Output,
    Outputs,
    Request,
    ServiceKind,
)

P = ParamSpec("P")

_READS = (GetInfo, GetQuorate, GetType, ModelGetType)
"""Requests that change nothing visible to others."""


class Engine:
    """A model, and the clients that receive its outputs."""

    def __init__(
        self, config: ClusterConfig, on_change: Callable[[], None], latency: Latency | None = None
    ) -> None:
        """`on_change` is called after each change, once the clients have their outputs."""
        self.model = Cluster(config, latency)
        self._on_change = on_change
        self._receivers: dict[Conn, Callable[[Output], None]] = {}
        self._happened = trio.Event()
        self._alarms: dict[int, tuple[float, Callable[[], None]]] = {}
        self._alarms_made = itertools.count()
        self._kept_since: float | None = None
        """When the clock was last read; None outside `keep_time`."""

    # --- clients ---

    def attach(self, nodeid: int, kind: ServiceKind, receive: Callable[[Output], None]) -> Conn:
        """A client has connected to a node's service; `receive` takes the model's outputs for it."""
        conn = self.model.connect(nodeid, kind)
        self._receivers[conn] = receive
        return conn

    def detach(self, conn: Conn) -> None:
        """A client is gone."""
        if self._receivers.pop(conn, None) is not None:
            self.model.disconnect(conn)

    def ask(self, conn: Conn, request: Request) -> None:
        """A client asks; the response goes to it, now or later."""
        if isinstance(request, _READS):
            self._catch_up()
            self._deliver(self.model.request(conn, request))
        else:
            self.apply(self.model.request, conn, request)

    # --- changes and time ---

    def apply(self, change: Callable[P, Outputs], *args: P.args, **kwargs: P.kwargs) -> None:
        """Carry out a change of the model, and deliver its outputs."""
        self._catch_up()
        self._deliver(change(*args, **kwargs))
        self._on_change()
        self._happened.set()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, and deliver the outputs. Raises ValueError for a negative time."""
        self._catch_up()
        self._let_pass(seconds)
        self._on_change()
        self._happened.set()

    def now(self) -> float:
        """The cluster's current time in seconds."""
        self._catch_up()
        return self.model.now

    def set_alarm(self, seconds: float, action: Callable[[], None]) -> int:
        """Do something after this much of the cluster's time. Returns a number for `cancel_alarm`."""
        number = next(self._alarms_made)
        self._alarms[number] = self.now() + seconds, action
        self._happened.set()
        return number

    def cancel_alarm(self, number: int) -> None:
        """Cancel an alarm. Does nothing if it has gone off."""
        self._alarms.pop(number, None)

    async def keep_time(self) -> None:
        """Let the cluster's time pass in real time, until cancelled."""
        self._kept_since = trio.current_time()
        try:
            while True:
                deadlines = [deadline for deadline, _ in self._alarms.values()]
                if (deadline := self.model.next_deadline()) is not None:
                    deadlines.append(deadline)
                self._happened = trio.Event()
                with trio.move_on_after(min(deadlines, default=float("inf")) - self.model.now):
                    await self._happened.wait()
                self.advance(0)
        finally:
            self._kept_since = None

    async def settled(self) -> None:
        """Wait until no multicast is under way and no node is shutting down, while `keep_time` runs."""
        await trio.lowlevel.checkpoint()
        while not self.model.is_settled:
            await self._happened.wait()

    async def happened(self) -> None:
        """Wait until something may have changed, while `keep_time` runs."""
        await self._happened.wait()

    def _catch_up(self) -> None:
        """Within `keep_time`, advance the model by the time since the last input."""
        if self._kept_since is not None:
            now = trio.current_time()
            passed, self._kept_since = now - self._kept_since, now
            self._let_pass(passed)

    def _let_pass(self, seconds: float) -> None:
        """Advance the model, and run the alarms that fall due, each at its own time."""
        end = self.model.now + seconds
        while self._alarms:
            number, (deadline, action) = min(self._alarms.items(), key=lambda item: item[1][0])
            if deadline > end:
                break
            self._deliver(self.model.advance(max(0.0, deadline - self.model.now)))
            if self._alarms.pop(number, None):
                action()
        self._deliver(self.model.advance(max(0.0, end - self.model.now) if seconds >= 0 else seconds))

    def _deliver(self, outputs: Outputs) -> None:
        for conn, output in outputs:
            receive = self._receivers.get(conn)
            if receive is not None:
                receive(output)
