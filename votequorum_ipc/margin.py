"""Which further failures a running partition survives: a `Margin`, from what `getinfo` says of its members.

Strategy: apply votequorum's decision to the future. After a failure a partition stays quorate if the
remaining votes reach its quorum, if it is the half with the node that breaks ties, or if a master-wins device
votes for it. No search is needed, because a worst set of each size is known: the nodes with the most votes,
and among equals the one that breaks ties first. If a device votes for only some members, a worst set may also
begin with all of these. Without two_node, a partition that survives a worst set survives every set of that
size, and every set that contains a fatal set is fatal, so a binary search finds the smallest fatal size.

All failures happen at the same moment. A device is assumed to keep voting for the members that it votes for
now. With last_man_standing, a partition survives more once its window has passed.

These rules repeat those of `cluster.votes`, so that a program that only follows quorum does not load the
model. Tests hold the two equal. Source: `are_we_quorate` in exec/votequorum.c of corosync 3.1.7.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping

from .types import InfoFlags, Margin, NodeInfo, TieBreaker

_MASTER = InfoFlags.QDEVICE_MASTER_WINS | InfoFlags.QDEVICE_CAST_VOTE


def margin(
    infos: Mapping[int, NodeInfo], local: int, tie_breaker: TieBreaker | tuple[int, ...] = TieBreaker.NONE
) -> Margin:
    """The margin of the partition of node `local`.

    `infos` has `getinfo`'s answer for each member by node id, including `local`. `tie_breaker` says which
    node breaks ties, or lists the nodes in order of preference; it counts only where `getinfo` has the flag.
    """
    if not infos[local].quorate:
        return Margin(False)
    partition = _Partition(infos, infos[local], tie_breaker)
    order = partition.worst_first()
    sizes = range(1, len(order) + 1)

    def fatal(size: int) -> bool:
        return partition.fatal_set(order, size) is not None

    if partition.two_node:
        # quorum falls to one vote when two nodes are left, so a larger loss may do less harm
        survived = next(size - 1 for size in sizes if fatal(size))
    else:
        survived = bisect_left(sizes, True, key=fatal)
    alone = tuple(nodeid for nodeid in sorted(infos) if not partition.survives([nodeid]))
    found = partition.fatal_set(order, survived + 1) or ()
    return Margin(True, survived, tuple(sorted(found)), alone, partition.survives_without_device())


class _Partition:
    """A quorate partition, and everything its decision depends on."""

    def __init__(
        self, infos: Mapping[int, NodeInfo], own: NodeInfo, tie_breaker: TieBreaker | tuple[int, ...]
    ) -> None:
        self._votes = {nodeid: info.node_votes for nodeid, info in infos.items()}
        self._total = sum(self._votes.values())
        self._own = own
        self._voted_for = _with_flags(infos, InfoFlags.QDEVICE_CAST_VOTE)
        self._masters = _with_flags(infos, _MASTER)
        self._breaker = _breaker(infos, tie_breaker) if InfoFlags.AUTO_TIE_BREAKER in own.flags else None
        self.two_node = InfoFlags.TWONODE in own.flags

    def worst_first(self) -> list[int]:
        """The members in the order of the harm that their loss does to votes and ties, worst first."""
        votes = self._votes
        return sorted(votes, key=lambda nodeid: (-votes[nodeid], nodeid != self._breaker, -nodeid))

    def fatal_set(self, order: list[int], size: int) -> list[int] | None:
        """A fatal set of this size; None if every set of this size is survived."""
        for first in ((), self._masters, self._voted_for):
            lost = [*first, *(nodeid for nodeid in order if nodeid not in first)][:size]
            if len(first) <= size and not self.survives(lost):
                return lost
        return None

    def survives(self, lost: Collection[int]) -> bool:
        """Whether some member stays quorate when these nodes fail at the same moment."""
        if len(lost) == len(self._votes):
            return False
        return self._decides(lost, self._voted_for.difference(lost), self._masters.difference(lost))

    def survives_without_device(self) -> bool | None:
        """Whether quorum survives the loss of the device; None if it votes for no member."""
        return self._decides((), frozenset(), frozenset()) if self._voted_for else None

    def _decides(self, lost: Collection[int], voted_for: frozenset[int], masters: frozenset[int]) -> bool:
        left = len(self._votes) - len(lost)
        votes = self._total - sum(self._votes[nodeid] for nodeid in lost)
        quorum = 1 if self.two_node and left <= 2 else self._own.quorum
        tie = votes == self._own.node_expected_votes // 2 and len(lost) < quorum
        return (
            bool(masters)
            or votes + (self._own.qdevice_votes if voted_for else 0) >= quorum
            or (tie and self._breaker is not None and self._breaker not in lost)
        )


def _with_flags(infos: Mapping[int, NodeInfo], flags: InfoFlags) -> frozenset[int]:
    return frozenset(nodeid for nodeid, info in infos.items() if flags in info.flags)


def _breaker(infos: Mapping[int, NodeInfo], tie_breaker: TieBreaker | tuple[int, ...]) -> int | None:
    """The member that breaks the next tie."""
    if not isinstance(tie_breaker, TieBreaker):
        return next((nodeid for nodeid in tie_breaker if nodeid in infos), None)
    return {TieBreaker.LOWEST: min(infos), TieBreaker.HIGHEST: max(infos)}.get(tie_breaker)
