"""Makes the C clients send and receive every message at least once.

Strategy: each function is a conversation of one client, a list of steps: the case, the context in words, the
client's call, and the number of events to wait for. Changes of the membership are made on a cluster of three.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from tests.real.cluster import Cluster
from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import eventually
from votequorum_ipc.wire import reply_error
from votequorum_ipc.wire.cfg import REPLYTOSHUTDOWN, RINGREENABLE, TRACKSTART
from votequorum_ipc.wire.votequorum import QDEVICE_GET_EXTRA_INFO

from .frames import Frame
from .tape import Tape, taped

# --- scenarios: votequorum ------------------------------------------------------------------------------

_VQ: Final = "libvotequorum, "
_CONTEXT: Final = 0x1122334455667788


def votequorum_one_node(daemon: Daemon) -> list[Frame]:
    """Every call of libvotequorum, on one node with a vote and a device with another vote."""
    opening = ("opening", "connecting", _VQ + "votequorum_initialize")
    with taped(daemon, "votequorum", CVotequorum, opening) as (c, tape):
        _information(c, tape)
        _tracking(c, tape)
        _device(c, tape, daemon)
        frames: list[Frame] = tape.frames
    return frames


def _information(c: CVotequorum, tape: Tape) -> None:
    call = _VQ + "votequorum_getinfo"
    tape.step("this node", "asking for the node itself, by 0", call, lambda: c.getinfo(0))
    tape.step("by its id", "asking for the node itself, by its id", call, lambda: c.getinfo(1))
    context = "there is no node 99: CS_ERR_NOT_EXIST, and noise"
    tape.step("unknown node", context, call, lambda: c.getinfo(99))
    call = _VQ + "votequorum_setexpected"
    tape.step(
        "too few", "0 votes are below the one present: CS_ERR_INVALID_PARAM", call, lambda: c.setexpected(0)
    )
    call = _VQ + "votequorum_setvotes"
    tape.step(
        "unknown node 99", "there is no node 99: CS_ERR_NAME_NOT_FOUND", call, lambda: c.setvotes(99, 1)
    )


def _tracking(c: CVotequorum, tape: Tape) -> None:
    start, stop = _VQ + "votequorum_trackstart", _VQ + "votequorum_trackstop"
    tape.step("trackstop too early", "nothing is tracked: CS_ERR_NOT_EXIST", stop, c.trackstop)
    context = "the current state is sent first: node list, then quorum; one vote of two is not quorate"
    tape.step("trackstart", context, start, lambda: c.trackstart(_CONTEXT, 2), events=2)
    context = "tracking already: CS_ERR_EXIST, but the current state is sent with the new context"
    tape.step("second trackstart", context, start, lambda: c.trackstart(8, 2), events=2)
    context = "expected votes become four; the node tracks, so it is notified"
    call = _VQ + "votequorum_setexpected"
    tape.step("four votes", context, call, lambda: c.setexpected(4), events=1)
    context = "the node's votes become three, and with three of four it is quorate"
    call = _VQ + "votequorum_setvotes"
    tape.step("quorum gained by votes", context, call, lambda: c.setvotes(1, 3), events=1)


def _device(c: CVotequorum, tape: Tape, daemon: Daemon) -> None:
    ring = (daemon.status() or _never()).ring_id
    poll, register = _VQ + "votequorum_qdevice_poll", _VQ + "votequorum_qdevice_register"
    context = "no device is registered: CS_ERR_NOT_EXIST"
    tape.step("without device", context, poll, lambda: c.qdevice_poll(b"Example", 1, ring))
    tape.step("register", "answered by the whole cluster", register, lambda: c.qdevice_register(b"Example"))
    eventually(lambda: _flags(c) & 64, otherwise="the device is registered")
    tape.skip()
    context = "a device of another name is registered: CS_ERR_EXIST"
    tape.step("another device", context, register, lambda: c.qdevice_register(b"Another"))
    context = "a ring id that never existed: CS_ERR_MESSAGE_ERROR"
    tape.step("wrong ring id", context, poll, lambda: c.qdevice_poll(b"Example", 1, (1, 0xDEAD)))
    tape.step("poll with a vote", "the device votes", poll, lambda: c.qdevice_poll(b"Example", 1, ring))
    context = "the current state, with the device as node 0 in state 0; tracking already: CS_ERR_EXIST"
    start = _VQ + "votequorum_trackstart"
    tape.step("with a device", context, start, lambda: c.trackstart(9, 1), events=2)
    eventually(lambda: _flags(c) & 256, otherwise="the device's vote has been delivered")
    tape.skip()
    context = "asking for the node itself, while its device votes"
    tape.step("with a device's vote", context, _VQ + "votequorum_getinfo", lambda: c.getinfo(0))
    call = _VQ + "votequorum_qdevice_master_wins"
    tape.step("master wins", "the device decides a split", call, lambda: c.qdevice_master_wins(b"Example", 1))
    call = _VQ + "votequorum_qdevice_update"
    tape.step("rename", "the device's new name", call, lambda: c.qdevice_update(b"Example", b"Renamed"))
    call = _VQ + "votequorum_qdevice_unregister"
    eventually(lambda: c.getinfo(0)[1]["qdevice_name"] == b"Renamed", otherwise="the device is renamed")
    tape.skip()
    context = "the device has another name now: CS_ERR_INVALID_PARAM"
    tape.step("wrong name", context, call, lambda: c.qdevice_unregister(b"Example"))
    tape.step("unregister", "the device unregisters", call, lambda: c.qdevice_unregister(b"Renamed"))
    tape.step("trackstop", "no more events", _VQ + "votequorum_trackstop", c.trackstop)


def _flags(c: CVotequorum) -> int:
    return int(c.getinfo(0)[1]["flags"])


def _never() -> Any:
    raise AssertionError("the daemon has no status")


def votequorum_membership(whole: Cluster) -> list[Frame]:
    """What node 1 of three receives as it loses its neighbours and quorum, and regains them."""
    opening = ("opening", "connecting", _VQ + "votequorum_initialize")
    with taped(whole[1], "votequorum", CVotequorum, opening) as (c, tape):
        start, tracking = _VQ + "votequorum_trackstart", _VQ + "tracking"
        tape.step("three nodes", "tracking starts", start, lambda: c.trackstart(7, 2), events=2)
        context = "the links between node 1 and the others are cut"
        tape.step("one node left", context, tracking, _alone(whole), events=2)
        tape.step("three nodes again", "the links are mended", tracking, _healed(whole), events=2)
        _without_3(whole)()
        tape.skip()
        context = "asking for a node whose link is down"
        tape.step("a dead node", context, _VQ + "votequorum_getinfo", lambda: c.getinfo(3))
        _healed(whole)()
        frames: list[Frame] = tape.frames
    return frames


def _changed(whole: Cluster, move: Callable[[], None]) -> Callable[[], None]:
    """A change of the network; it returns when all nodes have noticed."""

    def act() -> None:
        move()
        whole.wait_agreed()

    return act


def _alone(whole: Cluster) -> Callable[[], None]:
    return _changed(whole, lambda: whole.partition((1,), (2, 3)))


def _without_3(whole: Cluster) -> Callable[[], None]:
    return _changed(whole, lambda: whole.isolate(3))


def _healed(whole: Cluster) -> Callable[[], None]:
    return _changed(whole, whole.heal)


def refusal(daemon: Daemon) -> list[Frame]:
    """A message that this daemon does not know, sent with libqb itself."""
    message = QDEVICE_GET_EXTRA_INFO.encode(nodeid=1)
    opening = ("opening", "connecting", "libqb, qb_ipcc_connect")
    with taped(daemon, "votequorum", QbClient, opening) as (c, tape):
        context = "message 11 is newer than this daemon: a bare header says CS_ERR_INVALID_PARAM"
        call = "libqb, qb_ipcc_send and qb_ipcc_recv"
        tape.step("unknown message", context, call, lambda: c.exchange(message), refused=True)
        frames: list[Frame] = tape.frames
    return frames


class QbClient:
    """A libqb connection, for requests that the libraries above it do not send."""

    def __init__(self, service: str = "votequorum") -> None:
        self._qb = ctypes.CDLL("libqb.so.100")
        self._qb.qb_ipcc_connect.restype = ctypes.c_void_p
        self._qb.qb_ipcc_connect.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        self._qb.qb_ipcc_send.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._qb.qb_ipcc_recv.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32]
        self._qb.qb_ipcc_disconnect.argtypes = [ctypes.c_void_p]
        self._connection = self._qb.qb_ipcc_connect(service.encode(), 1 << 20)
        assert self._connection, "libqb could not connect"

    def exchange(self, message: bytes) -> bytes:
        """Send a message, and return the answer."""
        answer = ctypes.create_string_buffer(1 << 16)
        sent = self._qb.qb_ipcc_send(self._connection, message, len(message))
        received = self._qb.qb_ipcc_recv(self._connection, answer, len(answer), 10_000)
        assert sent == len(message), sent
        assert received > 0, received
        return answer.raw[:received]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._qb.qb_ipcc_disconnect(self._connection)


# --- scenarios: quorum ----------------------------------------------------------------------------------

_Q: Final = "libquorum, "


def quorum(whole: Cluster) -> list[Frame]:
    """Both models of libquorum on node 1 of three, through a split and its end."""
    return [
        *_quorum_model(whole, 0, "quorum_initialize"),
        *_quorum_model(whole, 1, "quorum_model_initialize"),
    ]


def _quorum_model(whole: Cluster, model: int, call: str) -> list[Frame]:
    name = f"model {model}"
    # Model 1 adds a node list to each of model 0's notifications.
    events = model + 1
    start, tracking, getquorate = _Q + "quorum_trackstart", _Q + "tracking", _Q + "quorum_getquorate"
    opening = (name, f"the library asks for the type as it opens with {name}", _Q + call)
    with taped(whole[1], "quorum", lambda: CQuorum(model), opening) as (c, tape):
        tape.step(name, "is there a quorum", getquorate, c.getquorate)
        context = "nothing is tracked, and yet CS_OK"
        tape.step(f"{name}, too early", context, _Q + "quorum_trackstop", c.trackstop)
        tape.step(name, "the current state is sent first", start, lambda: c.trackstart(2), events=events)
        context = "tracking already: CS_ERR_EXIST, but the current state is sent again"
        tape.step(f"{name}, again", context, start, lambda: c.trackstart(2), events=events)
        context = "the link of node 3 is cut"
        tape.step(f"{name}, two nodes left", context, tracking, _without_3(whole), events=events)
        tape.step(f"{name}, three again", "the link is mended", tracking, _healed(whole), events=events)
        context = "the links between node 1 and the others are cut"
        tape.step(f"{name}, one node left", context, tracking, _alone(whole), events=events)
        tape.step(f"{name}, no quorum", "is there a quorum", getquorate, c.getquorate)
        _healed(whole)()
        tape.skip()
        tape.step(name, "no more events", _Q + "quorum_trackstop", c.trackstop)
        frames: list[Frame] = tape.frames
    return frames


# --- scenarios: cmap and cfg ----------------------------------------------------------------------------

_CMAP: Final = "libcmap, "
_Notify = ctypes.CFUNCTYPE(None)


def cmap(daemon: Daemon) -> list[Frame]:
    """Reading, iterating and tracking with libcmap, while another client changes a key."""
    opening = ("opening", "connecting", _CMAP + "cmap_initialize")
    with taped(daemon, "cmap", CMap, opening) as (c, tape), daemon.namespace(), CMap() as other:
        get = _CMAP + "cmap_get"
        length, kind, room = ctypes.c_size_t(), ctypes.c_int(), ctypes.create_string_buffer(64)
        key = b"nodelist.node.0.name"
        about = (ctypes.byref(length), ctypes.byref(kind))
        context = "without room: type and length only"
        tape.step("length only", context, get, lambda: c.call("get", key, None, *about))
        length.value = len(room)
        context = "64 bytes of room, of which the value takes 6: the answer holds all 64"
        tape.step("with room", context, get, lambda: c.call("get", key, room, *about))
        length.value = 2
        context = "2 bytes of room for a value of 6: CS_ERR_INVALID_PARAM"
        tape.step("too little room", context, get, lambda: c.call("get", key, room, *about))
        context = "there is no such key: CS_ERR_NOT_EXIST"
        tape.step("unknown key", context, get, lambda: c.call("get", b"no.such.key", None, *about))
        _iterate(c, tape)
        _track(c, other, tape)
        _write(c, tape)
        frames: list[Frame] = tape.frames
    return frames + _another_map(daemon)


def _iterate(c: CMap, tape: Tape) -> None:
    iterator, name = ctypes.c_uint64(), ctypes.create_string_buffer(256)
    length, kind = ctypes.c_size_t(), ctypes.c_int()

    def init() -> int:
        return c.call("iter_init", b"quorum.provider", ctypes.byref(iterator))

    def following() -> int:
        return c.call("iter_next", iterator, name, ctypes.byref(length), ctypes.byref(kind))

    tape.step("a prefix", "one key has this prefix", _CMAP + "cmap_iter_init", init)
    tape.step("the key", "the first key", _CMAP + "cmap_iter_next", following)
    tape.step("the end", "there are no more: CS_ERR_NO_SECTIONS", _CMAP + "cmap_iter_next", following)
    finalize = lambda: c.call("iter_finalize", iterator)  # noqa: E731
    tape.step("the iteration", "done", _CMAP + "cmap_iter_finalize", finalize)


def _track(c: CMap, other: CMap, tape: Tape) -> None:
    handle, callback = ctypes.c_uint64(), _Notify(lambda: None)

    def add() -> int:
        every = 1 | 2 | 4 | 8  # CMAP_TRACK_DELETE, _MODIFY, _ADD and _PREFIX
        return c.call("track_add", b"example.", every, callback, None, ctypes.byref(handle))

    tape.step("a prefix", "all changes of all keys with a prefix", _CMAP + "cmap_track_add", add)
    call = _CMAP + "cmap_set and cmap_delete, of another client"
    tape.step("added", "a key comes", call, lambda: other.set("example.key", "one"), events=1)
    tape.step("modified", "a key's value changes", call, lambda: other.set("example.key", "three"), events=1)
    tape.step("deleted", "a key goes", call, lambda: other.call("delete", b"example.key"), events=1)
    tape.step("the prefix", "done", _CMAP + "cmap_track_delete", lambda: c.call("track_delete", handle))


def _write(c: CMap, tape: Tape) -> None:
    key, number = b"example.number", ctypes.c_uint32(41)
    tape.step("a number", "a key comes", _CMAP + "cmap_set_uint32", lambda: c.call("set_uint32", key, number))
    context = "a key that only the configuration file may set: CS_ERR_ACCESS"
    rename = lambda: c.set("totem.cluster_name", "another")  # noqa: E731
    tape.step("read-only key", context, _CMAP + "cmap_set_string", rename)
    tape.step("one more", "41 becomes 42", _CMAP + "cmap_inc", lambda: c.call("inc", key))
    context = "only numbers can be adjusted: CS_ERR_INVALID_PARAM"
    words = lambda: c.call("inc", b"quorum.provider")  # noqa: E731
    tape.step("no number", context, _CMAP + "cmap_inc", words)
    tape.step("a key", "the key goes", _CMAP + "cmap_delete", lambda: c.call("delete", key))
    context = "the key no longer exists: CS_ERR_NOT_EXIST"
    tape.step("no key", context, _CMAP + "cmap_delete", lambda: c.call("delete", key))


class StatisticsMap(CMap):
    """A handle on cmap's other map."""

    def _open(self) -> int:
        return int(self._library.cmap_initialize_map(ctypes.byref(self._handle), 1))  # CMAP_MAP_STATS


