"""A node's statistics, cmap's second map: corosync's counters with its names and types.

Strategy: tables list the names. A value is computed when it is read, from three sources: values set by a
test, counters of the links and connections, and the rings that the node has been in. Everything else is 0.
Source: exec/stats.c of corosync 3.1.7.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from ...errors import CsErrorCode
from ...types import ValueType
from .clients import Clients
from .keys import CmapKeys, Key
from .knet import Links

_UINT8, _UINT32, _UINT64 = ValueType.UINT8, ValueType.UINT32, ValueType.UINT64
_Types = dict[str, ValueType]


def _types(**columns: str) -> _Types:
    """Names by their types, from the types' names."""
    return {name: ValueType[kind.upper()] for kind, names in columns.items() for name in names.split()}


PG: Final = _types(uint32="msg_queue_avail msg_reserved")

SRP: Final = _types(
    uint64="""
        orf_token_tx orf_token_rx memb_merge_detect_tx memb_merge_detect_rx memb_join_tx memb_join_rx
        mcast_tx mcast_retx mcast_rx memb_commit_token_tx memb_commit_token_rx
        token_hold_cancel_tx token_hold_cancel_rx operational_entered operational_token_lost
        gather_entered gather_token_lost commit_entered commit_token_lost recovery_entered
        recovery_token_lost consensus_timeouts rx_msg_dropped time_since_token_last_received
    """,
    uint32="continuous_gather continuous_sendmsg_failures mtt_rx_token avg_token_workload avg_backlog_calc",
    uint8="firewall_enabled_or_nic_failure",
)

_PACKETS: Final = " ".join(
    f"{way}_{kind}_{unit}"
    for kind in ("data", "ping", "pong", "pmtu", "total")
    for way in ("tx", "rx")
    for unit in ("packets", "bytes")
)

KNET: Final = _types(
    uint8="enabled connected",
    uint64=f"{_PACKETS} tx_total_errors rx_total_retries",
    uint32="""
        mtu tx_pmtu_errors tx_pmtu_retries tx_ping_errors tx_ping_retries tx_pong_errors tx_pong_retries
        tx_data_errors tx_data_retries latency_min latency_max latency_ave latency_samples
        down_count up_count
    """,
)

KNET_HANDLE: Final = _types(
    uint64="""
        tx_uncompressed_packets tx_compressed_packets tx_compressed_original_bytes tx_compressed_size_bytes
        tx_compress_time_min tx_compress_time_max tx_compress_time_ave
        rx_compressed_packets rx_compressed_original_bytes rx_compressed_size_bytes
        rx_compress_time_min rx_compress_time_max rx_compress_time_ave
        tx_crypt_time_min tx_crypt_time_max tx_crypt_time_ave tx_crypt_byte_overhead tx_crypt_packets
        rx_crypt_time_min rx_crypt_time_max rx_crypt_time_ave rx_crypt_packets
    """
)

IPCS: Final = _types(
    int32="queueing",
    uint32="queued sent flow_control",
    uint64="""
        invalid_request overload requests responses dispatched send_retries recv_retries flow_control_count
    """,
    string="procname",
)

MAX_SCHEDMISS: Final = 10
"""How many scheduling misses are kept (MAX_SCHEDMISS_EVENTS)."""

_NEVER: Final = {name: (1 << 64) - 1 for name in KNET_HANDLE if name.endswith("time_min")}
"""The minimum of no measurements."""

_SETTABLE: Final = re.compile(r"stats\.(pg|srp|knet\.handle|knet\.node\d+\.link\d+)\.\w+")
_LINK: Final = re.compile(r"stats\.knet\.node(\d+)\.link(\d+)\.(\w+)")
_CLIENT: Final = re.compile(r"stats\.ipcs\.service\d+\.\d+\.(0x[0-9a-f]+)\.(\w+)")
_MISS: Final = re.compile(r"stats\.schedmiss\.(\d)\.(timestamp|delay)")

CLEAR: Final = "stats.clear."


