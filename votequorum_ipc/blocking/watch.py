"""Quorum as a whole for programs without an event loop: `cluster_status` and `watch_quorum`.

Strategy: as for the handles, a watcher here holds an asynchronous one and runs its questions to their end.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Self

from ..follow import cluster_status as async_cluster_status
from ..ipc import Address
from ..types import ClusterStatus, QuorumView
from ..watch import PATIENCE
from ..watch import QuorumWatcher as AsyncQuorumWatcher
from ..watch import watch_quorum as async_watch_quorum
from .handle import call


def cluster_status(
    address: Address = None, *, server_uids: Collection[int] | None = None, timeout: float | None = None
) -> ClusterStatus:
    """Connect, read the status of the cluster as this node knows it, and disconnect.

    Arguments and errors are those of `votequorum_ipc.cluster_status`. Raises `Timeout` after `timeout`
    seconds; None waits as long as it takes.
    """
    return call(async_cluster_status(address, server_uids=server_uids), timeout)


class QuorumWatcher(Iterator[QuorumView]):
    """Yields views of quorum: `for view in watcher`, or `watcher.current()`.

    Made by `watch_quorum`; a context manager. It belongs to the thread that made it. Raises `BadHandle` after
    the block. A call that raises `Timeout` loses no change.
    """

    def __init__(self, watcher: AsyncQuorumWatcher) -> None:
        """Not public: use `watch_quorum`."""
        self._watcher = watcher

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __next__(self) -> QuorumView:
        return self.next_view()

    def next_view(self, *, timeout: float | None = None) -> QuorumView:
        """Wait for the next view: the first at once, then one after each change.

        Raises `Timeout` if there is none within `timeout` seconds; asking again loses nothing.
        """
        return call(self._watcher.__anext__(), timeout)

    def current(self) -> QuorumView:
        """The current view. Asks the daemon, or tries once to connect, for at most `patience` seconds."""
        return call(self._watcher.current(), None)

    def close(self) -> None:
        """End the connections."""
        call(self._watcher.aclose(), None)


def watch_quorum(
    address: str | os.PathLike[str] | None = None,
    *,
    patience: float | None = PATIENCE,
    require_provider: bool = True,
    server_uids: Collection[int] | None = None,
) -> QuorumWatcher:
    """Watch quorum during the block, through restarts of the daemon.

    ```python
    with watch_quorum() as watcher:
        for view in watcher:
            if not view.state:
                stop_services()
    ```

    Arguments, views and errors are those of `votequorum_ipc.watch_quorum`.
    """
    return QuorumWatcher(
        async_watch_quorum(
            address, patience=patience, require_provider=require_provider, server_uids=server_uids
        )
    )
