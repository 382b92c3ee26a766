"""Every message of the `cfg` service: links and addresses, reload and logs, killing nodes and shutting down.

Sources: corosync's include/corosync/ipc_cfg.h, include/corosync/cfg.h.
"""

from __future__ import annotations

import construct as c

from .fields import CharArray, RestOfMessage
from .layout import event, request, response

ADDRESS_LENGTH = 16
"""TOTEMIP_ADDRLEN: bytes of each address. An IPv4 address has the first 4."""

MAX_LINKS = 8
"""CFG_MAX_LINKS."""

MAX_HOST_LEN = 256
"""CFG_MAX_HOST_LEN."""

NODE_STATUS_V1 = 1
"""CFG_NODE_STATUS_V1, the only version."""

MAX_INTERFACES = 16
"""CFG_MAX_INTERFACES."""

INTERFACE_NAME_MAX_LEN = 128
"""CFG_INTERFACE_NAME_MAX_LEN."""

INTERFACE_STATUS_MAX_LEN = 512
"""CFG_INTERFACE_STATUS_MAX_LEN."""

REASON_LENGTH = 256
"""CS_MAX_NAME_LENGTH."""

RINGSTATUSGET = request("ringstatusget", 0, "req_lib_cfg_ringstatusget")

RINGREENABLE = request("ringreenable", 1, "req_lib_cfg_ringreenable")

KILLNODE = request(
    "killnode",
    2,
    "req_lib_cfg_killnode",
    "nodeid" / c.Int32un,
    c.Padding(4),
    "reason_length" / c.Int16un,
    "reason" / CharArray(REASON_LENGTH),
    c.Padding(6),
)
"""The reason is a `cs_name_t`, whose text follows its length without a gap."""

TRYSHUTDOWN = request("tryshutdown", 3, "req_lib_cfg_tryshutdown", "flags" / c.Int32un, c.Padding(4))

REPLYTOSHUTDOWN = request(
    "replytoshutdown",
    4,
    "req_lib_cfg_replytoshutdown",
    "response" / c.Int32un,
    c.Padding(4),
)

GET_NODE_ADDRS = request(
    "get_node_addrs",
    5,
    "req_lib_cfg_get_node_addrs",
    "nodeid" / c.Int32un,
    c.Padding(4),
)

LOCAL_GET = request("local_get", 6, "req_lib_cfg_local_get")

RELOAD_CONFIG = request("reload_config", 7, "req_lib_cfg_reload_config")

REOPEN_LOG_FILES = request("reopen_log_files", 8, "req_lib_cfg_reopen_log_files")

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

INTERFACES = c.Struct(
    "interface_name" / c.Array(MAX_INTERFACES, CharArray(INTERFACE_NAME_MAX_LEN)),
    "interface_status" / c.Array(MAX_INTERFACES, CharArray(INTERFACE_STATUS_MAX_LEN)),
)
"""The two arrays of `struct res_lib_cfg_ringstatusget`: 10,240 bytes."""

RINGSTATUSGET_RESPONSE = response(
    "ringstatusget",
    0,
    "res_lib_cfg_ringstatusget",
    "interface_count" / c.Int32un,
    c.Padding(4),
    "interfaces" / RestOfMessage(most=INTERFACES.sizeof()),
)
"""`interfaces` is `INTERFACES`; only the first `interface_count` are valid."""

RINGREENABLE_RESPONSE = response("ringreenable", 1, "res_lib_cfg_ringreenable")

TRACKSTART_RESPONSE = response("trackstart", 2, "res_lib_cfg_trackstart")

TRACKSTOP_RESPONSE = response("trackstop", 3, "res_lib_cfg_trackstop")

KILLNODE_RESPONSE = response("killnode", 8, "res_lib_cfg_killnode")

TRYSHUTDOWN_RESPONSE = response("tryshutdown", 9, "res_lib_cfg_tryshutdown")

TESTSHUTDOWN = event("testshutdown", 10, "res_lib_cfg_testshutdown", "flags" / c.Int32un, c.Padding(4))
"""The header's `error` is CS_ERR_TIMEOUT when the shutdown was called off because answers were missing."""

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

REPLYTOSHUTDOWN_RESPONSE = response("replytoshutdown", 13, "res_lib_cfg_replytoshutdown")

RELOAD_CONFIG_RESPONSE = response("reload_config", 14, "res_lib_cfg_reload_config")

REOPEN_LOG_FILES_RESPONSE = response("reopen_log_files", 15, "res_lib_cfg_reopen_log_files")

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
"""The answer to a nodestatusget that failed: the same id, but shorter.

It is not among `MESSAGES`, the messages that are decoded: it comes only with an error, and then everything
after the header is whatever was on corosync's stack. So this declaration serves only for sending.
"""

MESSAGES = (
    RINGSTATUSGET,
    RINGREENABLE,
    KILLNODE,
    TRYSHUTDOWN,
    REPLYTOSHUTDOWN,
    GET_NODE_ADDRS,
    LOCAL_GET,
    RELOAD_CONFIG,
    REOPEN_LOG_FILES,
    NODESTATUSGET,
    TRACKSTART,
    TRACKSTOP,
    RINGSTATUSGET_RESPONSE,
    RINGREENABLE_RESPONSE,
    TRACKSTART_RESPONSE,
    TRACKSTOP_RESPONSE,
    KILLNODE_RESPONSE,
    TRYSHUTDOWN_RESPONSE,
    GET_NODE_ADDRS_RESPONSE,
    LOCAL_GET_RESPONSE,
    REPLYTOSHUTDOWN_RESPONSE,
    RELOAD_CONFIG_RESPONSE,
    REOPEN_LOG_FILES_RESPONSE,
    NODESTATUSGET_RESPONSE,
    TESTSHUTDOWN,
)
