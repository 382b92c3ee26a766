"""What a server may do to a client: the answer to its connection request, and everything after that.

Strategy: a script says how a server differs from an honest one. Its answer is a valid connection response, or
one with a lie or a path that leads elsewhere, perhaps cut short. Then it has an action for each request in
turn, and is honest once they are used up. So a failure shrinks to the one thing that the server did.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hypothesis import strategies as st

from ..types import TransportName
from ..wire import Kind
from .messages import AlmostValid, Frame, Lie, almost_valid, arbitrary, frames_of, layouts, valid
from .rings import ControlLie, RingLie, control_lies, ring_cuts, ring_lies


class Path(enum.Enum):
    """Where a path of the response leads."""

    GOOD = "good"
    """To what the server has made."""
    MISSING = "missing"
    """To nothing, in a directory that is there."""
    OUTSIDE = "outside"
    """Out of shared memory."""
    DIRECTORY = "directory"
    LINK = "link"
    PIPE = "pipe"
    SHORT = "short"
    """To a file that is too short."""
    LONG = "long"
    """To a file that is too long."""

    def __repr__(self) -> str:
        return f"Path.{self.name}"


class Act(enum.Enum):
    """What a server does with a request instead of answering it."""

    ANSWER = "answer"
    """Answers: the honest action, and what a script ends with."""
    LATE = "late"
    """Answers when the next request has come, before that one's answer."""
    NEVER = "never"
    TWICE = "twice"
    SWAP = "swap"
    """Answers with another request's answer."""
    FLOOD = "flood"
    """Fills the event ring, and answers."""
    CLOSE = "close"
    """Closes the connection without an answer."""
    ANSWER_AND_CLOSE = "answer and close"
    FLOW_CONTROL = "flow control"
    """Lets the client wait before it sends again: level 2, and answers."""

    def __repr__(self) -> str:
        return f"Act.{self.name}"


@dataclass(frozen=True)
class Say:
    """Answers with this instead."""

    message: Frame | AlmostValid | bytes


@dataclass(frozen=True)
class SendEvent:
    """Sends this as an event, and answers."""

    message: Frame | AlmostValid | bytes


@dataclass(frozen=True)
class Damage:
    """Damages the memory that both share, and answers."""

    way: str
    lie: RingLie | ControlLie


Action = Act | Say | SendEvent | Damage


@dataclass(frozen=True)
class ServerScript:
    """How a server differs from an honest one."""

    transport: TransportName = "shm"
    response: Frame | AlmostValid | bytes | None = None
    """The answer to the connection request; None for the true one."""
    paths: tuple[Path, Path, Path] = (Path.GOOD, Path.GOOD, Path.GOOD)
    """Where the response's paths lead: request, response and event."""
    cut: int | None = None
    """After how many bytes of the response the server closes the connection."""
    actions: tuple[Action, ...] = ()


def handshake_responses() -> st.SearchStrategy[Frame | AlmostValid | bytes]:
    """Answers to a connection request: refusals, any numbers, one lie, or any bytes."""
    [(service, layout)] = layouts(services=("setup",), kinds=(Kind.RESPONSE,))
    any_response = frames_of(service, layout)
    refusals = (
        st.integers(-150, 150)
        .filter(bool)
        .map(lambda error: Frame(service, str(layout), {**_nothing(), "error": error}))
    )
    return st.one_of(refusals, any_response, almost_valid(any_response), arbitrary(100))


def _nothing() -> dict[str, int | str]:
    paths = dict.fromkeys(("request", "response", "event"), "")
    return {"error": 0, "connection_type": 0, "max_msg_size": 0, "connection": 0, **paths}


def actions(transport: TransportName) -> st.SearchStrategy[Action]:
    """What a server does instead of answering."""
    responses = valid(services=("votequorum", "quorum"), kinds=(Kind.RESPONSE,))
    events = valid(services=("votequorum", "quorum"), kinds=(Kind.EVENT,))
    words = ring_lies() if transport == "shm" else control_lies()
    lies = st.one_of(words, words, ring_cuts())
    kinds: list[st.SearchStrategy[Action]] = [
        st.sampled_from(list(Act)),
        st.one_of(responses, almost_valid(responses), arbitrary()).map(Say),
        st.one_of(events, almost_valid(events), arbitrary()).map(SendEvent),
        st.builds(Damage, st.sampled_from(["request", "response", "event"]), lies),
    ]
    # `one_of` would give each kind of message the weight of everything else together.
    return st.sampled_from([0, 0, 1, 2, 3]).flatmap(lambda index: kinds[index])


def server_scripts(transport: TransportName | None = None) -> st.SearchStrategy[ServerScript]:
    """Servers: of each transport in turn, or of one."""
    if transport is None:
        return st.one_of(server_scripts("shm"), server_scripts("socket"))
    bad_setup = st.one_of(
        st.builds(ServerScript, st.just(transport), response=handshake_responses()),
        st.builds(ServerScript, st.just(transport), cut=st.integers(0, 12327)),
        st.builds(
            ServerScript,
            st.just(transport),
            paths=st.tuples(*[st.sampled_from(list(Path))] * 3),
            actions=st.lists(actions(transport), max_size=2).map(tuple),
        ),
    )
    bad_service = st.builds(
        ServerScript, st.just(transport), actions=st.lists(actions(transport), max_size=6).map(tuple)
    )
    return st.one_of(bad_service, bad_service, bad_setup)


__all__ = ["Act", "Action", "Damage", "Lie", "Path", "Say", "SendEvent", "ServerScript", "server_scripts"]