def _another_map(daemon: Daemon) -> list[Frame]:
    opening = ("statistics", "the handle is for the map of statistics", _CMAP + "cmap_initialize_map")
    with taped(daemon, "cmap", StatisticsMap, opening) as (_, tape):
        frames: list[Frame] = tape.frames
    return frames


class CCfg:
    """libcfg."""

    def __init__(self) -> None:
        self._cfg = ctypes.CDLL("libcfg.so.7")
        self._handle = ctypes.c_uint64()
        assert self._cfg.corosync_cfg_initialize(ctypes.byref(self._handle), None) == CS_OK

    def call(self, name: str, *args: Any) -> int:
        """Call `corosync_cfg_<name>` with the handle in front."""
        return int(getattr(self._cfg, f"corosync_cfg_{name}")(self._handle, *args))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.call("finalize")


_CFG: Final = "libcfg, "
_QB: Final = "libqb, qb_ipcc_send and qb_ipcc_recv"


def cfg(daemon: Daemon) -> list[Frame]:
    """Links and addresses, the configuration, and shutdowns that are refused."""
    opening = ("opening", "connecting", _CFG + "corosync_cfg_initialize")
    with taped(daemon, "cfg", CCfg, opening) as (c, tape):
        _nodes(c, tape)
        _daemon(c, tape)
        with daemon.namespace(), QbClient("cfg") as other:
            _refused_shutdown(c, other, tape)
        frames: list[Frame] = tape.frames
    return frames + _without_libcfg(daemon)


