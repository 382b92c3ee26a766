"""The cmap service: both maps of a node, to read, iterate over, write and follow.

Strategy: a client uses one of two maps, which answer the same requests; `icmap` and `stats` decide about keys
and who may change them. votequorum watches what clients write below `quorum.`, as in corosync. Source:
exec/cmap.c and exec/votequorum.c (`votequorum_refresh_config`) of corosync 3.1.7.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from ...cluster import ConfigurationError
from ...errors import CsErrorCode
from ...types import ALL_TRACK_TYPES, TrackType, ValueType
from ...wire import cmap as wire
from ..connection import ServerConnection
from ..limits import MAX_HANDLES
from ..service import Route, routes
from .base import LocalNode, NodeService
from .icmap import Icmap
from .keys import Key, rewritten
from .stats import CLEAR, IPCS, NodeStatistics

CANCEL_WAIT_FOR_ALL: Final = "quorum.cancel_wait_for_all"
"""The key that an operator sets to 1 (votequorum(5))."""

_KNOWN_BITS: Final = int(ALL_TRACK_TYPES)
"""A plain number: the complement of all flags of an enumeration lacks the bits that are not flags."""

_COMES_AND_GOES: Final = TrackType.ADD | TrackType.DELETE

_log = logging.getLogger(__name__)


@dataclass
class _Tracker:
    """A key or prefix that a client follows. `number` is the client's own name for it."""

    key: str
    kinds: TrackType
    number: int
    before: Key | None = None
    """A statistic's value when the client was last informed."""

    def rank(self) -> tuple[bool, int]:
        """Trackers of the key itself are informed first, then the longest prefixes (libqb's trie.c)."""
        return TrackType.PREFIX in self.kinds, -len(self.key)

    def follows(self, key: str, change: TrackType) -> bool:
        matches = key.startswith(self.key) if TrackType.PREFIX in self.kinds else key == self.key
        return matches and change in self.kinds


class _Map(Protocol):
    """What both maps can do."""

    def get(self, name: str) -> Key | None: ...
    def names(self, prefix: str = "") -> Iterator[str]: ...
    def set(self, name: str, type_: int, raw: bytes) -> CsErrorCode: ...
    def delete(self, name: str) -> CsErrorCode: ...
    def adjust_int(self, name: str, step: int) -> CsErrorCode: ...


class _StatsMap:
    """The statistics, of which clients can only set `stats.clear.`."""

    def __init__(self, statistics: NodeStatistics) -> None:
        self.get = statistics.get
        self.names = statistics.names
        self._clear = statistics.clear

    def set(self, name: str, type_: int, raw: bytes) -> CsErrorCode:
        return self._clear(name) if name.startswith(CLEAR) else CsErrorCode.ACCESS

    def delete(self, name: str) -> CsErrorCode:
        return CsErrorCode.NOT_SUPPORTED if name.startswith(CLEAR) else CsErrorCode.ACCESS

    def adjust_int(self, name: str, step: int) -> CsErrorCode:
        return self.delete(name)


@dataclass
class _Client:
    """What a client has open, and which map it uses."""

    map: _Map
    iterators: dict[int, Iterator[str]] = field(default_factory=dict)
    trackers: dict[int, _Tracker] = field(default_factory=dict)
    handles: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def full(self) -> bool:
        return len(self.iterators) + len(self.trackers) >= MAX_HANDLES


