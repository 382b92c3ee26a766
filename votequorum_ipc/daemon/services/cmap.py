"""The cmap service: a node's keys, to read, iterate over and follow; one can be written, to end wait_for_all.

Strategy: the keys are what the configuration says, and what the model shows; they are put together when
somebody asks, and kept until the next input to the cluster. Nothing is told when a key changes: after each
input they are compared with the ones before, if a client tracks any. Source: exec/cmap.c and
exec/icmap.c of corosync 3.1.7.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from ...errors import CsErrorCode
from ...types import ALL_TRACK_TYPES, TrackType, ValueType
from ...wire import cmap as wire
from ..connection import ServerConnection
from ..engine import Engine
from ..limits import MAX_HANDLES
from ..service import Route, routes
from .base import NodeService
from .keys import CmapKeys, Key, Members, configured, runtime

CANCEL_WAIT_FOR_ALL: Final = "quorum.cancel_wait_for_all"
"""The key that an operator sets to 1 (votequorum(5))."""

_KNOWN_BITS: Final = int(ALL_TRACK_TYPES)
"""A number: the complement of all flags of an enumeration has none of the bits that are no flag."""


@dataclass
class _Tracker:
    """What a client follows. `number` is the client's own name for it."""

    key: str
    kinds: TrackType
    number: int

    def follows(self, key: str, change: TrackType) -> bool:
        matches = key.startswith(self.key) if TrackType.PREFIX in self.kinds else key == self.key
        return matches and change in self.kinds


@dataclass
class _State:
    """What a client has open."""

    iterators: dict[int, Iterator[str]] = field(default_factory=dict)
    trackers: dict[int, _Tracker] = field(default_factory=dict)
    handles: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def full(self) -> bool:
        return len(self.iterators) + len(self.trackers) >= MAX_HANDLES


class CmapService(NodeService):
    """The service of one node."""

    name = "cmap"

    def __init__(self, engine: Engine, nodeid: int, transport: str) -> None:
        super().__init__(engine, nodeid, transport)
        self._read = self.config
        self._configured = configured(self._read, nodeid, transport)
        self._members = Members(self.config)
        self._clients: dict[ServerConnection, _State] = {}
        self._known: CmapKeys | None = None
        """The keys since the last change, if anybody has asked for them."""

    def keys(self) -> CmapKeys:
        """All current keys, in cmap's order."""
        if self._known is None:
            now = self._configured | self._members.keys() | runtime(self.node.runtime)
            self._known = dict(sorted(now.items()))
        return self._known

    def connected(self, client: ServerConnection) -> None:
        self._clients[client] = _State()

    def disconnected(self, client: ServerConnection) -> None:
        self._clients.pop(client, None)

    # --- following changes ---

    def changed(self) -> None:
        if self._read is not self.config:
            self._read = self.config
            self._configured = configured(self._read, self.nodeid, self.transport)
            self._members.read(self._read)
        self._members.update(self.node.members)
        before, self._known = self._known, None
        if before is None or not any(state.trackers for state in self._clients.values()):
            return
        now = self.keys()
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                self._tell(key, before.get(key), now.get(key))

    def _tell(self, key: str, old: Key | None, new: Key | None) -> None:
        change = TrackType.ADD if old is None else TrackType.DELETE if new is None else TrackType.MODIFY
        for client, state in list(self._clients.items()):
            for tracker in list(state.trackers.values()):
                if tracker.follows(key, change):
                    client.notify(_notification(tracker.number, key, change, old, new))

    def _track_add(self, client: ServerConnection, request: Any) -> None:
        state, error, handle = self._clients[client], CsErrorCode.OK, 0
        if request.track_type & ~_KNOWN_BITS:
            error = CsErrorCode.INVALID_PARAM
        elif state.full():
            error = CsErrorCode.NO_RESOURCES
        else:
            handle = next(state.handles)
            kinds = TrackType(request.track_type)
            state.trackers[handle] = _Tracker(request.key_name, kinds, request.track_inst_handle)
            # What its first change will be compared with.
            self.keys()
        client.respond(wire.TRACK_ADD_RESPONSE.encode(error=error, track_handle=handle))

    def _track_delete(self, client: ServerConnection, request: Any) -> None:
        tracker = self._clients[client].trackers.pop(request.track_handle, None)
        error = CsErrorCode.OK if tracker else CsErrorCode.BAD_HANDLE
        number = tracker.number if tracker else 0
        client.respond(wire.TRACK_DELETE_RESPONSE.encode(error=error, track_inst_handle=number))

    # --- reading ---

    def _get(self, client: ServerConnection, request: Any) -> None:
        key = self.keys().get(request.key_name)
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
            # As long as the room that was offered, which may be none.
            value = key.raw.ljust(room, b"\0")[:room]
            response = wire.GET_RESPONSE.encode(value_len=len(key.raw), type=key.type, value=value)
        client.respond(response)

    def _iter_init(self, client: ServerConnection, request: Any) -> None:
        state, error, handle = self._clients[client], CsErrorCode.OK, 0
        if state.full():
            error = CsErrorCode.NO_RESOURCES
        else:
            handle = next(state.handles)
            names = [name for name in self.keys() if name.startswith(request.prefix)]
            state.iterators[handle] = iter(names)
        client.respond(wire.ITER_INIT_RESPONSE.encode(error=error, iter_handle=handle))

    def _iter_next(self, client: ServerConnection, request: Any) -> None:
        iterator = self._clients[client].iterators.get(request.iter_handle)
        keys = self.keys()
        name = next((name for name in iterator or () if name in keys), None)
        if name is None:
            error = CsErrorCode.BAD_HANDLE if iterator is None else CsErrorCode.NO_SECTIONS
            response = wire.ITER_NEXT_RESPONSE.encode(error=error, key_name="", value_len=0, type=0)
        else:
            type_, raw = keys[name]
            response = wire.ITER_NEXT_RESPONSE.encode(key_name=name, value_len=len(raw), type=type_)
        client.respond(response)

    def _iter_finalize(self, client: ServerConnection, request: Any) -> None:
        iterator = self._clients[client].iterators.pop(request.iter_handle, None)
        error = CsErrorCode.BAD_HANDLE if iterator is None else CsErrorCode.OK
        client.respond(wire.ITER_FINALIZE_RESPONSE.encode(error=error))

    def _set_current_map(self, client: ServerConnection, request: Any) -> None:
        state, error = self._clients[client], CsErrorCode.OK
        if state.iterators or state.trackers:
            error = CsErrorCode.BUSY
        elif request.map != wire.MAP_DEFAULT:
            error = CsErrorCode.NOT_EXIST
        client.respond(wire.SET_CURRENT_MAP_RESPONSE.encode(error=error))

    # --- writing ---

    def _set(self, client: ServerConnection, request: Any) -> None:
        error = CsErrorCode.ACCESS
        if request.key_name == CANCEL_WAIT_FOR_ALL:
            error = CsErrorCode.OK
            # votequorum acts on any number above 0, and puts it back to 0 itself.
            self._configured[CANCEL_WAIT_FOR_ALL] = Key.of(ValueType.UINT8, 0)
            self.changed()
            if request.type == ValueType.UINT8 and any(request.value):
                self.engine.apply(self.engine.model.cancel_wait_for_all, self.nodeid)
        client.respond(wire.SET_RESPONSE.encode(error=error))

    def _delete(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.DELETE_RESPONSE.encode(error=CsErrorCode.ACCESS))

    def _adjust_int(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.ADJUST_INT_RESPONSE.encode(error=CsErrorCode.ACCESS))

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
