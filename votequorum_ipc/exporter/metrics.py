"""The table of metrics: each metric's name, its meaning, and its samples in an overview.

Strategy: an unknown metric has no sample. So "not quorate" is 0 and "unknown" is absent, and
`ha_cluster_scrape_success` tells them apart. Labels are lasting ids and names; whatever changes with a
membership or a reload is a value. Source of the first five names: ha_cluster_exporter's corosync collector.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..explain import CONFIGURED_FLAGS, WARNINGS, configuration_warnings
from ..overview import SOURCES, Overview
from ..types import QDEVICE_NODEID, ClusterStatus, InfoFlags, Link, LinkStatistics, TotemStatistics

Labels = tuple[str, ...]
Sample = tuple[Labels, float]


@dataclass(frozen=True)
class Snapshot:
    """The source of the samples."""

    overview: Overview
    errors: Mapping[str, int]
    """How often each service has failed since the exporter's start."""

    @property
    def status(self) -> ClusterStatus | None:
        return self.overview.status

    @functools.cached_property
    def links(self) -> Sequence[tuple[Labels, Link]]:
        """Each link with its labels; a node without a name has its address."""
        nodes = self.status.configured if self.status else ()
        names = {node.node_id: node.name or node.address for node in nodes}
        return [
            ((str(link.node_id), names.get(link.node_id, ""), str(link.number)), link)
            for link in self.overview.links or ()
        ]