def _nodes(c: CCfg, tape: Tape) -> None:
    number, addresses = ctypes.c_int(), ctypes.create_string_buffer(8 * 128)
    local = lambda: c.call("local_get", ctypes.byref(number))  # noqa: E731
    tape.step("this node", "the node's own id", _CFG + "corosync_cfg_local_get", local)

    def ask(nodeid: int) -> Callable[[], int]:
        about = (ctypes.c_uint(nodeid), ctypes.c_size_t(8), ctypes.byref(number), addresses)
        return lambda: int(c.call("get_node_addrs", *about))

    call = _CFG + "corosync_cfg_get_node_addrs"
    tape.step("this node", "the addresses of the node itself, by 0", call, ask(0))
    tape.step("unknown node", "there is no node 99: CS_ERR_NOT_EXIST", call, ask(99))
    status = ctypes.create_string_buffer(1 << 13)

    def look(nodeid: int, version: int = 1) -> Callable[[], int]:
        about = (ctypes.c_uint(nodeid), ctypes.c_int(version), status)
        return lambda: int(c.call("node_status_get", *about))

    call = _CFG + "corosync_cfg_node_status_get"
    tape.step("this node", "the links of a node to itself", call, look(1))
    names, words = ctypes.c_void_p(), ctypes.c_void_p()
    about = (ctypes.byref(names), ctypes.byref(words), ctypes.byref(number))
    call = _CFG + "corosync_cfg_ring_status_get"
    tape.step("one link", "the node's own links, in words", call, lambda: c.call("ring_status_get", *about))
    call = _CFG + "corosync_cfg_kill_node"
    kill = lambda: c.call("kill_node", ctypes.c_uint(99), b"example")  # noqa: E731
    tape.step("unknown node", "node 99 is no member: CS_ERR_NOT_EXIST", call, kill)


