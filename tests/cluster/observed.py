"""What real corosyncs decided by themselves, read from their logs, and a model that does the same.

Two things in a cluster depend on timing alone: which intermediate rings form between two memberships, and who
speaks first in each. With wait_for_all both decide who is quorate. A debug log shows both. `rings_in` reads
the rings that a node completed, each with the order in which its members' messages arrived; totem makes this
order the same for all members. `Following` is the model with exactly these rings and this order, so nothing
is left to guess: its nodes must report what the real nodes report.

The log of corosync 3.1.7 shows a ring like this, among many other lines:

    [QUORUM] Sync members[2]: 1 2                            the members of the next ring
    [VOTEQ ] Sending nodelist callback. ring_id = 1.12       its id, in hexadecimal; then the messages
    [VOTEQ ] got nodeinfo message from cluster node 2        ... in the order of arrival
    [QUORUM] Members[2]: 1 2                                 the ring is complete
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from votequorum_ipc.cluster import Cluster, Outputs
from votequorum_ipc.cluster.cluster import Membership

_LINE = re.compile(
    r"\[QUORUM\] Sync members\[\d+\]: (?P<members>[\d ]+)"
    r"|\[VOTEQ \] Sending nodelist callback\. ring_id = [0-9a-f]+\.(?P<seq>[0-9a-f]+)"
    r"|\[VOTEQ \] got nodeinfo message from cluster node (?P<speaker>\d+)"
    r"|\[QUORUM\] (?P<complete>Members\[\d+\]: )"
)


class Ring(NamedTuple):
    """A completed ring, in which its members decided."""

    seq: int
    """Higher than that of every earlier ring of its members."""
    members: tuple[int, ...]
    speakers: tuple[int, ...]
    """The members in the order in which they were first heard."""


def rings_in(log: str) -> Iterator[Ring]:
    """The rings that a node completed, from its debug log, without those that a later ring interrupted."""
    members: tuple[int, ...] = ()
    seq = 0
    speakers: list[int] = []
    for line in _LINE.finditer(log):
        if line["members"]:
            members, seq = tuple(map(int, line["members"].split())), 0
        elif line["seq"]:
            seq, speakers = int(line["seq"], 16), []
        elif line["speaker"]:
            if int(line["speaker"]) not in speakers:
                speakers.append(int(line["speaker"]))
        elif seq:
            yield Ring(seq, members, tuple(speakers))
            seq = 0


def in_order(logs: Iterable[str]) -> list[Ring]:
    """The rings of all nodes, each once, in an order in which they may have happened."""
    return sorted({ring for log in logs for ring in rings_in(log)})


class Following(Cluster):
    """A model whose rings form only when `follow` is called, not when the network allows them."""

    _order: tuple[int, ...] = ()

    def up(self, *nodeids: int) -> Outputs:
        for nodeid in nodeids:
            self._start(nodeid)
        return self._take()

    def follow(self, ring: Ring) -> None:
        """Form a ring as observed."""
        self._order = ring.speakers
        self._form_ring(ring.members)
        self._order = ()
        self._take()

    def _reshape(self) -> None:
        pass

    def _collect(self, membership: Membership, nodeids: Collection[int]) -> None:
        super()._collect(membership, sorted(nodeids, key=self._place))

    def _place(self, nodeid: int) -> int:
        return self._order.index(nodeid) if nodeid in self._order else len(self._order)
