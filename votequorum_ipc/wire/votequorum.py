"""Every message of the `votequorum` service. Source: corosync's include/corosync/ipc_votequorum.h.

Node ids are declared `int` in some requests and unsigned in the answers; they are unsigned everywhere here,
as the C API takes them.
"""

from __future__ import annotations

from typing import NamedTuple

import construct as c

from ..types import PROCESSOR_COUNT_MAX, QDEVICE_EXTRA_INFO_MAXSIZE, QDEVICE_MAX_NAME_LEN
from .fields import RING_ID, BytesOf, CharArray, CountOf, ListOf, Tupled
from .layout import event, request, response

_NAME = CharArray(QDEVICE_MAX_NAME_LEN)
_NEWER = "after 3.1.10"
_MOST_NODE_LIST_ENTRIES = PROCESSOR_COUNT_MAX + 2
"""votequorum.c's room for nodes: all nodes ever seen, including the quorum device."""


class NodeEntry(NamedTuple):
    """`struct votequorum_node`."""

    nodeid: int
    state: int


GETINFO = request("getinfo", 0, "req_lib_votequorum_getinfo", "nodeid" / c.Int32un, c.Padding(4))

SETEXPECTED = request(
    "setexpected",
    1,
    "req_lib_votequorum_setexpected",
    "expected_votes" / c.Int32un,
    c.Padding(4),
)

SETVOTES = request(
    "setvotes",
    2,
    "req_lib_votequorum_setvotes",
    "votes" / c.Int32un,
    "nodeid" / c.Int32un,
)

TRACKSTART = request(
    "trackstart",
    3,
    "req_lib_votequorum_trackstart",
    "context" / c.Int64un,
    "track_flags" / c.Int32un,
    c.Padding(4),
)

TRACKSTOP = request("trackstop", 4, "req_lib_votequorum_general")

QDEVICE_REGISTER = request(
    "qdevice_register",
    5,
    "req_lib_votequorum_qdevice_register",
    "name" / _NAME,
    c.Padding(1),
)

QDEVICE_UNREGISTER = request(
    "qdevice_unregister",
    6,
    "req_lib_votequorum_qdevice_unregister",
    "name" / _NAME,
    c.Padding(1),
)

QDEVICE_UPDATE = request(
    "qdevice_update",
    7,
    "req_lib_votequorum_qdevice_update",
    "oldname" / _NAME,
    "newname" / _NAME,
    c.Padding(2),
)

QDEVICE_POLL = request(
    "qdevice_poll",
    8,
    "req_lib_votequorum_qdevice_poll",
    "name" / _NAME,
    c.Padding(1),
    "cast_vote" / c.Int32sn,
    c.Padding(4),
    "ring_id" / RING_ID,
)

QDEVICE_MASTER_WINS = request(
    "qdevice_master_wins",
    9,
    "req_lib_votequorum_qdevice_master_wins",
    "name" / _NAME,
    c.Padding(1),
    "allow" / c.Int32un,
    c.Padding(4),
)

QDEVICE_SET_EXTRA_INFO = request(
    "qdevice_set_extra_info",
    10,
    "req_lib_votequorum_set_qdevice_extra_info",
    "ei_size" / CountOf(c.Int32un, "extra_info"),
    "extra_info" / BytesOf("ei_size", most=QDEVICE_EXTRA_INFO_MAXSIZE),
    c.Padding(4),
    since=_NEWER,
)
"""The bytes begin before the C struct's padded end, and `size` counts that padding."""

QDEVICE_GET_EXTRA_INFO = request(
    "qdevice_get_extra_info",
    11,
    "req_lib_votequorum_get_qdevice_extra_info",
    "nodeid" / c.Int32un,
    c.Padding(4),
    since=_NEWER,
)

STATUS_RESPONSE = response("status", 0, "res_lib_votequorum_status")
"""Answers everything but the two that get something."""

GETINFO_RESPONSE = response(
    "getinfo",
    1,
    "res_lib_votequorum_getinfo",
    "nodeid" / c.Int32un,
    "state" / c.Int32un,
    "votes" / c.Int32un,
    "expected_votes" / c.Int32un,
    "highest_expected" / c.Int32un,
    "total_votes" / c.Int32un,
    "quorum" / c.Int32un,
    "flags" / c.Int32un,
    "qdevice_votes" / c.Int32un,
    "qdevice_name" / _NAME,
    c.Padding(5),
)

QDEVICE_GET_EXTRA_INFO_RESPONSE = response(
    "qdevice_get_extra_info",
    6,
    "res_lib_votequorum_get_qdevice_extra_info",
    "ei_size" / CountOf(c.Int32un, "extra_info"),
    "extra_info" / BytesOf("ei_size", most=QDEVICE_EXTRA_INFO_MAXSIZE),
    c.Padding(4),
    since=_NEWER,
)
"""The bytes begin before the C struct's padded end, and `size` counts that padding."""

QUORUM_NOTIFICATION = event(
    "quorum_notification",
    3,
    "res_lib_votequorum_quorum_notification",
    "quorate" / c.Int32un,
    c.Padding(4),
    "context" / c.Int64un,
    "node_list_entries" / CountOf(c.Int32un, "node_list"),
    c.Padding(4),
    "node_list"
    / ListOf(
        "node_list_entries",
        Tupled(NodeEntry, c.Struct("nodeid" / c.Int32un, "state" / c.Int32un)),
        most=_MOST_NODE_LIST_ENTRIES,
    ),
)

EXPECTEDVOTES_NOTIFICATION = event(
    "expectedvotes_notification",
    4,
    "res_lib_votequorum_expectedvotes_notification",
    "context" / c.Int64un,
    "expected_votes" / c.Int32un,
    c.Padding(4),
)

NODELIST_NOTIFICATION = event(
    "nodelist_notification",
    5,
    "res_lib_votequorum_nodelist_notification",
    "context" / c.Int64un,
    "ring_id" / RING_ID,
    "node_list_entries" / CountOf(c.Int32un, "node_list"),
    c.Padding(4),
    "node_list" / ListOf("node_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
)

QDEVICE_EXTRA_INFO_NOTIFICATION = event(
    "qdevice_extra_info_notification",
    7,
    "res_lib_votequorum_qdevice_extra_info_notification",
    "context" / c.Int64un,
    "nodeid" / c.Int32un,
    c.Padding(4),
    "ei_size" / CountOf(c.Int32un, "extra_info"),
    c.Padding(4),
    "extra_info" / BytesOf("ei_size", most=QDEVICE_EXTRA_INFO_MAXSIZE),
    since=_NEWER,
)

MESSAGES = (
    GETINFO,
    SETEXPECTED,
    SETVOTES,
    TRACKSTART,
    TRACKSTOP,
    QDEVICE_REGISTER,
    QDEVICE_UNREGISTER,
    QDEVICE_UPDATE,
    QDEVICE_POLL,
    QDEVICE_MASTER_WINS,
    QDEVICE_SET_EXTRA_INFO,
    QDEVICE_GET_EXTRA_INFO,
    STATUS_RESPONSE,
    GETINFO_RESPONSE,
    QDEVICE_GET_EXTRA_INFO_RESPONSE,
    QUORUM_NOTIFICATION,
    EXPECTEDVOTES_NOTIFICATION,
    NODELIST_NOTIFICATION,
    QDEVICE_EXTRA_INFO_NOTIFICATION,
)