def _daemon(c: CCfg, tape: Tape) -> None:
    call = _CFG + "corosync_cfg_reload_config"
    tape.step("reload", "nothing has changed in the file", call, lambda: c.call("reload_config"))
    call = _CFG + "corosync_cfg_reopen_log_files"
    tape.step("reopen", "the log files are reopened", call, lambda: c.call("reopen_log_files"))


def _refused_shutdown(c: CCfg, other: QbClient, tape: Tape) -> None:
    start, stop = _CFG + "corosync_cfg_trackstart", _CFG + "corosync_cfg_trackstop"
    tape.step("shutdowns", "tracking starts", start, lambda: c.call("trackstart", ctypes.c_uint8(0)))
    tape.step("shutdowns", "no more events", stop, lambda: c.call("trackstop"))
    other.exchange(TRACKSTART.encode(track_flags=0))

    def refused() -> bool:
        return reply_error(other.exchange(REPLYTOSHUTDOWN.encode(response=0))) == CS_OK

    def ask() -> None:
        asking = threading.Thread(target=lambda: c.call("try_shutdown", 0))
        asking.start()
        eventually(refused, otherwise="a shutdown is under way")
        asking.join()

    tape.step("refused", "another client refuses: CS_ERR_BUSY", _CFG + "corosync_cfg_try_shutdown", ask)