class NodeStatistics:
    """The statistics of one node."""

    def __init__(self, now: Callable[[], float], links: Links, clients: Clients) -> None:
        """`now` returns the cluster's time in seconds."""
        self._now = now
        self._links = links
        self._clients = clients
        self._given: dict[str, int] = {}
        self._misses: list[tuple[int, float]] = []
        self._members: frozenset[int] = frozenset()
        self._rings = 0
        self._losses = 0
        self._peers: tuple[int, ...] = ()

    # --- events ---

    def read(self, nodeids: tuple[int, ...]) -> None:
        """Record which nodes are configured."""
        self._peers = nodeids

    def update(self, members: frozenset[int]) -> None:
        """Record the members of a new ring."""
        self._rings += 1
        # corosync notices that a member is gone when the token is lost.
        self._losses += bool(self._members - members)
        self._members = members

    def give(self, name: str, value: int) -> None:
        """Set a statistic, until it is cleared.

        Raises `ValueError` for an unknown name, and for a value that its type cannot hold.
        """
        if not _SETTABLE.fullmatch(name) or self.get(name) is None:
            raise ValueError(f"there is no statistic {name!r} that can be set: corosync-cmapctl -m stats")
        type_, _ = self._static(name)
        if not 0 <= value < 1 << {_UINT8: 8, _UINT32: 32}.get(type_, 64):
            raise ValueError(f"{name} is a {type_.name.lower()}, which cannot hold {value}")
        self._given[name] = value

    def miss(self, delay: float) -> None:
        """The node was not scheduled for that many milliseconds."""
        timestamp = time.time_ns() // 1_000_000
        self._misses = [(timestamp, delay), *self._misses][:MAX_SCHEDMISS]

    def clear(self, what: str) -> CsErrorCode:
        """A client sets a key that begins with "stats.clear."; the last word says what to clear."""
        known = {
            "knet": self._clear_knet,
            "ipc": self._clients.clear,
            "totem": self._clear_totem,
            "schedmiss": self._misses.clear,
            "all": self._clear_all,
        }
        found = [action for word, action in known.items() if what.startswith(CLEAR + word)]
        for action in found:
            action()
        return CsErrorCode.OK if found else CsErrorCode.NOT_SUPPORTED

    def _clear_knet(self) -> None:
        self._links.clear(self._now())
        self._forget("stats.knet.")

    def _clear_totem(self) -> None:
        self._rings = self._losses = 0
        self._forget("stats.srp.")

    def _clear_all(self) -> None:
        self._clear_knet()
        self._clear_totem()
        self._clients.clear()
        self._misses.clear()

    def _forget(self, prefix: str) -> None:
        self._given = {name: value for name, value in self._given.items() if not name.startswith(prefix)}

    # --- reading ---

    def names(self, prefix: str = "") -> Iterator[str]:
        """The names of all statistics with this prefix, in cmap's order."""
        return (name for name in sorted(self._all_names()) if name.startswith(prefix))

    def _all_names(self) -> Iterator[str]:
        yield from _FIXED
        for peer in self._peers:
            for number in self._links.numbers(peer):
                yield from _link_names(peer, number)
        yield from self._clients.names(tuple(IPCS))
        for number in range(len(self._misses)):
            yield f"stats.schedmiss.{number}.timestamp"
            yield f"stats.schedmiss.{number}.delay"

    def get(self, name: str) -> Key | None:
        """The value of a statistic."""
        if match := _MISS.fullmatch(name):
            return self._miss(int(match[1]), match[2])
        if match := _CLIENT.fullmatch(name):
            return self._client(name, match[2])
        if name not in _FIXED and not self._is_link(name):
            return None
        type_, value = self._static(name)
        return Key.of(type_, self._given.get(name, value))

    def all(self, prefix: str) -> CmapKeys:
        """All statistics with this prefix."""
        found = ((name, self.get(name)) for name in self.names(prefix))
        return {name: key for name, key in found if key is not None}

    def _is_link(self, name: str) -> bool:
        match = _LINK.fullmatch(name)
        if match is None or match[3] not in KNET or int(match[1]) not in self._peers:
            return False
        return int(match[2]) in self._links.numbers(int(match[1]))

    def _static(self, name: str) -> tuple[ValueType, int]:
        """The type of a statistic that always exists, and its value unless a test has set one."""
        if match := _LINK.fullmatch(name):
            counters = self._links.counters(self._now(), int(match[1]), int(match[2]))
            return KNET[match[3]], counters.get(match[3], 0)
        word = name.rpartition(".")[2]
        return _FIXED[name], self._counted().get(name, _NEVER.get(word, 0))

    def _counted(self) -> dict[str, int]:
        entered = ("operational", "gather", "commit", "recovery")
        return {
            **{f"stats.srp.{word}_entered": self._rings for word in entered},
            "stats.srp.operational_token_lost": self._losses,
            "stats.ipcs.global.active": self._clients.active,
            "stats.ipcs.global.closed": self._clients.closed,
        }

    def _client(self, name: str, word: str) -> Key | None:
        value = self._clients.value(name.rpartition(".")[0], word)
        if value is None or word not in IPCS:
            return None
        return Key.of(IPCS[word], value)

    def _miss(self, number: int, word: str) -> Key | None:
        if number >= len(self._misses):
            return None
        timestamp, delay = self._misses[number]
        return Key.of(_UINT64, timestamp) if word == "timestamp" else Key.of(ValueType.FLOAT, delay)


@functools.cache
def _link_names(peer: int, number: int) -> tuple[str, ...]:
    return tuple(f"stats.knet.node{peer}.link{number}.{name}" for name in KNET)


_FIXED: Final[_Types] = {
    **{f"stats.pg.{name}": type_ for name, type_ in PG.items()},
    **{f"stats.srp.{name}": type_ for name, type_ in SRP.items()},
    **{f"stats.knet.handle.{name}": type_ for name, type_ in KNET_HANDLE.items()},
    **{f"stats.ipcs.global.{name}": _UINT64 for name in ("active", "closed")},
}
