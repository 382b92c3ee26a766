"""The model of a cluster at work: clients put requests to it, get its outputs, and see time pass.

Strategy: every change of the cluster goes through `apply`, which hands the model's outputs to the clients
before it returns. Nothing runs by itself: time passes when `advance` says so or, within `keep_time`, as the
clock does. The services of the nodes stand on top of this, and `Simulation` on top of them.
"""

from __future__ import annotations

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
"""Requests that change nothing that others can see."""


class Engine:
    """A model, and those who wait for its outputs."""

    def __init__(
        self, config: ClusterConfig, on_change: Callable[[], None], latency: Latency | None = None
    ) -> None:
        """`on_change` is called after each change, once the clients have their outputs."""
        self.model = Cluster(config, latency)
        self._on_change = on_change
        self._receivers: dict[Conn, Callable[[Output], None]] = {}
        self._happened = trio.Event()
        self._kept_since: float | None = None
        """When the clock was last read; None outside of `keep_time`."""

    # --- clients ---

    def attach(self, nodeid: int, kind: ServiceKind, receive: Callable[[Output], None]) -> Conn:
        """A client has connected to a service of a node; `receive` takes what the model sends it."""
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
        """Carry out a change of the model, and deliver what comes of it."""
        self._catch_up()
        self._deliver(change(*args, **kwargs))
        self._on_change()
        self._happened.set()

    async def keep_time(self) -> None:
        """Let the cluster's time pass as the clock does, until cancelled."""
        self._kept_since = trio.current_time()
        try:
            while True:
                deadline = self.model.next_deadline()
                self._happened = trio.Event()
                with trio.move_on_after(float("inf") if deadline is None else deadline - self.model.now):
                    await self._happened.wait()
                self.apply(self.model.advance, 0)
        finally:
            self._kept_since = None

    async def settled(self) -> None:
        """Wait until no multicast is under way and no node is shutting down. Somebody has to `keep_time`."""
        await trio.lowlevel.checkpoint()
        while not self.model.is_settled:
            await self._happened.wait()

    def _catch_up(self) -> None:
        """Within `keep_time`, let the time pass that has passed since the last input."""
        if self._kept_since is not None:
            now = trio.current_time()
            passed, self._kept_since = now - self._kept_since, now
            self._deliver(self.model.advance(passed))

    def _deliver(self, outputs: Outputs) -> None:
        for conn, output in outputs:
            receive = self._receivers.get(conn)
            if receive is not None:
                receive(output)
