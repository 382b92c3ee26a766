"""`monitor --exec`: runs a command for each change.

Strategy: changes wait in a queue of limited length, and one command runs at a time. The command gets two
separate things: the change, which may be outdated by then, and the state, which corosync is asked for just
before the command starts. So a command that acts only on the state is right however long the queue was. Its
input is a file in memory, so a command that does not read it blocks nothing. When `monitor` ends, quorum is
no longer followed: the command runs a last time, with the state unknown.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import trio

from ..explain import why_not_quorate
from ..sessions import Outcome, SessionCommand
from ..types import QuorumView
from .common import printable, utc_now
from .following import Notice, state_now

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "quorum": frozenset({"status", "quorum", "lost", "unknown", "stopped"}),
    "membership": frozenset({"membership"}),
    "device": frozenset({"qdevice"}),
    "link": frozenset({"link"}),
    "votes": frozenset({"votes", "expected_votes", "node_votes"}),
}
"""The values of `--on`, and the events that each stands for."""

QUEUE_LIMIT: Final = 1000
"""The most changes that wait for the command. If there are more, the oldest are dropped and counted."""

_STDERR: Final = 2
"""Where a command's output goes, since standard output has the changes."""

_HISTORY: Final = ("event", "quorate")
"""Keys of a change that do not become variables: a command that acted on such a `quorate` would act on the
past."""


class Hook:
    """Runs a command for each change that it is given, one after another."""

    def __init__(
        self,
        command: SessionCommand,
        on: frozenset[str],
        seconds: float,
        now: Callable[[], Awaitable[QuorumView]],
        report: Callable[[Notice, Outcome], None],
    ) -> None:
        """`on` has the events to run for; `seconds` limits each run; `now` asks for the state."""
        self._command = command
        self._on = on
        self._seconds = seconds
        self._now = now
        self._report = report
        self._queue: collections.deque[Notice] = collections.deque()
        self._offered = trio.Event()
        self._dropped = 0

    def offer(self, notice: Notice) -> None:
        """Queue a run of the command for a notice, if `on` has its event."""
        if notice.event not in self._on:
            return
        self._queue.append(notice)
        if len(self._queue) > QUEUE_LIMIT:
            self._drop()
        self._offered.set()

    async def run(self) -> NoReturn:
        """Run the command for each notice, until cancelled; that also ends a running command."""
        while True:
            await self._offered.wait()
            self._offered = trio.Event()
            while self._queue:
                view = await self._now()
                # Only now: if this were cancelled, the notice would not be counted as dropped.
                await self._run(self._queue.popleft(), view)

    async def stop(self) -> None:
        """Tell the command that quorum is no longer followed. Call it after `run` was cancelled."""
        while self._queue:
            self._drop()
        self.offer(Notice({"event": "stopped"}, _stopped_text))
        while self._queue:
            await self._run(self._queue.popleft(), None)

    def _drop(self) -> None:
        self._queue.popleft()
        self._dropped += 1

    async def _run(self, notice: Notice, view: QuorumView | None) -> None:
        dropped, self._dropped = self._dropped, 0
        told = _told(notice, view, dropped)
        try:
            with _file_in_memory(json.dumps(told).encode() + b"\n") as descriptor:
                outcome = await self._command.run(
                    self._seconds, _variables(told), stdin=descriptor, stdout=_STDERR
                )
        except (OSError, ValueError) as error:
            outcome = Outcome(self._command.text, False, f"cannot be started: {error}")
        self._report(notice, outcome)


def _told(notice: Notice, view: QuorumView | None, dropped: int) -> dict[str, Any]:
    """The command's standard input."""
    status = view.status if view else None
    error = view.error if view else None
    return {
        "time": utc_now(),
        "state": state_now(view).value,
        "reason": (why_not_quorate(status) if status else str(error or "monitor has ended")) or None,
        "node_id": status.node_id if status else None,
        "members": [member.node_id for member in status.members] if status else None,
        "dropped": dropped,
        "text": printable(notice.text().plain),
        "change": notice.line(),
    }


def _variables(told: Mapping[str, Any]) -> dict[str, str]:
    """The same as environment variables. Values of a change that are objects are left out."""
    change = told["change"]
    variables = {f"QUORUM_{key.upper()}": value for key, value in told.items() if key != "change"}
    variables["QUORUM_CHANGE"] = change["event"]
    if change["event"] != "status":
        variables |= {
            f"QUORUM_CHANGE_{key.upper()}": value for key, value in change.items() if key not in _HISTORY
        }
    return {name: _word(value) for name, value in variables.items() if not isinstance(value, dict)}


def _word(value: Any) -> str:
    """Empty for unknown, 1 or 0 for true or false, and a list's items separated by blanks."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list | tuple):
        return " ".join(map(_word, value))
    return printable(str(value))


def _stopped_text() -> Any:
    from rich.text import Text

    return Text("monitor has ended: quorum is no longer followed")


@contextlib.contextmanager
def _file_in_memory(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("votequorum-ipc-change")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
