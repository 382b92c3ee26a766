"""votequorum's information about a node, the identity of a membership, and corosync's size limits."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .enumerations import InfoFlags, NodeState


class RingId(NamedTuple):
    """One membership of the cluster: the node that leads it, and a sequence number that grows with each
    membership.

    `nodeid` is a uint32, `seq` a uint64. Its text is what corosync prints, both numbers in hexadecimal:
    "1.a4".
    """

    nodeid: int
    seq: int

    def __str__(self) -> str:
        return f"{self.nodeid:x}.{self.seq:x}"


class Node(NamedTuple):
    """A node in a `QuorumNotification`. Node id 0 is the quorum device."""

    nodeid: int
    state: NodeState


TransportName = Literal["shm", "socket"]
"""The transports, as `system.qb_ipc_type` in corosync.conf calls them."""

PROCESSOR_COUNT_MAX = 384
"""The most nodes of a cluster (coroapi.h)."""

QDEVICE_NODEID = 0
"""The node id under which a quorum device appears (VOTEQUORUM_QDEVICE_NODEID)."""

QDEVICE_MAX_NAME_LEN = 255
"""The most bytes of a device's name with its NUL: a name has 1 to 254 (VOTEQUORUM_QDEVICE_MAX_NAME_LEN)."""

QDEVICE_EXTRA_INFO_MAXSIZE = 4096
"""The most bytes of extra info (VOTEQUORUM_QDEVICE_EXTRA_NODEINFO_MAXSIZE, newer than corosync 3.1.10)."""


class NodeInfo(NamedTuple):
    """What `Votequorum.getinfo` reports about a node and the cluster (`struct votequorum_info`)."""

    node_id: int
    node_state: NodeState
    node_votes: int
    node_expected_votes: int
    highest_expected: int
    total_votes: int
    quorum: int
    flags: InfoFlags
    qdevice_votes: int
    qdevice_name: str

    @property
    def quorate(self) -> bool:
        """Whether the partition of the node that was asked is quorate: `InfoFlags.QUORATE`."""
        return InfoFlags.QUORATE in self.flags
