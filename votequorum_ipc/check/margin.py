"""How much more a running partition survives, from what `getinfo` says of its nodes.

Strategy: no search. The rules' own functions (`cluster.votes`) are asked what a survivor would decide if
these nodes were gone, and only about the worst sets: nodes go in the order of their votes, and of nodes with
equal votes the one that breaks ties goes first. Without two_node a loss never makes a survivor quorate,
so if the worst set of a size is survived, every set of that size is. Tests hold the answer equal to what the
model says when every set is tried.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..cluster import ClusterConfig, Rules, TieBreaker, effective_rules
from ..cluster.config import parse_tie_breaker
from ..cluster.database import ClusterNode, NodeDatabase
from ..cluster.effects import Clock, Effects
from ..cluster.messages import NodeFlags
from ..cluster.state import Disk, VotequorumState
from ..cluster.votes import recalculate_quorum
from ..types import ClusterStatus, InfoFlags, NodeInfo, NodeState

_DEVICE_FLAGS = {
    InfoFlags.QDEVICE_REGISTERED: NodeFlags.QDEVICE_REGISTERED,
    InfoFlags.QDEVICE_ALIVE: NodeFlags.QDEVICE_ALIVE,
    InfoFlags.QDEVICE_CAST_VOTE: NodeFlags.QDEVICE_CAST_VOTE,
    InfoFlags.QDEVICE_MASTER_WINS: NodeFlags.QDEVICE_MASTER_WINS,
}


@dataclass(frozen=True, slots=True)
class Margin:
    """What the partition survives now.

    `nodes` is how many nodes it can lose at the same moment, whichever they are; `fatal` is a smallest set of
    nodes whose loss ends quorum, and `alone` are the nodes any one of which does. `device` says whether it
    survives the loss of the quorum device (None: no device votes for it). A partition that is not quorate has
    nothing to lose: `quorate` is False, and the rest is empty.
    """

    quorate: bool
    nodes: int = 0
    fatal: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    device: bool | None = None

    def __str__(self) -> str:
        if not self.quorate:
            return "not quorate"
        words = [_survives(self.nodes)]
        if self.fatal:
            together = " together" if len(self.fatal) > 1 else ""
            words.append(f"not of {_and(self.fatal)}{together}")
        if self.device is not None:
            words.append(f"{'survives' if self.device else 'does not survive'} the loss of the quorum device")
        return "; ".join(words)


def margin(rules: Rules, infos: Mapping[int, NodeInfo], local: int) -> Margin:
    """The margin of the partition whose members' infos these are, as node `local` sees it.

    `infos` has what `getinfo` answered for each member, by node id, `local` among them. With
    last_man_standing the margin grows again when the window has passed; this is that of the moment.
    """
    if InfoFlags.QUORATE not in infos[local].flags:
        return Margin(False)
    order = _worst_first(rules, infos)
    sizes = range(1, len(order) + 1)
    ends = partial(_ends, rules, infos, order)
    if rules.two_node:
        # the last two of six have a quorum again, when three have none
        survived = next((size - 1 for size in sizes if ends(size)), len(order))
    else:
        survived = bisect_left(sizes, True, key=ends)
    fatal = tuple(sorted(order[: survived + 1])) if survived < len(order) else ()
    votes = any(InfoFlags.QDEVICE_CAST_VOTE in info.flags for info in infos.values())
    device = _goes_on(rules, _without_device(infos), []) if votes else None
    return Margin(True, survived, fatal, _alone(rules, infos), device)


def margin_of(status: ClusterStatus, tie_breaker_node: str | None = None) -> Margin | None:
    """The margin of the partition that a status speaks of; None where the status does not tell enough.

    `tie_breaker_node` is the cmap key quorum.auto_tie_breaker_node, which counts where ties are broken.
    """
    infos = {member.node_id: member.info for member in status.members if member.info is not None}
    own = status.info
    if own is None or own.node_id not in infos or len(infos) < len(status.members):
        return None
    breaker = parse_tie_breaker(InfoFlags.AUTO_TIE_BREAKER in own.flags, tie_breaker_node)
    if isinstance(breaker, TieBreaker):
        rules = rules_of(own, tie_breaker=breaker)
    else:
        rules = rules_of(own, tie_breaker=TieBreaker.LIST, tie_breaker_nodes=breaker)
    return margin(rules, infos, own.node_id)


def rules_of(
    info: NodeInfo, *, tie_breaker: TieBreaker = TieBreaker.NONE, tie_breaker_nodes: Sequence[int] = ()
) -> Rules:
    """The rules in force as far as `getinfo` tells; which node breaks ties is in cmap, not there."""
    breaks_ties = InfoFlags.AUTO_TIE_BREAKER in info.flags
    return replace(
        effective_rules(ClusterConfig.of(1)),
        two_node=InfoFlags.TWONODE in info.flags,
        wait_for_all=InfoFlags.WAIT_FOR_ALL in info.flags,
        last_man_standing=InfoFlags.LAST_MAN_STANDING in info.flags,
        tie_breaker=(tie_breaker or TieBreaker.LOWEST) if breaks_ties else TieBreaker.NONE,
        tie_breaker_nodes=tuple(tie_breaker_nodes),
        allow_downscale=InfoFlags.ALLOW_DOWNSCALE in info.flags,
        has_device=bool(info.qdevice_votes),
        device_votes=info.qdevice_votes,
        expected_votes=info.node_expected_votes,
        nodelist_votes=info.node_expected_votes,
    )


def _ends(rules: Rules, infos: Mapping[int, NodeInfo], order: Sequence[int], size: int) -> bool:
    """Whether the loss of the first `size` of these nodes ends quorum."""
    return not _goes_on(rules, infos, order[:size])


def _alone(rules: Rules, infos: Mapping[int, NodeInfo]) -> tuple[int, ...]:
    """The nodes whose loss alone ends quorum. Nodes with equal votes that break no ties fare the same."""
    candidates = set(_candidates(rules, infos))
    fatal: dict[tuple[int, int, InfoFlags], bool] = {}
    found = []
    for nodeid, info in sorted(infos.items()):
        kind = (info.node_votes, nodeid if nodeid in candidates else 0, info.flags)
        if kind not in fatal:
            fatal[kind] = not _goes_on(rules, infos, [nodeid])
        if fatal[kind]:
            found.append(nodeid)
    return tuple(found)


def _worst_first(rules: Rules, infos: Mapping[int, NodeInfo]) -> list[int]:
    """The members, those first whose loss hurts most."""
    breaker = next(_candidates(rules, infos), None)
    return sorted(infos, key=lambda nodeid: (-infos[nodeid].node_votes, nodeid != breaker, -nodeid))


def _candidates(rules: Rules, infos: Mapping[int, NodeInfo]) -> Iterator[int]:
    if rules.tie_breaker is TieBreaker.LOWEST:
        yield min(infos)
    elif rules.tie_breaker is TieBreaker.HIGHEST:
        yield max(infos)
    yield from (nodeid for nodeid in rules.tie_breaker_nodes if nodeid in infos)


def _goes_on(rules: Rules, infos: Mapping[int, NodeInfo], lost: Iterable[int]) -> bool:
    """Whether a survivor stays quorate. Survivors differ only by whether a device votes for them."""
    gone = set(lost)
    left = [nodeid for nodeid in infos if nodeid not in gone]
    kinds = {InfoFlags.QDEVICE_CAST_VOTE in infos[nodeid].flags: nodeid for nodeid in left}
    return any(_decides(rules, infos, nodeid, gone) for nodeid in kinds.values())


def _decides(rules: Rules, infos: Mapping[int, NodeInfo], survivor: int, gone: set[int]) -> bool:
    state = _state(rules, infos, survivor)
    for nodeid in gone:
        node = state.db.find(nodeid)
        if node is not None:
            state.db.change(node, state=NodeState.DEAD)
    state.previous_members = tuple(sorted(infos)) if gone else state.previous_members
    state.members = tuple(nodeid for nodeid in sorted(infos) if nodeid not in gone)
    recalculate_quorum(state)
    return state.quorate


def _state(rules: Rules, infos: Mapping[int, NodeInfo], us: int) -> VotequorumState:
    """What a member knows, as far as it decides about quorum."""
    members = tuple(sorted(infos))
    entries = [
        ClusterNode(
            nodeid,
            NodeState.MEMBER,
            infos[nodeid].node_votes,
            infos[nodeid].node_expected_votes,
            _flags(info),
        )
        for nodeid, info in sorted(infos.items())
    ]
    db = NodeDatabase.of_members(us, entries)
    db.qdevice.votes = infos[us].qdevice_votes
    return VotequorumState(
        rules=rules,
        db=db,
        effects=Effects(Clock()),
        disk=Disk(),
        set_quorum=lambda *_: None,
        last_man_standing=False,
        quorum=infos[us].quorum,
        quorate=InfoFlags.QUORATE in infos[us].flags,
        lowest_node_id=members[0],
        highest_node_id=members[-1],
        members=members,
        previous_members=members,
        qdevice_master_wins=any(InfoFlags.QDEVICE_MASTER_WINS in info.flags for info in infos.values()),
        sync_in_progress=True,
    )


def _flags(info: NodeInfo) -> NodeFlags:
    flags = NodeFlags(0)
    for shown, flag in _DEVICE_FLAGS.items():
        if shown in info.flags:
            flags |= flag
    return flags


def _without_device(infos: Mapping[int, NodeInfo]) -> dict[int, NodeInfo]:
    gone = InfoFlags.QDEVICE_CAST_VOTE | InfoFlags.QDEVICE_ALIVE
    return {nodeid: info._replace(flags=info.flags & ~gone) for nodeid, info in infos.items()}


def _survives(nodes: int) -> str:
    if nodes == 0:
        return "survives the loss of no node"
    return "survives the loss of any one node" if nodes == 1 else f"survives the loss of any {nodes} nodes"


def _and(nodeids: Sequence[int]) -> str:
    *most, last = map(str, nodeids)
    return f"{', '.join(most)} and {last}" if most else last