def _without_libcfg(daemon: Daemon) -> list[Frame]:
    """What libcfg does not send, and an answer to a shutdown: after such an answer libcfg never releases the
    connection."""
    opening = ("opening", "connecting", "libqb, qb_ipcc_connect")
    with taped(daemon, "cfg", lambda: QbClient("cfg"), opening) as (c, tape), daemon.namespace():
        context = "corosync 3 has nothing to re-enable: CS_ERR_NOT_SUPPORTED"
        tape.step("re-enable", context, _QB, lambda: c.exchange(RINGREENABLE.encode()))
        context = "no shutdown is under way: CS_ERR_ACCESS"
        tape.step("too early", context, _QB, lambda: c.exchange(REPLYTOSHUTDOWN.encode(response=1)))
        c.exchange(TRACKSTART.encode(track_flags=0))
        tape.skip()
        with CCfg() as other:
            asking = threading.Thread(target=lambda: other.call("try_shutdown", 0))
            context = "another client asks for a shutdown"
            call = _CFG + "corosync_cfg_try_shutdown, of another client"
            tape.step("asked", context, call, asking.start, events=1)
            refuse = lambda: c.exchange(REPLYTOSHUTDOWN.encode(response=0))  # noqa: E731
            tape.step("refused", "the client refuses", _QB, refuse)
            asking.join()
        frames: list[Frame] = tape.frames
    return frames
