"""A blocking handle on the cmap service: `votequorum_ipc.Cmap` without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..cmap import Cmap as AsyncCmap
from ..ipc import Address
from ..types import KeyChange, MapName, TrackType, TypedValue, Value, ValueType
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
        map: MapName = "cmap",
        notify: Callable[[KeyChange], None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Cmap:
        """Connect to one of the service's maps (cmap_initialize(3), cmap_initialize_map(3)).

        `notify` is what `dispatch` calls after `track_add`. Other arguments and errors are
        `Votequorum.initialize`'s; also `NotExist` if the daemon has no such map.
        """
        return cls(
            call(
                AsyncCmap.initialize(map=map, notify=notify, address=address, server_uids=server_uids),
                timeout,
            )
        )

    def get(self, key: str, *, timeout: float | None = None) -> Value:
        """The value of a key (cmap_get(3)).

        Raises `NotExist` when there is no such key, `TryAgain` for a value that grows faster than it can be
        read.
        """
        return call(self._handle.get(key), timeout)

    def get_typed(self, key: str, *, timeout: float | None = None) -> TypedValue:
        """The value of a key and its type. Raises as `get` does."""
        return call(self._handle.get_typed(key), timeout)

    def keys(self, prefix: str = "", *, timeout: float | None = None) -> list[str]:
        """The names of all keys that begin with `prefix`, in cmap's order (cmap_iter_init(3)).

        Raises `MessageError` for more than `MAX_LISTED_KEYS` keys, or for a name without that prefix.
        """
        return call(self._handle.keys(prefix), timeout)

    def items(self, prefix: str = "", *, timeout: float | None = None) -> dict[str, Value]:
        """All keys that begin with `prefix`, with their values. A key that is deleted meanwhile is left
        out.
        """
        return call(self._handle.items(prefix), timeout)

    def get_all(self, keys: Sequence[str], *, timeout: float | None = None) -> dict[str, Value]:
        """`get` for several keys, sent together. Keys that do not exist are left out."""
        return call(self._handle.get_all(keys), timeout)

    def get_or_none(self, key: str, *, timeout: float | None = None) -> Value | None:
        """The value of a key, or None when there is none."""
        return call(self._handle.get_or_none(key), timeout)

    def set(
        self, key: str, value: Value, kind: ValueType | None = None, *, timeout: float | None = None
    ) -> None:
        """Set a key, creating it if needed (cmap_set(3) and its variants).

        `kind` can be left out for text (STRING) and bytes (BINARY). Raises `InvalidParam` for a number
        without a type, a value that its type cannot hold, or one of more than `VALUE_MAXLEN` bytes, `Access`
        for a key that cannot be changed while corosync runs, `NameTooLong` for an invalid name. In the
        statistics only `stats.clear.*` can be set.
        """
        call(self._handle.set(key, value, kind), timeout)

    def delete(self, key: str, *, timeout: float | None = None) -> None:
        """Delete a key (cmap_delete(3)). Raises `NotExist` when there is no such key, `Access` as `set`
        does.
        """
        call(self._handle.delete(key), timeout)

    def adjust_int(self, key: str, step: int, *, timeout: float | None = None) -> None:
        """Add an int32 to an integer, which wraps around as in C (cmap_inc(3) with another step).

        Raises `NotExist` when there is no such key, `InvalidParam` when its value is not an integer or the
        step is not an int32, `Access` as `set` does.
        """
        call(self._handle.adjust_int(key, step), timeout)

    def inc(self, key: str, *, timeout: float | None = None) -> None:
        """Add 1 to an integer (cmap_inc(3)). Raises as `adjust_int` does."""
        call(self._handle.inc(key), timeout)

    def dec(self, key: str, *, timeout: float | None = None) -> None:
        """Subtract 1 from an integer (cmap_dec(3)). Raises as `adjust_int` does."""
        call(self._handle.dec(key), timeout)

    def track_add(self, key: str, changes: TrackType, *, timeout: float | None = None) -> int:
        """Have a `KeyChange` sent for each change of a key, or of all keys with a prefix (cmap_track_add(3)).

        Returns the number that the events carry and `track_delete` takes. If cancelled, it leaves nothing in
        the daemon, but an event with that number may have come before. Raises `InvalidParam` for invalid
        `changes`, and `NotSupported` for a prefix of the statistics unless `changes` includes ADD and
        DELETE: for those corosync reports only that keys come and go.
        """
        return call(self._handle.track_add(key, changes), timeout)

    def track_delete(self, number: int, *, timeout: float | None = None) -> None:
        """End what `track_add` began (cmap_track_delete(3)). Raises `InvalidParam` for an unknown number."""
        call(self._handle.track_delete(number), timeout)
