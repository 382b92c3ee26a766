"""Sequences of the steps of a hostile client. `votequorum_ipc.attack` has the steps.

Strategy: a sequence begins with a connection, because most steps need one. Then come requests, most of them
valid or nearly valid, between steps that damage what both sides share. `without` removes the steps that
complete a known combination of features, so a campaign can go on after it has found a defect.

Requests that legitimately end a daemon (cfg's requests to shut down or to kill a node) are never drawn, nor
message sizes beyond 1 MiB, which fill /dev/shm for the whole machine.
"""

from __future__ import annotations

import sys
from typing import Final

from hypothesis import strategies as st

from ..attack import (
    WAYS,
    Bell,
    Close,
    Connect,
    Handshake,
    Poke,
    PokeData,
    Post,
    Send,
    Step,
    Truncate,
    features,
)
from ..sockets import KNOWN_SERVICES
from ..wire import Kind
from ..wire.setup import CONNECTION_REQUEST, RING_HEADER
from .messages import AlmostValid, Frame, almost_valid, arbitrary, bytes_of, frames_of, valid
from .values import integers

_TO_OBEY: Final = {"cfg": (2, 3)}
"""killnode and tryshutdown: a daemon that obeys them has no defect."""

_KNOWN_KEYS: Final = (
    "totem.cluster_name", "quorum.provider", "nodelist.node.0.nodeid", "runtime.votequorum.this_node_id",
    "runtime.services.cmap.service_id", "system.qb_ipc_type", "fuzz.key", "fuzz.", "quorum.expected_votes",
    "stats.ipcs.global.active", "totem.config_version", "logging.debug",
)  # fmt: skip

_numbers = st.sampled_from([0, 0, 0, 1])
_ways = st.sampled_from(WAYS)
_words = integers("L")
_FIELDS: Final = [field.name for field in RING_HEADER.subcons if field.name and field.sizeof() == 4]


def connects() -> st.SearchStrategy[Connect]:
    """Connections, with corosync's smallest message size, a smaller one, or a larger one."""
    return st.builds(Connect, _numbers, st.sampled_from(KNOWN_SERVICES), st.sampled_from([8192, 1, 1 << 20]))


def handshakes() -> st.SearchStrategy[Handshake]:
    """Bytes in place of a connection request: wrong, cut short, or too long."""
    request = frames_of("setup", CONNECTION_REQUEST).map(
        lambda frame: Frame(
            frame.service, frame.message, {"max_msg_size": frame.fields["max_msg_size"] % 8193}
        )
    )
    data = st.one_of(almost_valid(request), request, arbitrary(64)).map(bytes_of).filter(_is_small)
    return st.builds(Handshake, st.sampled_from(KNOWN_SERVICES), data, st.booleans())


def _is_small(data: bytes) -> bool:
    """Whether a handshake asks for at most 1 MiB, if the daemon accepts it."""
    padded = data.ljust(CONNECTION_REQUEST.fixed_size or 0, b"\0")[: CONNECTION_REQUEST.fixed_size]
    return int(CONNECTION_REQUEST.construct.parse(padded).max_msg_size) <= 1 << 20


def requests() -> st.SearchStrategy[Frame | AlmostValid | bytes]:
    """Requests for any service, not only the connection's."""
    correct = st.one_of(valid(services=KNOWN_SERVICES, kinds=(Kind.REQUEST,)), _with_known_keys())
    return st.one_of(correct, almost_valid(correct), _longer(correct), arbitrary())


def _with_known_keys() -> st.SearchStrategy[Frame]:
    cmap = valid(services=("cmap",), kinds=(Kind.REQUEST,)).filter(lambda frame: "key_name" in frame.fields)
    return st.builds(
        lambda frame, key: Frame(frame.service, frame.message, {**frame.fields, "key_name": key}),
        cmap,
        st.sampled_from(_KNOWN_KEYS),
    )


def _longer(correct: st.SearchStrategy[Frame]) -> st.SearchStrategy[bytes]:
    """A request with more bytes after it, up to the length of a message."""
    return st.builds(lambda frame, size, fill: frame.data.ljust(size, fill), correct,
                     st.integers(0, 8192), st.sampled_from([b"\0", b"x", b"\xff"]))  # fmt: skip


def about(message: Frame | AlmostValid | bytes) -> str:
    """A description of a message."""
    match message:
        case Frame():
            return f"{message.service} {message.message}"
        case AlmostValid():
            return f"{about(message.frame)} with a false {message.lie.value} ({message.field})"
    return "arbitrary bytes"


@st.composite
def sends(draw: st.DrawFn) -> Send:
    """Requests, most of them announced correctly."""
    message = draw(requests())
    posts, bells = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1), (1, 0), (0, 1), (3, 3)]))
    chunk_size = draw(st.none() | st.none() | integers("L"))
    return Send(draw(_numbers), bytes_of(message), posts, bells, chunk_size, about(message))


def damages() -> st.SearchStrategy[Step]:
    """Steps that damage what both sides share."""
    pages = st.sampled_from([0, 1, 4096, 8192, 12288])
    strategies: list[st.SearchStrategy[Step]] = [
        st.builds(Bell, _numbers, st.integers(1, 300)),
        st.builds(Post, _numbers, _ways, st.integers(1, 60)),
        st.builds(Poke, _numbers, _ways, st.sampled_from([*_FIELDS, "sent"]), _words),
        st.builds(PokeData, _numbers, _ways, st.integers(0, 3071), _words),
        st.builds(Truncate, _numbers, _ways, st.sampled_from(["header", "data"]), pages),
        st.builds(Close, _numbers),
    ]
    return st.one_of(strategies)


def honest_sends() -> st.SearchStrategy[Send]:
    """Valid requests, announced correctly, for before and after damage."""
    correct = st.one_of(valid(services=KNOWN_SERVICES, kinds=(Kind.REQUEST,)), _with_known_keys())
    return st.builds(
        lambda number, frame: Send(number, frame.data, about=about(frame)),
        _numbers,
        correct,
    )


def attacks(most_steps: int = 12) -> st.SearchStrategy[tuple[Step, ...]]:
    """Sequences of steps, the first of which connects."""
    kinds: list[st.SearchStrategy[Step]] = [honest_sends(), sends(), damages(), connects(), handshakes()]
    # `one_of` would give each kind of damage the weight of all requests together.
    step = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, 4]).flatmap(lambda index: kinds[index])
    return st.builds(
        lambda first, rest: without_orders_to_end((first, *rest)),
        connects(),
        st.lists(step, min_size=1, max_size=most_steps),
    )


def is_order_to_end(service: str, data: bytes) -> bool:
    """Whether a request on a connection to `service` tells the daemon to end."""
    orders = [id_.to_bytes(4, sys.byteorder) for id_ in _TO_OBEY.get(service, ())]
    return data[:4] in orders


def without_orders_to_end(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps without requests that tell the daemon to end."""
    services: dict[int, str] = {}
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Connect):
            services[step.connection] = step.service
        if not (isinstance(step, Send) and is_order_to_end(services.get(step.connection, ""), step.data)):
            kept.append(step)
    return tuple(kept)


def without(steps: tuple[Step, ...], left_out: set[frozenset[str]]) -> tuple[Step, ...]:
    """The steps without those that would complete a known combination of features."""
    kept: list[Step] = []
    seen: set[str] = set()
    for step, feature in zip(steps, features(steps), strict=True):
        now = seen | {feature}
        if not any(known <= now for known in left_out):
            kept.append(step)
            seen = now
    return tuple(kept)
