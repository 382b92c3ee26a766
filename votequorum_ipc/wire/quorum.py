"""Every message of the `quorum` service. Source: corosync's include/corosync/ipc_quorum.h.

The lists of its events begin before the C struct's padded end. `size` counts that padding too; it comes after
the last list.
"""

from __future__ import annotations

import construct as c

from ..types import PROCESSOR_COUNT_MAX
from .fields import RING_ID, CountOf, ListOf
from .layout import event, request, response

MODEL_V0 = 0
MODEL_V1 = 1

GETQUORATE = request("getquorate", 0, "qb_ipc_request_header")

TRACKSTART = request(
    "trackstart",
    1,
    "req_lib_quorum_trackstart",
    "track_flags" / c.Int32un,
    c.Padding(4),
)

TRACKSTOP = request("trackstop", 2, "qb_ipc_request_header")

GETTYPE = request("gettype", 3, "qb_ipc_request_header")

MODEL_GETTYPE = request(
    "model_gettype",
    4,
    "req_lib_quorum_model_gettype",
    "model" / c.Int32un,
    c.Padding(4),
    since="3.1.0",
)

GETQUORATE_RESPONSE = response(
    "getquorate",
    0,
    "res_lib_quorum_getquorate",
    "quorate" / c.Int32un,
    c.Padding(4),
)

TRACKSTART_RESPONSE = response("trackstart", 1, "qb_ipc_response_header")

TRACKSTOP_RESPONSE = response("trackstop", 2, "qb_ipc_response_header")

GETTYPE_RESPONSE = response(
    "gettype",
    4,
    "res_lib_quorum_gettype",
    "quorum_type" / c.Int32un,
    c.Padding(4),
)

MODEL_GETTYPE_RESPONSE = response(
    "model_gettype",
    5,
    "res_lib_quorum_model_gettype",
    "quorum_type" / c.Int32un,
    c.Padding(4),
    since="3.1.0",
)

NOTIFICATION = event(
    "notification",
    3,
    "res_lib_quorum_notification",
    "quorate" / c.Int32sn,
    c.Padding(4),
    "ring_seq" / c.Int64un,
    "view_list_entries" / CountOf(c.Int32un, "view_list"),
    "view_list" / ListOf("view_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
    c.Padding(4),
)

V1_QUORUM_NOTIFICATION = event(
    "v1_quorum_notification",
    6,
    "res_lib_quorum_v1_quorum_notification",
    "quorate" / c.Int32sn,
    c.Padding(4),
    "ring_id" / RING_ID,
    "view_list_entries" / CountOf(c.Int32un, "view_list"),
    "view_list" / ListOf("view_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
    c.Padding(4),
    since="3.1.0",
)

V1_NODELIST_NOTIFICATION = event(
    "v1_nodelist_notification",
    7,
    "res_lib_quorum_v1_nodelist_notification",
    "ring_id" / RING_ID,
    "member_list_entries" / CountOf(c.Int32un, "member_list"),
    c.Padding(4),
    "joined_list_entries" / CountOf(c.Int32un, "joined_list"),
    c.Padding(4),
    "left_list_entries" / CountOf(c.Int32un, "left_list"),
    "member_list" / ListOf("member_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
    "joined_list" / ListOf("joined_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
    "left_list" / ListOf("left_list_entries", c.Int32un, most=PROCESSOR_COUNT_MAX),
    c.Padding(4),
    since="3.1.0",
)

MESSAGES = (
    GETQUORATE,
    TRACKSTART,
    TRACKSTOP,
    GETTYPE,
    MODEL_GETTYPE,
    GETQUORATE_RESPONSE,
    TRACKSTART_RESPONSE,
    TRACKSTOP_RESPONSE,
    GETTYPE_RESPONSE,
    MODEL_GETTYPE_RESPONSE,
    NOTIFICATION,
    V1_QUORUM_NOTIFICATION,
    V1_NODELIST_NOTIFICATION,
)
