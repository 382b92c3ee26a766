"""libquorum, both models (quorum.h, and the man pages quorum_*(3))."""

from __future__ import annotations

import ctypes
from typing import Any

from .library import CHandle, Handle, RingId, integers

U32, U64 = ctypes.c_uint32, ctypes.c_uint64
_List = ctypes.POINTER(U32)

_V0Notify = ctypes.CFUNCTYPE(None, Handle, U32, U64, U32, _List)
_V1Notify = ctypes.CFUNCTYPE(None, Handle, U32, RingId, U32, _List)
_V1Nodelist = ctypes.CFUNCTYPE(None, Handle, RingId, U32, _List, U32, _List, U32, _List)


class _V0Callbacks(ctypes.Structure):
    _fields_ = (("quorum", _V0Notify),)


class _V1Data(ctypes.Structure):
    _fields_ = (("model", ctypes.c_int), ("quorum", _V1Notify), ("nodelist", _V1Nodelist))


class CQuorum(CHandle):
    """A quorum handle of model 1, or of model 0, opened by the older call `quorum_initialize`.

    `events`, model 0: ("quorum", quorate, ring_seq, members); model 1: ("quorum", (ring's nodeid, seq),
    quorate, members) and ("nodelist", (ring's nodeid, seq), members, joined, left).
    """

    library = "quorum"

    def __init__(self, model: int = 1) -> None:
        self.model = model
        self._type = U32()
        super().__init__()

    @property
    def quorum_type(self) -> int:
        return self._type.value

    def _open(self) -> int:
        if self.model == 0:
            self._v0 = _V0Callbacks(_V0Notify(self._on_v0))
            initialize = self._library.quorum_initialize
            return int(
                initialize(ctypes.byref(self._handle), ctypes.byref(self._v0), ctypes.byref(self._type))
            )
        self._v1 = _V1Data(self.model, _V1Notify(self._on_v1), _V1Nodelist(self._on_nodelist))
        return int(
            self._library.quorum_model_initialize(
                ctypes.byref(self._handle),
                ctypes.c_int(self.model),
                ctypes.byref(self._v1),
                ctypes.byref(self._type),
                None,
            )
        )

    def getquorate(self) -> tuple[int, int]:
        quorate = ctypes.c_int(-1)
        return self.call("getquorate", ctypes.byref(quorate)), quorate.value

    def trackstart(self, flags: int = 2) -> int:
        return self.call("trackstart", U32(flags))

    def trackstop(self) -> int:
        return self.call("trackstop")

    def _on_v0(self, handle: int, quorate: int, ring_seq: int, entries: int, view: Any) -> None:
        self.events.append(("quorum", quorate, ring_seq, integers(view, entries)))

    def _on_v1(self, handle: int, quorate: int, ring: RingId, entries: int, members: Any) -> None:
        self.events.append(("quorum", ring.plain(), quorate, integers(members, entries)))

    def _on_nodelist(
        self,
        handle: int,
        ring: RingId,
        member_entries: int,
        members: Any,
        joined_entries: int,
        joined: Any,
        left_entries: int,
        left: Any,
    ) -> None:
        lists = ((members, member_entries), (joined, joined_entries), (left, left_entries))
        self.events.append(("nodelist", ring.plain(), *(integers(*one) for one in lists)))
