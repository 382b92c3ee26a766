"""The codec alone, compared with construct interpreting the same declarations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

from votequorum_ipc import NodeState
from votequorum_ipc.votequorum import EVENT_DECODERS
from votequorum_ipc.wire import votequorum as wire

from ..measure import absolute, of_rounds
from ..registry import benchmark
from ..rows import Result, Row, at_most
from ..stage import Stage

_NODES = 384
"""The most nodes that an event can have in corosync (PROCESSOR_COUNT_MAX)."""


@benchmark(
    Row("codec.getinfo", "codec alone: encode and decode of getinfo", "us", at_most(3), against="construct"),
    Row(
        "codec.event",
        "codec alone: decode of a quorum event, 384 nodes",
        "us",
        at_most(60),
        against="construct",
    ),
    Row("codec.value", "the same, including the value that the program gets", "us", against="construct"),
)
def codec(stage: Stage) -> Iterator[Result]:
    """Bytes to values and back: the derived functions, and construct itself."""
    answer = wire.GETINFO_RESPONSE.encode(
        **dict.fromkeys(wire.GETINFO_RESPONSE.record._fields, 1) | {"qdevice_name": "Qdevice"},
    )
    event = wire.QUORUM_NOTIFICATION.encode(
        quorate=1, context=1, node_list=[(nodeid, NodeState.MEMBER) for nodeid in range(1, _NODES + 1)]
    )
    request = {"id": wire.GETINFO.id, "size": wire.GETINFO.fixed_size, "nodeid": 1}

    def ours() -> Any:
        return wire.GETINFO.encode(nodeid=1), wire.GETINFO_RESPONSE.decode(answer)

    def construct() -> Any:
        return wire.GETINFO.construct.build(request), wire.GETINFO_RESPONSE.construct.parse(answer)

    def construct_event() -> Any:
        return wire.QUORUM_NOTIFICATION.construct.parse(event)

    yield _compared(stage, "codec.getinfo", ours, construct)
    yield _compared(stage, "codec.event", lambda: wire.QUORUM_NOTIFICATION.decode(event), construct_event)
    value = EVENT_DECODERS[wire.QUORUM_NOTIFICATION.id]
    yield _compared(stage, "codec.value", lambda: value(event), construct_event)


def _compared(stage: Stage, key: str, ours: Callable[[], Any], construct: Callable[[], Any]) -> Result:
    rounds = stage.alternate(
        {
            "ours": functools.partial(_each, ours, stage.scale.calls),
            "construct": functools.partial(_each, construct, stage.scale.part(20)),
        },
    )
    return absolute(key, of_rounds(rounds, lambda each: each[0]), "us")


def _each(function: Callable[[], Any], count: int) -> list[float]:
    start = perf_counter_ns()
    for _ in range(count):
        function()
    return [(perf_counter_ns() - start) / count]
