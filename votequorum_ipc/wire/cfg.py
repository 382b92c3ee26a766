"""The messages of the `cfg` service: a node's addresses and links, and which node this is.

Sources: corosync's include/corosync/ipc_cfg.h, include/corosync/cfg.h.
"""

from __future__ import annotations

import construct as c

from .fields import CharArray, RestOfMessage
from .layout import request, response

ADDRESS_LENGTH = 16
"""TOTEMIP_ADDRLEN: bytes of each address. An IPv4 address has the first 4."""

MAX_LINKS = 8
"""CFG_MAX_LINKS."""

MAX_HOST_LEN = 256
"""CFG_MAX_HOST_LEN."""

NODE_STATUS_V1 = 1
"""CFG_NODE_STATUS_V1, the one version there is."""

GET_NODE_ADDRS = request(
    "get_node_addrs",
    5,
    "req_lib_cfg_get_node_addrs",
    "nodeid" / c.Int32un,
    c.Padding(4),
)

LOCAL_GET = request("local_get", 6, "req_lib_cfg_local_get")

NODESTATUSGET = request(
    "nodestatusget",
    9,
    "req_lib_cfg_nodestatusget",
    "nodeid" / c.Int32un,
    c.Padding(4),
    "version" / c.Int32un,
    c.Padding(4),
)

TRACKSTART = request("trackstart", 10, "req_lib_cfg_trackstart", "track_flags" / c.Int8un, c.Padding(7))

TRACKSTOP = request("trackstop", 11, "req_lib_cfg_trackstop")

TRACKSTART_RESPONSE = response("trackstart", 2, "res_lib_cfg_trackstart")

TRACKSTOP_RESPONSE = response("trackstop", 3, "res_lib_cfg_trackstop")

GET_NODE_ADDRS_RESPONSE = response(
    "get_node_addrs",
    11,
    "res_lib_cfg_get_node_addrs",
    "family" / c.Int32un,
    "num_addrs" / c.Int32un,
    "addrs" / RestOfMessage(most=MAX_LINKS * ADDRESS_LENGTH),
)
"""`addrs` has `num_addrs` times `ADDRESS_LENGTH` bytes, all of one `family` (AF_INET or AF_INET6)."""

LOCAL_GET_RESPONSE = response(
    "local_get",
    12,
    "res_lib_cfg_local_get",
    "local_nodeid" / c.Int32un,
    c.Padding(4),
)

LINK_STATUS = c.Struct(
    "enabled" / c.Int8un,
    "connected" / c.Int8un,
    "dynconnected" / c.Int8un,
    c.Padding(1),
    "mtu" / c.Int32un,
    "src_ipaddr" / CharArray(MAX_HOST_LEN),
    "dst_ipaddr" / CharArray(MAX_HOST_LEN),
)
"""`struct corosync_knet_link_status_v1`: 520 bytes."""

NODESTATUSGET_RESPONSE = response(
    "nodestatusget",
    16,
    "res_lib_cfg_nodestatusget_v1",
    "version" / c.Int32un,
    "nodeid" / c.Int32un,
    "reachable" / c.Int8un,
    "remote" / c.Int8un,
    "external" / c.Int8un,
    "onwire_min" / c.Int8un,
    "onwire_max" / c.Int8un,
    "onwire_ver" / c.Int8un,
    c.Padding(2),
    "link_status" / RestOfMessage(most=MAX_LINKS * LINK_STATUS.sizeof()),
)
"""`link_status` is `MAX_LINKS` times `LINK_STATUS`."""

NODESTATUSGET_ERROR = response(
    "nodestatusget error",
    16,
    "res_lib_cfg_nodestatusget_version",
    "version" / c.Int32un,
    c.Padding(4),
)
"""What a nodestatusget that failed is answered with; same id, shorter.

Not among `MESSAGES`, which are what a conversation can be decoded to: it comes with an error only, and then
corosync leaves everything behind the header as it was on its stack. So it says what to send, and no more.
"""

MESSAGES = (
    GET_NODE_ADDRS,
    LOCAL_GET,
    NODESTATUSGET,
    TRACKSTART,
    TRACKSTOP,
    TRACKSTART_RESPONSE,
    TRACKSTOP_RESPONSE,
    GET_NODE_ADDRS_RESPONSE,
    LOCAL_GET_RESPONSE,
    NODESTATUSGET_RESPONSE,
)
