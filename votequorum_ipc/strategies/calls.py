"""Calls of the library's clients, valid and not, in sequences over several connections.

Strategy: the arguments of a call are the fields of its request, so they come from its layout; a few values
are drawn more often, because they mean something in the clusters that tests use (node ids from 0 to 4, a
handful of votes, two device names). A call on a connection opens it first, so any part of a sequence is a
valid sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from ..types import RingId
from ..wire import quorum, votequorum
from ..wire.layout import Layout
from .values import named_fields, values_of

_CALLS: Final = {
    "votequorum": (
        votequorum.GETINFO,
        votequorum.SETEXPECTED,
        votequorum.SETVOTES,
        votequorum.TRACKSTART,
        votequorum.TRACKSTOP,
        votequorum.QDEVICE_REGISTER,
        votequorum.QDEVICE_UNREGISTER,
        votequorum.QDEVICE_UPDATE,
        votequorum.QDEVICE_POLL,
        votequorum.QDEVICE_MASTER_WINS,
    ),
    "quorum": (quorum.GETQUORATE, quorum.TRACKSTART, quorum.TRACKSTOP),
}
"""The requests that a call of a handle sends; opening a handle sends the others."""

_ARGUMENTS: Final = {"track_flags": "flags"}
"""Arguments whose name differs from their field's."""

_NAMES: Final = st.sampled_from(["device", "other", "x" * 254])

_LIKELY: Final[dict[str, st.SearchStrategy[Any]]] = {
    "nodeid": st.integers(0, 4),
    "votes": st.integers(0, 6),
    "expected_votes": st.integers(0, 8),
    "context": st.integers(0, 3),
    "track_flags": st.sampled_from([1, 2, 4]),
    "name": _NAMES,
    "oldname": _NAMES,
    "newname": _NAMES,
    "cast_vote": st.booleans(),
    "allow": st.booleans(),
    "ring_id": st.none() | st.builds(RingId, st.integers(0, 3), st.integers(0, 40)),
}
"""Meaningful values. A ring id of None stands for the current one."""


@dataclass(frozen=True)
class Call:
    """A call of a handle's method."""

    connection: int
    """Which connection of its service."""
    service: str
    """"votequorum" or "quorum"."""
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)


def calls(
    *, connections: int = 3, services: tuple[str, ...] = ("votequorum", "quorum")
) -> st.SearchStrategy[Call]:
    """One call, on one of `connections` connections of each service."""
    pairs = [(service, layout) for service in services for layout in _CALLS[service]]
    return st.sampled_from(pairs).flatmap(lambda pair: _calls_of(*pair, connections))


def _calls_of(service: str, layout: Layout, connections: int) -> st.SearchStrategy[Call]:
    arguments = {
        _ARGUMENTS.get(name, name): _argument(name, bare) for name, bare in named_fields(layout).items()
    }
    numbers = st.integers(0, connections - 1)
    return st.builds(Call, numbers, st.just(service), st.just(layout.name), st.fixed_dictionaries(arguments))


def _argument(name: str, bare: Any) -> st.SearchStrategy[Any]:
    likely = _LIKELY.get(name)
    return values_of(bare) if likely is None else st.one_of(likely, likely, likely, values_of(bare))


def call_sequences(
    *, most: int = 30, connections: int = 3, services: tuple[str, ...] = ("votequorum", "quorum")
) -> st.SearchStrategy[tuple[Call, ...]]:
    """Calls one after another."""
    return st.lists(calls(connections=connections, services=services), max_size=most).map(tuple)
