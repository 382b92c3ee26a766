"""A node's effects, collected instead of carried out: multicasts, outputs and timers.

The services of a node share one `Effects`. They never wait for an effect; the `Cluster` takes what has
gathered after each input, delivers the multicasts in one order, and hands the outputs to its caller.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..types import ValueType
from .messages import Conn, Multicast, Output

NANOSECONDS = 1_000_000_000
"""Virtual time is a whole number of nanoseconds inside, so that ten tenths are a second."""

_PER_MILLISECOND = 1_000_000


class Timer(enum.IntEnum):
    """A node's timers, in the order in which they go off at the same instant."""

    LAST_MAN_STANDING = 0
    QDEVICE = 1


class RuntimeValue(NamedTuple):
    """A value under `runtime.votequorum.`, with the type corosync stores it as."""

    type: ValueType
    value: int


@dataclass(slots=True)
class Clock:
    """The virtual time of a cluster, in nanoseconds."""

    now: int = 0


@dataclass(slots=True)
class Effects:
    """What a node's services have asked for and what they show, until the cluster takes it."""

    clock: Clock
    multicasts: list[Multicast] = field(default_factory=list)
    outputs: list[tuple[Conn, Output]] = field(default_factory=list)
    deadlines: dict[Timer, int] = field(default_factory=dict)
    runtime: dict[str, RuntimeValue] = field(default_factory=dict)

    def multicast(self, message: Multicast) -> None:
        """Send to every node of the partition, this one included."""
        self.multicasts.append(message)

    def send(self, conn: Conn, output: Output) -> None:
        """Send a response or an event to a client."""
        self.outputs.append((conn, output))

    def arm(self, timer: Timer, milliseconds: int) -> None:
        """Start or restart a timer."""
        self.deadlines[timer] = self.clock.now + milliseconds * _PER_MILLISECOND

    def cancel(self, timer: Timer) -> bool:
        """Stop a timer. Returns whether it was running."""
        return self.deadlines.pop(timer, None) is not None

    def publish8(self, name: str, value: int) -> None:
        """Set a uint8 under `runtime.votequorum.`."""
        self.runtime[f"runtime.votequorum.{name}"] = RuntimeValue(ValueType.UINT8, int(value))

    def publish32(self, name: str, value: int) -> None:
        """Set a uint32 under `runtime.votequorum.`."""
        self.runtime[f"runtime.votequorum.{name}"] = RuntimeValue(ValueType.UINT32, value)


@dataclass(slots=True)
class Trackers:
    """The connections that follow a service's changes, newest first: the order in which they are notified."""

    contexts: dict[Conn, int] = field(default_factory=dict)

    def __contains__(self, conn: Conn) -> bool:
        return conn in self.contexts

    def add(self, conn: Conn, context: int = 0) -> None:
        """Put a connection at the head."""
        self.contexts = {conn: context, **self.contexts}

    def remove(self, conn: Conn) -> bool:
        """Remove a connection. Returns whether it was there."""
        return self.contexts.pop(conn, None) is not None

    def notify(self, effects: Effects, event: Callable[[Conn, int], Output | None]) -> None:
        """Send each tracker the event made for it and its context; None sends nothing."""
        for conn, context in self.contexts.items():
            output = event(conn, context)
            if output is not None:
                effects.send(conn, output)
