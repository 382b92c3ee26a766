"""Daemons that tests share: started when first needed, and handed out only in their initial state.

The daemon itself shows whether a test has changed it. Changed expected votes are set back. Any other change
is undone by a restart, which takes half a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from .cluster import Cluster, cluster, three_nodes
from .config import Config, Node
from .cref import CS_OK, CVotequorum
from .daemon import Daemon, one_node
from .waiting import DeadlineError, eventually


@dataclass(frozen=True)
class _Shared:
    """Daemons that belong together, and the initial status of each."""

    daemons: Collection[Daemon]
    first: list[dict[str, Any] | None]

    def unchanged(self) -> bool:
        return _accounts(self.daemons) == self.first and _unused(self.daemons)

    def set_expected_votes_back(self) -> bool:
        """Set the expected votes back; returns whether a test had changed nothing else."""
        for daemon, first in zip(self.daemons, self.first, strict=True):
            if first is None or not daemon.alive or not daemon.answers():
                return False
            with daemon.namespace(), CVotequorum() as votequorum:
                if votequorum.setexpected(first["node_expected_votes"]) != CS_OK:
                    return False
        try:
            return eventually(self.unchanged, within=0.2)
        except DeadlineError:
            return False


class DaemonPool:
    """The shared one-node daemons, by transport and votes, and the shared cluster."""

    def __init__(self, make_directory: Callable[[str], Path]) -> None:
        """`make_directory` makes a new directory for a name."""
        self._make_directory = make_directory
        self._stack = contextlib.ExitStack()
        self._daemons: dict[tuple[str, int | None], tuple[Daemon, _Shared]] = {}
        self._cluster: tuple[Cluster, _Shared] | None = None

    def one_node(self, transport: Literal["shm", "socket"], votes: int | None = None) -> Daemon:
        """The one-node daemon of a transport, in its configured state."""
        key = transport, votes
        if key not in self._daemons:
            config = Config(nodes=(Node(1, votes=votes),), transport=transport)
            daemon = self._stack.enter_context(one_node(config, self._make_directory(f"daemon-{transport}")))
            self._daemons[key] = daemon, _shared([daemon])
        daemon, shared = self._daemons[key]
        if not (shared.unchanged() or (votes and shared.set_expected_votes_back())):
            daemon.restart()
            eventually(shared.unchanged, otherwise=lambda: f"node 1 is as it was{daemon.log_tail()}")
        return daemon

    def cluster3(self) -> Cluster:
        """The three-node cluster: healed, all nodes running and in one membership, votes as configured."""
        if self._cluster is None:
            config = Config(nodes=three_nodes())
            whole = self._stack.enter_context(cluster(config, self._make_directory("cluster3")))
            eventually(whole.quorate, otherwise=whole.describe)
            self._cluster = whole, _shared(whole.nodes.values())
        whole, shared = self._cluster
        whole.restore()
        if not shared.unchanged():
            whole.restart()
            eventually(shared.unchanged, otherwise=whole.describe)
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()


def _shared(daemons: Collection[Daemon]) -> _Shared:
    return _Shared(daemons, _accounts(daemons))


def _accounts(daemons: Collection[Daemon]) -> list[dict[str, Any] | None]:
    """Each daemon's status without the ring id, which changes with every membership."""
    statuses = (daemon.status() if daemon.alive and daemon.answers() else None for daemon in daemons)
    return [
        None if status is None else {**status.info, "members": status.members, "quorate": status.quorate}
        for status in statuses
    ]


def _unused(daemons: Collection[Daemon]) -> bool:
    """Whether no client is connected."""
    # corosync notices the end of a connection, including our own, a moment later.
    try:
        return eventually(lambda: not any(daemon.connections() for daemon in daemons), within=1)
    except DeadlineError:
        return False
