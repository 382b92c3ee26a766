"""libvotequorum (votequorum.h, and the man pages votequorum_*(3))."""

from __future__ import annotations

import ctypes
from typing import Any

from .library import CHandle, Handle, RingId, integers, load

U32, U64 = ctypes.c_uint32, ctypes.c_uint64


def knows_extra_info() -> bool:
    """Whether this release has the calls for a device's extra info, which are newer than corosync 3.1.10."""
    return hasattr(load("votequorum"), "votequorum_set_qdevice_extra_info")


class _Node(ctypes.Structure):
    _fields_ = (("nodeid", U32), ("state", U32))


class _Info(ctypes.Structure):
    _fields_ = (
        ("node_id", U32),
        ("node_state", U32),
        ("node_votes", U32),
        ("node_expected_votes", U32),
        ("highest_expected", U32),
        ("total_votes", U32),
        ("quorum", U32),
        ("flags", U32),
        ("qdevice_votes", U32),
        ("qdevice_name", ctypes.c_char * 255),
    )


_QuorumNotify = ctypes.CFUNCTYPE(None, Handle, U64, U32, U32, ctypes.POINTER(_Node))
_NodelistNotify = ctypes.CFUNCTYPE(None, Handle, U64, RingId, U32, ctypes.POINTER(U32))
_ExpectedVotesNotify = ctypes.CFUNCTYPE(None, Handle, U64, U32)


class _Callbacks(ctypes.Structure):
    _fields_ = (
        ("quorum", _QuorumNotify),
        ("expectedvotes", _ExpectedVotesNotify),
        ("nodelist", _NodelistNotify),
    )


class CVotequorum(CHandle):
    """A votequorum handle.

    `events`: ("quorum", context, quorate, ((nodeid, state), ...)), ("nodelist", context, (ring's nodeid,
    seq), (nodeid, ...)) and ("expectedvotes", context, expected_votes).
    """

    library = "votequorum"

    def _open(self) -> int:
        # ctypes frees callbacks without references, and the library keeps only the functions' addresses.
        self._callbacks = _Callbacks(
            _QuorumNotify(self._on_quorum),
            _ExpectedVotesNotify(self._on_expectedvotes),
            _NodelistNotify(self._on_nodelist),
        )
        initialize = self._library.votequorum_initialize
        return int(initialize(ctypes.byref(self._handle), ctypes.byref(self._callbacks)))

    def getinfo(self, nodeid: int = 0) -> tuple[int, dict[str, int | bytes]]:
        info = _Info()
        error = self.call("getinfo", U32(nodeid), ctypes.byref(info))
        return error, {name: getattr(info, name) for name, *_ in _Info._fields_}

    def setexpected(self, expected_votes: int) -> int:
        return self.call("setexpected", U32(expected_votes))

    def setvotes(self, nodeid: int, votes: int) -> int:
        return self.call("setvotes", U32(nodeid), U32(votes))

    def trackstart(self, context: int = 0, flags: int = 2) -> int:
        return self.call("trackstart", U64(context), U32(flags))

    def trackstop(self) -> int:
        return self.call("trackstop")

    def qdevice_register(self, name: bytes) -> int:
        return self.call("qdevice_register", name)

    def qdevice_unregister(self, name: bytes) -> int:
        return self.call("qdevice_unregister", name)

    def qdevice_update(self, oldname: bytes, newname: bytes) -> int:
        return self.call("qdevice_update", oldname, newname)

    def qdevice_poll(self, name: bytes, cast_vote: int, ring_id: tuple[int, int]) -> int:
        return self.call("qdevice_poll", name, U32(cast_vote), RingId(*ring_id))

    def qdevice_master_wins(self, name: bytes, allow: int) -> int:
        return self.call("qdevice_master_wins", name, U32(allow))

    def _on_quorum(self, handle: int, context: int, quorate: int, entries: int, nodes: Any) -> None:
        states = tuple((nodes[i].nodeid, nodes[i].state) for i in range(entries))
        self.events.append(("quorum", context, quorate, states))

    def _on_nodelist(self, handle: int, context: int, ring: RingId, entries: int, nodes: Any) -> None:
        self.events.append(("nodelist", context, ring.plain(), integers(nodes, entries)))

    def _on_expectedvotes(self, handle: int, context: int, expected_votes: int) -> None:
        self.events.append(("expectedvotes", context, expected_votes))
