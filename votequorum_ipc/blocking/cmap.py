"""A blocking handle on the cmap service: `votequorum_ipc.Cmap` without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..cmap import Cmap as AsyncCmap
from ..cmap import KeyChange, TrackType, Value
from ..ipc import Address
from .handle import Handle, call


class Cmap(Handle[KeyChange]):
    """A blocking handle on the cmap service: `votequorum_ipc.Cmap` without an event loop.

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: AsyncCmap

    @classmethod
    def initialize(
        cls,
        *,
        notify: Callable[[KeyChange], None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Cmap:
        """Connect to the service (cmap_initialize(3)). Arguments and errors are `Votequorum.initialize`'s."""
        return cls(
            call(AsyncCmap.initialize(notify=notify, address=address, server_uids=server_uids), timeout)
        )

    def get(self, key: str, *, timeout: float | None = None) -> Value:
        """The value of a key (cmap_get(3)).

        Raises `NotExist` when there is none, `TryAgain` for one that grows faster than it can be read.
        """
        return call(self._handle.get(key), timeout)

    def keys(self, prefix: str = "", *, timeout: float | None = None) -> list[str]:
        """The names of all keys that begin with `prefix`, in cmap's order (cmap_iter_init(3))."""
        return call(self._handle.keys(prefix), timeout)

    def items(self, prefix: str = "", *, timeout: float | None = None) -> dict[str, Value]:
        """All keys that begin with `prefix`, with their values. A key deleted meanwhile is left out."""
        return call(self._handle.items(prefix), timeout)

    def get_or_none(self, key: str, *, timeout: float | None = None) -> Value | None:
        """The value of a key, or None when there is none."""
        return call(self._handle.get_or_none(key), timeout)

    def track_add(self, key: str, changes: TrackType, *, timeout: float | None = None) -> int:
        """Have a `KeyChange` sent for each change of a key, or of all keys with a prefix (cmap_track_add(3)).

        Gives the number that the events carry and `track_delete` takes.
        """
        return call(self._handle.track_add(key, changes), timeout)

    def track_delete(self, number: int, *, timeout: float | None = None) -> None:
        """End what `track_add` began (cmap_track_delete(3)). Raises `InvalidParam` for an unknown number."""
        call(self._handle.track_delete(number), timeout)
