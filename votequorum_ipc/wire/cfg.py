"""What is needed of the `cfg` service: a node's addresses, and which node this is.

Source: corosync's include/corosync/ipc_cfg.h.
"""

from __future__ import annotations

import construct as c

from .layout import RestOfMessage, request, response

ADDRESS_LENGTH = 16
"""TOTEMIP_ADDRLEN: each address takes as many bytes, an IPv4 one its first 4."""

GET_NODE_ADDRS = request(
    "get_node_addrs",
    5,
    "req_lib_cfg_get_node_addrs",
    "nodeid" / c.Int32un,
    c.Padding(4),
)

LOCAL_GET = request("local_get", 6, "req_lib_cfg_local_get")

GET_NODE_ADDRS_RESPONSE = response(
    "get_node_addrs",
    11,
    "res_lib_cfg_get_node_addrs",
    "family" / c.Int32un,
    "num_addrs" / c.Int32un,
    "addrs" / RestOfMessage(),
)
"""`addrs` has `num_addrs` times `ADDRESS_LENGTH` bytes, all of one `family` (AF_INET or AF_INET6)."""

LOCAL_GET_RESPONSE = response(
    "local_get",
    12,
    "res_lib_cfg_local_get",
    "local_nodeid" / c.Int32un,
    c.Padding(4),
)

MESSAGES = (GET_NODE_ADDRS, LOCAL_GET, GET_NODE_ADDRS_RESPONSE, LOCAL_GET_RESPONSE)
