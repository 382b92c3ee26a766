"""The clients of all of a node's services, for the statistics below `stats.ipcs.`.

Strategy: each new connection gets a name made of its service's number, the client's process and a number in
place of the pointer that corosync prints. Source: exec/ipc_glue.c (`cs_ipcs_get_conn_stats`) and exec/stats.c
of corosync 3.1.7.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ..connection import ServerConnection

SERVICE_NUMBERS: Final = {"cmap": 0, "cfg": 1, "quorum": 3, "votequorum": 5}
"""`enum corosync_service_types` of corodefs.h, for the services that are here."""

_FIRST_POINTER: Final = 0x1000


class Clients:
    """The connections of one node."""

    def __init__(self) -> None:
        self.closed = 0
        self.watchers: list[Callable[[str, bool], None]] = []
        """Called for each connection with the prefix of its statistics' names: with True when it comes, with
        False before it goes."""
        self._names: dict[ServerConnection, str] = {}
        self._by_name: dict[str, ServerConnection] = {}
        self._pointers = itertools.count(_FIRST_POINTER, 0x10)

    @property
    def active(self) -> int:
        """How many are connected."""
        return len(self._names)

    def add(self, service: str, client: ServerConnection) -> None:
        """A client has connected."""
        number = SERVICE_NUMBERS[service]
        name = f"stats.ipcs.service{number}.{client.credentials.pid}.{next(self._pointers):#x}"
        self._names[client] = name
        self._by_name[name] = client
        self._tell(name, here=True)

    def remove(self, client: ServerConnection) -> None:
        """A client is gone."""
        name = self._names.get(client)
        if name is not None:
            self._tell(name, here=False)
            del self._names[client], self._by_name[name]
            self.closed += 1

    def clear(self) -> None:
        """Count from 0 again."""
        self.closed = 0
        for client in self._names:
            client.counts.clear()

    def names(self, words: Sequence[str]) -> Iterator[str]:
        """The names of the statistics that all connections have."""
        return (f"{name}.{word}" for name in self._by_name for word in words)

    def value(self, name: str, word: str) -> int | str | None:
        """A statistic of one connection: the one with this name, which is the rest of the key."""
        client = self._by_name.get(name)
        if client is None:
            return None
        if word == "procname":
            return _process(client.credentials.pid)
        return client.counts[word]

    def _tell(self, name: str, *, here: bool) -> None:
        for watcher in list(self.watchers):
            watcher(name, here)


def _process(pid: int) -> str:
    """The kernel's name of a process; empty if it is gone or not visible."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    return ""