class CmapService(NodeService):
    """The service of one node."""

    name = "cmap"

    def __init__(self, local: LocalNode) -> None:
        super().__init__(local)
        self._icmap: Icmap = local.icmap
        self._stats = _StatsMap(local.statistics)
        self._clients: dict[ServerConnection, _Client] = {}
        self._link_names: frozenset[str] = frozenset()
        local.clients.watchers.append(self._client_came_or_went)

    def connected(self, client: ServerConnection) -> None:
        super().connected(client)
        self._clients[client] = _Client(self._icmap)

    def disconnected(self, client: ServerConnection) -> None:
        super().disconnected(client)
        self._clients.pop(client, None)
        self._watch()

    # --- following changes ---

    def changed(self) -> None:
        for client, state in list(self._clients.items()):
            if state.map is self._stats:
                for tracker in list(state.trackers.values()):
                    self._look_at_statistic(client, tracker)
        self._look_for_links()

    def _watch(self) -> None:
        """Derive keys at each change only while a client follows them."""
        followed = any(state.map is self._icmap and state.trackers for state in self._clients.values())
        self._icmap.watchers[:] = [self._tell] if followed else []

    def _tell(self, key: str, old: Key | None, new: Key | None) -> None:
        change = TrackType.ADD if old is None else TrackType.DELETE if new is None else TrackType.MODIFY
        self._notify(self._icmap, key, change, old, new)

    def _notify(self, of: _Map, key: str, change: TrackType, old: Key | None, new: Key | None) -> None:
        for client, state in list(self._clients.items()):
            if state.map is of:
                latest_first = reversed(state.trackers.values())
                for tracker in sorted(latest_first, key=_Tracker.rank):
                    if tracker.follows(key, change):
                        client.notify(_notification(tracker.number, key, change, old, new))

    def _look_at_statistic(self, client: ServerConnection, tracker: _Tracker) -> None:
        """Report one statistic that has changed; corosync looks once a second."""
        if TrackType.PREFIX in tracker.kinds:
            return
        key = self._stats.get(tracker.key)
        if key is not None and key != tracker.before:
            tracker.before = key
            # corosync sends the new value in the old one's place as well.
            client.notify(_notification(tracker.number, tracker.key, TrackType.MODIFY, key, key))

    def _client_came_or_went(self, name: str, here: bool) -> None:
        if self._followed_statistics():
            change = TrackType.ADD if here else TrackType.DELETE
            for word in sorted(IPCS):
                self._tell_of_statistic(f"{name}.{word}", change)

    def _look_for_links(self) -> None:
        """Report links that a reload has added or removed."""
        if not self._followed_statistics():
            return
        before, now = self._link_names, frozenset(self._stats.names("stats.knet.node"))
        self._link_names = now
        for key in sorted(now - before):
            self._tell_of_statistic(key, TrackType.ADD)
        for key in sorted(before - now):
            self._notify(self._stats, key, TrackType.DELETE, _GONE, _GONE)

    def _tell_of_statistic(self, key: str, change: TrackType) -> None:
        value = self._stats.get(key)
        self._notify(self._stats, key, change, value, value)

    def _followed_statistics(self) -> bool:
        return any(
            state.map is self._stats and any(each.kinds & _COMES_AND_GOES for each in state.trackers.values())
            for state in self._clients.values()
        )

    def _track_add(self, client: ServerConnection, request: Any) -> None:
        state, error, handle = self._clients[client], CsErrorCode.OK, 0
        if request.track_type & ~_KNOWN_BITS:
            error = CsErrorCode.INVALID_PARAM
        elif state.full():
            error = CsErrorCode.NO_RESOURCES
        elif state.map is self._stats and not _can_follow_statistics(request.track_type):
            error = CsErrorCode.NOT_SUPPORTED
        else:
            handle = next(state.handles)
            self._follow(state, handle, request)
        client.respond(wire.TRACK_ADD_RESPONSE.encode(error=error, track_handle=handle))

    def _follow(self, state: _Client, handle: int, request: Any) -> None:
        # The first change will be compared with this.
        before = state.map.get(request.key_name)
        if state.map is self._stats and not self._followed_statistics():
            self._link_names = frozenset(self._stats.names("stats.knet.node"))
        kinds = TrackType(request.track_type)
        state.trackers[handle] = _Tracker(request.key_name, kinds, request.track_inst_handle, before)
        self._watch()

    def _track_delete(self, client: ServerConnection, request: Any) -> None:
        tracker = self._clients[client].trackers.pop(request.track_handle, None)
        error = CsErrorCode.OK if tracker else CsErrorCode.BAD_HANDLE
        number = tracker.number if tracker else 0
        self._watch()
        client.respond(wire.TRACK_DELETE_RESPONSE.encode(error=error, track_inst_handle=number))

    # --- reading ---

    def _get(self, client: ServerConnection, request: Any) -> None:
        # Bring time up to date: some statistics depend on it.
        self.engine.now()
        key = self._clients[client].map.get(request.key_name)
        room = request.value_len
        error = CsErrorCode.OK
        if wire.GET_RESPONSE.least_size + room > client.max_msg_size:
            error = CsErrorCode.NO_MEMORY
        elif key is None:
            error = CsErrorCode.NOT_EXIST
        elif 0 < room < len(key.raw):
            error = CsErrorCode.INVALID_PARAM
        if key is None or error is not CsErrorCode.OK:
            response = wire.GET_RESPONSE.encode(error=error, value_len=0, type=0, value=b"")
        else:
            # As long as the room that was offered, which may be zero.
            value = key.raw.ljust(room, b"\0")[:room]
            response = wire.GET_RESPONSE.encode(value_len=len(key.raw), type=key.type, value=value)
        client.respond(response)

    def _iter_init(self, client: ServerConnection, request: Any) -> None:
        state, error, handle = self._clients[client], CsErrorCode.OK, 0
        if state.full():
            error = CsErrorCode.NO_RESOURCES
        else:
            handle = next(state.handles)
            state.iterators[handle] = iter([*state.map.names(request.prefix)])
        client.respond(wire.ITER_INIT_RESPONSE.encode(error=error, iter_handle=handle))

    def _iter_next(self, client: ServerConnection, request: Any) -> None:
        state = self._clients[client]
        iterator = state.iterators.get(request.iter_handle)
        for name in iterator or ():
            if (key := state.map.get(name)) is not None:
                response = wire.ITER_NEXT_RESPONSE.encode(
                    key_name=name, value_len=len(key.raw), type=key.type
                )
                break
        else:
            error = CsErrorCode.BAD_HANDLE if iterator is None else CsErrorCode.NO_SECTIONS
            response = wire.ITER_NEXT_RESPONSE.encode(error=error, key_name="", value_len=0, type=0)
        client.respond(response)

    def _iter_finalize(self, client: ServerConnection, request: Any) -> None:
        iterator = self._clients[client].iterators.pop(request.iter_handle, None)
        error = CsErrorCode.BAD_HANDLE if iterator is None else CsErrorCode.OK
        client.respond(wire.ITER_FINALIZE_RESPONSE.encode(error=error))

    def _set_current_map(self, client: ServerConnection, request: Any) -> None:
        state, error = self._clients[client], CsErrorCode.OK
        maps: dict[int, _Map] = {wire.MAP_DEFAULT: self._icmap, wire.MAP_STATS: self._stats}
        if state.iterators or state.trackers:
            error = CsErrorCode.BUSY
        elif request.map not in maps:
            error = CsErrorCode.NOT_EXIST
        else:
            state.map = maps[request.map]
        client.respond(wire.SET_CURRENT_MAP_RESPONSE.encode(error=error))

    # --- writing ---

    def _set(self, client: ServerConnection, request: Any) -> None:
        error = self._write(
            request.key_name,
            lambda: self._clients[client].map.set(request.key_name, request.type, request.value),
        )
        client.respond(wire.SET_RESPONSE.encode(error=error))

    def _delete(self, client: ServerConnection, request: Any) -> None:
        error = self._write(request.key_name, lambda: self._clients[client].map.delete(request.key_name))
        client.respond(wire.DELETE_RESPONSE.encode(error=error))

    def _adjust_int(self, client: ServerConnection, request: Any) -> None:
        error = self._write(
            request.key_name,
            lambda: self._clients[client].map.adjust_int(request.key_name, request.step),
        )
        client.respond(wire.ADJUST_INT_RESPONSE.encode(error=error))

    def _write(self, name: str, write: Callable[[], CsErrorCode]) -> CsErrorCode:
        before = self._icmap.get(name)
        error = write()
        if name.startswith("quorum.") and self._icmap.get(name) != before and self.config.provider:
            self._refresh_votequorum(name, before)
        return error

    def _refresh_votequorum(self, name: str, before: Key | None) -> None:
        """votequorum reads what a client has written.

        A deleted key is still there when votequorum looks, because corosync's map announces a deletion before
        it carries it out. So a deletion has no effect until something else below `quorum.` changes.
        """
        if name == CANCEL_WAIT_FOR_ALL and self._icmap.number(name, ValueType.UINT8):
            # votequorum acts on any number above 0, and puts it back to 0 itself.
            self._icmap.put(name, Key.of(ValueType.UINT8, 0))
            self.engine.apply(self.engine.model.cancel_wait_for_all, self.nodeid)
            return

        def read(key: str) -> Key | None:
            return self._icmap.get(key) or (before if key == name else None)

        try:
            self.engine.apply(self.engine.model.reconfigure, self.nodeid, rewritten(self.config, read))
        except ConfigurationError as error:
            _log.warning("node %d: %s: %s", self.nodeid, name, error)

    routes: ClassVar[dict[int, Route]] = routes(
        (wire.SET, _set),
        (wire.DELETE, _delete),
        (wire.GET, _get),
        (wire.ADJUST_INT, _adjust_int),
        (wire.ITER_INIT, _iter_init),
        (wire.ITER_NEXT, _iter_next),
        (wire.ITER_FINALIZE, _iter_finalize),
        (wire.TRACK_ADD, _track_add),
        (wire.TRACK_DELETE, _track_delete),
        (wire.SET_CURRENT_MAP, _set_current_map),
    )


def _can_follow_statistics(kinds: int) -> bool:
    """For a prefix corosync reports only that keys come and go, both together (`stats_map_track_add`)."""
    return not kinds & TrackType.PREFIX or kinds & int(_COMES_AND_GOES) == int(_COMES_AND_GOES)


_GONE: Final = Key.of(ValueType.UINT64, 0)
"""Stands for the value of a statistic that is gone."""


def _notification(number: int, key: str, change: TrackType, old: Key | None, new: Key | None) -> bytes:
    raw: bytes = wire.NOTIFY_CALLBACK.encode(
        track_inst_handle=number,
        key_name=key,
        event=change,
        new_value_type=new.type if new else 0,
        old_value_type=old.type if old else 0,
        new_value=new.raw if new else b"",
        old_value=old.raw if old else b"",
    )
    return raw