Samples = Callable[[Snapshot], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A line of the table. A counter's name ends in "_total"."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: Labels
    meaning: str
    samples: Samples


def _scrape_success(snapshot: Snapshot) -> Iterable[Sample]:
    yield ("corosync",), snapshot.status is not None


def _duration(snapshot: Snapshot) -> Iterable[Sample]:
    yield ("corosync",), sum(snapshot.overview.seconds.values())


def _service_up(snapshot: Snapshot) -> Iterable[Sample]:
    for service in snapshot.overview.seconds:
        yield (service,), service not in snapshot.overview.errors


def _errors(snapshot: Snapshot) -> Iterable[Sample]:
    for service in SOURCES:
        yield (service,), snapshot.errors.get(service, 0)


def _quorate(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is not None:
        yield (), snapshot.status.quorate


def _quorum_votes(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is not None and (info := snapshot.status.info) is not None:
        yield ("expected_votes",), info.node_expected_votes
        yield ("highest_expected",), info.highest_expected
        yield ("total_votes",), info.total_votes
        yield ("quorum",), info.quorum


def _member_votes(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is None:
        return
    for member in snapshot.status.members:
        if member.info is not None:
            name = member.name or member.address
            yield (str(member.node_id), name, _word(member.local)), member.info.node_votes
    if device := snapshot.status.device:
        yield (str(QDEVICE_NODEID), device.name, "false"), device.votes if device.casts_vote else 0


def _rings(snapshot: Snapshot) -> Iterable[Sample]:
    """A ring is healthy while it reaches every member: a node that is down is not a ring's fault."""
    if snapshot.status is None:
        return
    members = {member.node_id for member in snapshot.status.members}
    healthy: dict[tuple[int, str], bool] = {}
    for link in snapshot.overview.links or ():
        ring = (link.number, link.status.src_ipaddr)
        works = link.status.connected or link.node_id not in members
        healthy[ring] = healthy.get(ring, True) and works
    for (number, address), works in sorted(healthy.items()):
        ring_id, node_id = str(snapshot.status.ring_id), str(snapshot.status.node_id)
        yield (ring_id, node_id, str(number), address), works


def _ring_errors(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is not None and snapshot.overview.links is not None:
        yield (), sum(not works for _, works in _rings(snapshot))


def _node_member(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is None:
        return
    members = {member.node_id for member in snapshot.status.members}
    for node in snapshot.status.configured:
        local = _word(node.node_id == snapshot.status.node_id)
        yield (str(node.node_id), node.name or node.address, local), node.node_id in members


def _ring_sequence(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is not None:
        yield (), snapshot.status.ring_id.seq


def _margin(snapshot: Snapshot) -> Iterable[Sample]:
    margin = snapshot.status.margin if snapshot.status else None
    if margin is not None and margin.quorate:
        yield (), margin.nodes


def _device(flag: InfoFlags) -> Samples:
    def samples(snapshot: Snapshot) -> Iterable[Sample]:
        info = snapshot.status.info if snapshot.status else None
        if info is not None and info.qdevice_votes:
            yield (), flag in info.flags

    return samples


def _warnings(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.status is not None:
        found = configuration_warnings(snapshot.status)
        for warning in WARNINGS:
            yield (warning,), warning in found


def _checksum(snapshot: Snapshot) -> Iterable[Sample]:
    status = snapshot.status
    if status is None or status.info is None or not status.configured:
        return
    options = int(status.info.flags & CONFIGURED_FLAGS)
    nodes = [(node.node_id, node.name, node.address) for node in status.configured]
    text = repr((options, status.info.qdevice_votes, status.provider, nodes))
    yield (), zlib.crc32(text.encode("utf-8", "surrogateescape"))


def _link(value: Callable[[Link], float]) -> Samples:
    return lambda snapshot: ((labels, value(link)) for labels, link in snapshot.links)


def _counted(value: Callable[[LinkStatistics], float | None]) -> Samples:
    def samples(snapshot: Snapshot) -> Iterable[Sample]:
        for labels, link in snapshot.links:
            if link.statistics is not None and (sample := value(link.statistics)) is not None:
                yield labels, sample

    return samples


def _token_losses(snapshot: Snapshot) -> Iterable[Sample]:
    statistics = snapshot.overview.statistics
    if statistics is not None and (totem := statistics.totem) is not None:
        yield ("operational",), totem.operational_token_lost
        yield ("gather",), totem.gather_token_lost
        yield ("commit",), totem.commit_token_lost
        yield ("recovery",), totem.recovery_token_lost


def _totem(value: Callable[[TotemStatistics], float]) -> Samples:
    def samples(snapshot: Snapshot) -> Iterable[Sample]:
        statistics = snapshot.overview.statistics
        if statistics is not None and statistics.totem is not None:
            yield (), value(statistics.totem)

    return samples


def _missed(value: Callable[[int, float], float]) -> Samples:
    def samples(snapshot: Snapshot) -> Iterable[Sample]:
        statistics = snapshot.overview.statistics
        if statistics is not None and statistics.scheduling_misses:
            latest = statistics.scheduling_misses[0]
            yield (), value(latest.timestamp, latest.delay)

    return samples


def _word(value: bool) -> str:
    return "true" if value else "false"


_LINK: Final = ("node_id", "node", "link")
_NODE: Final = ("node_id", "node", "local")
_C: Final = "ha_cluster_corosync_"

METRICS: Final = (
    Metric(
        "ha_cluster_scrape_success",
        "gauge",
        ("collector",),
        "1: quorum is known. 0: quorum is unknown, and `quorate` is absent",
        _scrape_success,
    ),
    Metric(
        "ha_cluster_scrape_duration_seconds",
        "gauge",
        ("collector",),
        "How long corosync took to answer",
        _duration,
    ),
    Metric(
        _C + "service_up",
        "gauge",
        ("service",),
        "Whether a corosync service answered this scrape",
        _service_up,
    ),
    Metric(
        _C + "scrape_errors_total", "counter", ("service",), "How often a service did not answer", _errors
    ),
    Metric(_C + "quorate", "gauge", (), "1: this node's partition has quorum. 0: it has no quorum", _quorate),
    Metric(
        _C + "quorum_votes",
        "gauge",
        ("type",),
        "Votes: expected_votes, highest_expected, total_votes, quorum",
        _quorum_votes,
    ),
    Metric(
        _C + "member_votes",
        "gauge",
        _NODE,
        "A member's votes; node_id 0 is the quorum device, 0 while it does not vote",
        _member_votes,
    ),
    Metric(
        _C + "rings",
        "gauge",
        ("ring_id", "node_id", "number", "address"),
        "1: this link of this node reaches every member",
        _rings,
    ),
    Metric(
        _C + "ring_errors", "gauge", (), "How many links of this node do not reach every member", _ring_errors
    ),
    Metric(
        _C + "node_member",
        "gauge",
        _NODE,
        "Whether a configured node is a member of this node's partition",
        _node_member,
    ),
    Metric(
        _C + "ring_sequence",
        "gauge",
        (),
        "The membership's number, which grows at each change",
        _ring_sequence,
    ),
    Metric(
        _C + "margin_nodes",
        "gauge",
        (),
        "Any set of this many nodes may fail at once without loss of quorum; absent without quorum",
        _margin,
    ),
    Metric(
        _C + "device_registered",
        "gauge",
        (),
        "Whether a quorum device runs on this node; absent if none is configured",
        _device(InfoFlags.QDEVICE_REGISTERED),
    ),
    Metric(
        _C + "device_alive",
        "gauge",
        (),
        "Whether the quorum device on this node answers in time",
        _device(InfoFlags.QDEVICE_ALIVE),
    ),
    Metric(
        _C + "device_voting",
        "gauge",
        (),
        "Whether the quorum device's votes count on this node",
        _device(InfoFlags.QDEVICE_CAST_VOTE),
    ),
    Metric(
        _C + "configuration_warning",
        "gauge",
        ("warning",),
        "1: something looks wrong in the configuration",
        _warnings,
    ),
    Metric(
        _C + "configuration_checksum",
        "gauge",
        (),
        "A checksum of the node list and the quorum options; equal on all nodes of a consistent cluster",
        _checksum,
    ),
    Metric(
        _C + "link_connected",
        "gauge",
        _LINK,
        "Whether a link to another node is connected",
        _link(lambda link: link.status.connected),
    ),
    Metric(
        _C + "link_mtu_bytes",
        "gauge",
        _LINK,
        "The link's MTU as measured by knet; 0 while unknown",
        _link(lambda link: link.status.mtu),
    ),
    Metric(
        _C + "link_latency_seconds",
        "gauge",
        _LINK,
        "Average round-trip time of a heartbeat; absent before the first one",
        _counted(lambda s: s.latency_ave / 1e6 if s.latency_ave else None),
    ),
    Metric(
        _C + "link_latency_max_seconds",
        "gauge",
        _LINK,
        "The largest value that this average has had since corosync's start",
        _counted(lambda s: s.latency_max / 1e6 if s.latency_ave else None),
    ),
    Metric(
        _C + "link_down_total",
        "counter",
        _LINK,
        "How often the link was down, including the time before the first heartbeat",
        _counted(lambda s: s.down_count),
    ),
    Metric(
        _C + "link_pings_sent_total",
        "counter",
        _LINK,
        "Heartbeats sent",
        _counted(lambda s: s.tx_ping_packets),
    ),
    Metric(
        _C + "link_pongs_received_total",
        "counter",
        _LINK,
        "Heartbeats answered; those sent but not answered are lost",
        _counted(lambda s: s.rx_pong_packets),
    ),
    Metric(
        _C + "link_send_errors_total",
        "counter",
        _LINK,
        "Packets that could not be sent",
        _counted(lambda s: s.tx_total_errors),
    ),
    Metric(
        _C + "token_losses_total",
        "counter",
        ("state",),
        "Losses of the token, by totem's state at the time",
        _token_losses,
    ),
    Metric(
        _C + "token_interval_seconds",
        "gauge",
        (),
        "Mean time between two tokens",
        _totem(lambda totem: totem.mtt_rx_token / 1e3),
    ),
    Metric(
        _C + "retransmits_total",
        "counter",
        (),
        "Messages retransmitted",
        _totem(lambda totem: totem.mcast_retx),
    ),
    Metric(
        _C + "messages_dropped_total",
        "counter",
        (),
        "Messages dropped on receipt",
        _totem(lambda totem: totem.rx_msg_dropped),
    ),
    Metric(
        _C + "consensus_timeouts_total",
        "counter",
        (),
        "Memberships that were not agreed on in time",
        _totem(lambda totem: totem.consensus_timeouts),
    ),
    Metric(
        _C + "gather_attempts",
        "gauge",
        (),
        "Attempts to form a membership since the last success",
        _totem(lambda totem: totem.continuous_gather),
    ),
    Metric(
        _C + "scheduling_miss_timestamp_seconds",
        "gauge",
        (),
        "When corosync was last not scheduled in time; absent if never",
        _missed(lambda at, _: at / 1e3),
    ),
    Metric(
        _C + "scheduling_miss_delay_seconds",
        "gauge",
        (),
        "How long it did not run then",
        _missed(lambda _, delay: delay / 1e3),
    ),
)
"""Every metric, in the order of the documentation."""
