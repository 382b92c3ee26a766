"""Daemons that tests share: started at the first demand, and given out only in the state they started in.

Whether a test has left a daemon changed is asked of the daemon, not of the test. A changed one is restarted:
that takes half a second and is the only way that undoes everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from .config import Config
from .daemon import Daemon, Status, one_node
from .waiting import DeadlineError, eventually


class DaemonPool:
    """One-node daemons by transport."""

    def __init__(self, make_directory: Callable[[str], Path]) -> None:
        """`make_directory` gives a new directory for a name."""
        self._make_directory = make_directory
        self._stack = contextlib.ExitStack()
        self._daemons: dict[str, tuple[Daemon, Status | None]] = {}

    def one_node(self, transport: Literal["shm", "socket"]) -> Daemon:
        """The one-node daemon of a transport, in the state that its configuration says."""
        if transport not in self._daemons:
            directory = self._make_directory(f"daemon-{transport}")
            daemon = self._stack.enter_context(one_node(Config(transport=transport), directory))
            self._daemons[transport] = daemon, daemon.status()
        daemon, first = self._daemons[transport]
        if not _as_started(daemon, first):
            daemon.restart()
            self._daemons[transport] = daemon, daemon.status()
        return daemon

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def _as_started(daemon: Daemon, first: Status | None) -> bool:
    """Whether nobody is connected and nothing has changed."""
    return daemon.alive and daemon.answers() and daemon.status() == first and _unused(daemon)


def _unused(daemon: Daemon) -> bool:
    # corosync notices the end of a connection, our own included, a moment after it has happened.
    try:
        return eventually(lambda: not daemon.connections(), within=1)
    except DeadlineError:
        return False
