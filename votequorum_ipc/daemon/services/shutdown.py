"""A requested shutdown: the votes of the clients that track, and the decision.

Strategy: one shutdown at a time, with corosync's counters: how many clients are expected to vote, how many
have agreed, how many have refused. A client that leaves agrees. When all have voted, or the time is up, the
requester gets its answer. Source: exec/cfg.c of corosync 3.1.7, whose quirks are kept where a client can see
them: a reply counts each time it is given, no matter which client gives it; the news that time was up goes
only to trackers that once asked for a shutdown themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...errors import CsErrorCode
from ...types import ShutdownFlags
from ...wire import cfg as wire
from ..connection import ServerConnection
from ..engine import Engine

DEFAULT_SHUTDOWN_TIMEOUT: Final = 5000
"""How many milliseconds the trackers have (exec/cfg.c)."""


class Shutdown:
    """The shutdowns of one node."""

    def __init__(self, engine: Engine, carry_out: Callable[[], None]) -> None:
        """`carry_out` shuts the node down."""
        self._engine = engine
        self._carry_out = carry_out
        self._trackers: dict[ServerConnection, bool | None] = {}
        """The clients that track, with each one's last vote."""
        self._asked_before: set[ServerConnection] = set()
        self._requester: ServerConnection | None = None
        self._flags = 0
        self._agreed = self._refused = self._expected = 0
        self._alarm = -1

    def track(self, client: ServerConnection) -> None:
        """Ask this client from now on, also about a shutdown that is under way."""
        if client in self._trackers:
            return
        self._trackers[client] = None
        if self._requester is not None:
            self._expected += 1
            client.notify(self._question(CsErrorCode.OK))

    def request(self, client: ServerConnection, flags: int, timeout: int) -> None:
        """A client asks for a shutdown; the answer comes now or when it is decided. `timeout` is in ms."""
        if flags == ShutdownFlags.IMMEDIATE:
            _answer(client, CsErrorCode.OK)
            self._carry_out()
            return
        if self._requester is not None:
            _answer(client, CsErrorCode.EXIST)
            return
        self._asked_before.add(client)
        self._requester, self._flags = client, flags
        self._agreed = self._refused = 0
        others = [tracker for tracker in self._trackers if tracker is not client]
        self._expected = len(others)
        for tracker in others:
            self._trackers[tracker] = None
        if others:
            self._alarm = self._engine.set_alarm(timeout / 1000, self._time_is_up)
            for tracker in others:
                tracker.notify(self._question(CsErrorCode.OK))
        else:
            self._decide()

    def reply(self, client: ServerConnection, agrees: bool) -> CsErrorCode:
        """A vote. ACCESS when no shutdown is under way."""
        if self._requester is None:
            return CsErrorCode.ACCESS
        if client in self._trackers:
            self._trackers[client] = agrees
        self._agreed += agrees
        self._refused += not agrees
        return CsErrorCode.OK

    def forget(self, client: ServerConnection) -> None:
        """A client stops tracking, or is gone. It agrees; a requester calls its shutdown off."""
        if client is self._requester:
            self._finish(CsErrorCode.BUSY)
        if client in self._trackers:
            vote = self._trackers.pop(client)
            self._agreed -= vote is True
            self._refused -= vote is False
            self._agreed += 1
            self.check()

    def end(self, client: ServerConnection) -> None:
        """A client is gone."""
        self.forget(client)
        self._asked_before.discard(client)

    def check(self) -> None:
        """Decide, if all have voted."""
        if self._requester is not None and self._agreed + self._refused >= self._expected:
            self._decide()

    def _decide(self) -> None:
        if self._agreed >= self._expected or self._flags == ShutdownFlags.REGARDLESS:
            self._finish(CsErrorCode.OK)
            self._carry_out()
        else:
            self._finish(CsErrorCode.BUSY)

    def _time_is_up(self) -> None:
        self._refused = self._expected
        self.check()
        for tracker in self._trackers.keys() & self._asked_before:
            tracker.notify(self._question(CsErrorCode.TIMEOUT))

    def _finish(self, error: CsErrorCode) -> None:
        requester, self._requester = self._requester, None
        self._engine.cancel_alarm(self._alarm)
        if requester is not None:
            _answer(requester, error)

    def _question(self, error: CsErrorCode) -> bytes:
        raw: bytes = wire.TESTSHUTDOWN.encode(error=error, flags=self._flags)
        return raw


def _answer(client: ServerConnection, error: CsErrorCode) -> None:
    client.respond(wire.TRYSHUTDOWN_RESPONSE.encode(error=error))
