#!/usr/bin/env python3
"""Draw the sequence diagrams of the protocol's documents: who sends what to whom, and in which order.

Strategy: a diagram is a table of steps, from top to bottom. Each step draws itself below the one before and
returns where it ends; the same table, in words, is the picture's description. The pictures are as wide as the
tutorial's, so that a phone hardly shrinks them. Usage: tools/sequences.py writes protocol_specs/*.svg;
tests/docs/test_drawings.py compares the files with the program's output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from drawings import DASHES, GREY, INK, PALE, PANEL_WIDTH, picture, rectangle, text_at

DIRECTORY: Final = Path(__file__).parent.parent / "protocol_specs"

WIDTH: Final = 2 * PANEL_WIDTH
MARGIN: Final = 8
LINE: Final = 16
"""From one line of text to the next."""
LETTER: Final = 6.8
"""A letter's width, estimated generously: the reader's font is unknown."""
HEAD: Final = 44
"""The height of the participants' boxes."""
NOTE: Final = "#fff3c4"
HALO: Final = "stroke='#fff' stroke-width='4' stroke-linejoin='round' paint-order='stroke'"
"""The outline of a text that may cross a lifeline."""


class Kind(Enum):
    """The kinds of arrows, as in the key: word, style of the line, whether the head is filled."""

    REQUEST = ("request", "stroke-width='1.5'", True)
    RESPONSE = ("response", f"stroke-width='1.5'{DASHES}", True)
    EVENT = ("event", f"stroke-width='1.5'{DASHES}", False)
    CLUSTER = ("message of the cluster", "stroke-width='3'", True)
    CALL = ("sent or done", "stroke-width='1.5'", True)
    ATTACHED = ("attached by the kernel", f"stroke-width='1.5'{DASHES}", True)


class Message(NamedTuple):
    """An arrow. If sender and receiver are the same, the arrow returns to it."""

    sender: str
    receiver: str
    words: str
    kind: Kind


class Note(NamedTuple):
    """What happens meanwhile, from the first to the last of these participants."""

    over: tuple[str, ...]
    words: str


class Condition(NamedTuple):
    """Steps that are taken only if a condition holds."""

    words: str
    steps: tuple[Message | Note, ...]


Step = Message | Note | Condition


class Diagram(NamedTuple):
    """A diagram: participants, the places of their lifelines, and the steps."""

    title: str
    places: Mapping[str, int]
    steps: Sequence[Step]


Drawn = tuple[str, int]
"""Shapes, and the y below them."""


def draw(diagram: Diagram) -> str:
    """The picture."""
    shapes, bottom = _steps(diagram.steps, diagram.places, HEAD + 2 * MARGIN)
    heads = [_head(name, x, bottom) for name, x in diagram.places.items()]
    key, height = _key(_kinds(diagram.steps), bottom + 12)
    description = "; ".join(_in_words(diagram.steps))
    return picture(WIDTH, height, diagram.title, [*heads, *shapes, key], description)


def _steps(steps: Iterable[Step], places: Mapping[str, int], y: int) -> tuple[list[str], int]:
    shapes = []
    for step in steps:
        match step:
            case Message():
                shape, y = _message(step, places, y)
            case Note():
                shape, y = _note(step, places, y)
            case Condition():
                shape, y = _condition(step, places, y)
        shapes.append(shape)
    return shapes, y


def _wrapped(words: str, width: float) -> list[str]:
    return textwrap.wrap(words, int(width / LETTER), break_long_words=False, break_on_hyphens=False)


def _lines(x: float, y: float, lines: Iterable[str], look: str) -> str:
    """Lines of text from y downwards."""
    return "".join(
        text_at(x, y + LINE * (at + 1) - 4, line, INK).replace("<text ", f"<text {look} ")
        for at, line in enumerate(lines)
    )


def _head(name: str, x: int, bottom: int) -> str:
    """A participant's box and lifeline."""
    line = f"<line x1='{x}' x2='{x}' y1='{MARGIN + HEAD}' y2='{bottom}' stroke='{GREY}'/>"
    lines = _wrapped(name, 84)
    box = rectangle(x - 38, MARGIN, 76, HEAD, f"rx='6' fill='{PALE}' stroke='{INK}'")
    top = MARGIN + (HEAD - LINE * len(lines)) / 2
    return line + box + _lines(x, top, lines, "text-anchor='middle' font-weight='bold'")


def _message(message: Message, places: Mapping[str, int], y: int) -> Drawn:
    begin, end = places[message.sender], places[message.receiver]
    if begin == end:
        return _by_itself(message, begin, y)
    lines = _wrapped(message.words, abs(end - begin) - 8)
    words = _lines((begin + end) / 2, y + 4, lines, f"text-anchor='middle' {HALO}")
    y += 4 + LINE * len(lines) + 5
    return words + _arrow(begin, end, y, message.kind), y + 8


def _by_itself(message: Message, x: int, y: int) -> Drawn:
    """The arrow turns on the side with more room for the text."""
    side = 1 if x < WIDTH / 2 else -1
    lines = _wrapped(message.words, 220)
    anchor = "start" if side == 1 else "end"
    words = _lines(x + side * 32, y + 6, lines, f"text-anchor='{anchor}' {HALO}")
    far, low = x + side * 24, y + 6 + LINE * max(len(lines), 1) + 2
    _, look, _ = message.kind.value
    path = f"<path d='M{x} {y + 8}H{far}V{low}' fill='none' stroke='{INK}' {look}/>"
    return words + path + _arrow(far, x, low, message.kind), low + 8


def _arrow(begin: int, end: int, y: int, kind: Kind) -> str:
    _, look, filled = kind.value
    back = end - 9 if end > begin else end + 9
    stop = back if filled else end
    fill = INK if filled else "none"
    line = f"<line x1='{begin}' x2='{stop}' y1='{y}' y2='{y}' stroke='{INK}' {look}/>"
    points = f"{back},{y - 5} {end},{y} {back},{y + 5}"
    return line + f"<polyline points='{points}' fill='{fill}' stroke='{INK}' stroke-width='1.5'/>"


def _note(note: Note, places: Mapping[str, int], y: int) -> Drawn:
    xs = [places[name] for name in note.over]
    left, right = max(min(xs) - 84, MARGIN), min(max(xs) + 84, WIDTH - MARGIN)
    lines = _wrapped(note.words, right - left - 12)
    height = LINE * len(lines) + 8
    box = rectangle(left, y + 6, right - left, height, f"rx='3' fill='{NOTE}' stroke='{GREY}'")
    words = _lines((left + right) / 2, y + 9, lines, "text-anchor='middle'")
    return box + words, y + 6 + height + 6


def _condition(condition: Condition, places: Mapping[str, int], y: int) -> Drawn:
    """A frame around the steps, with the condition in its upper corner."""
    lines = _wrapped(condition.words, WIDTH - 4 * MARGIN)
    words = _lines(2 * MARGIN, y + 10, lines, f"font-style='italic' {HALO}")
    shapes, bottom = _steps(condition.steps, places, y + 10 + LINE * len(lines))
    look = f"rx='6' fill='none' stroke='{GREY}'{DASHES}"
    frame = rectangle(MARGIN, y + 6, WIDTH - 2 * MARGIN, bottom - y - 2, look)
    return frame + words + "".join(shapes), bottom + 10


def _flat(steps: Iterable[Step]) -> Iterator[Message | Note]:
    for step in steps:
        if isinstance(step, Condition):
            yield from step.steps
        else:
            yield step


def _kinds(steps: Iterable[Step]) -> list[Kind]:
    used = {step.kind for step in _flat(steps) if isinstance(step, Message)}
    return [kind for kind in Kind if kind in used]


def _key(kinds: Sequence[Kind], y: int) -> Drawn:
    """The meanings of the arrows, two in a row."""
    shapes = []
    for at, kind in enumerate(kinds):
        x, middle = MARGIN + at % 2 * (WIDTH // 2 - 30), y + 10 + at // 2 * 22
        shapes.append(_arrow(x, x + 36, middle, kind) + text_at(x + 44, middle + 4, kind.value[0], INK))
    return "".join(shapes), y + 22 * -(-len(kinds) // 2) + 4


def _in_words(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        match step:
            case Message(sender, receiver, words, _) if sender == receiver:
                yield f"{sender}: {words}"
            case Message(sender, receiver, words, kind):
                yield f"{sender} to {receiver}, {kind.value[0]}: {words}"
            case Note(_, words):
                yield f"meanwhile: {words}"
            case Condition(words, inner):
                yield f"{words}: ({'; '.join(_in_words(inner))})"


# --- the diagrams ---

CLIENT, COROSYNC, KERNEL, OTHERS = "client", "corosync", "kernel", "the other nodes"


def _request(words: str) -> Message:
    return Message(CLIENT, COROSYNC, words, Kind.REQUEST)


def _response(words: str) -> Message:
    return Message(COROSYNC, CLIENT, words, Kind.RESPONSE)


def _event(words: str) -> Message:
    return Message(COROSYNC, CLIENT, words, Kind.EVENT)


VOTEQUORUM: Final = Diagram(
    "The notifications to a client of votequorum when the membership changes",
    {CLIENT: 48, COROSYNC: 230, OTHERS: 332},
    [
        _request("trackstart(context, CHANGES)"),
        _event("nodelist_notification"),
        _event("quorum_notification"),
        _response("status: CS_OK"),
        Note((COROSYNC, OTHERS), "a link is cut, a new ring forms"),
        _event("nodelist_notification, with the new ring id"),
        Condition(
            "if a device is registered and alive",
            (_request("qdevice_poll(new ring id)"), _response("status: CS_OK")),
        ),
        Message(COROSYNC, OTHERS, "votes and flags of this node", Kind.CLUSTER),
        Note((COROSYNC, OTHERS), "synchronisation is complete"),
        _event("quorum_notification"),
    ],
)

QUORUM: Final = Diagram(
    "The notifications to a client of quorum, model 1, when the membership changes",
    {CLIENT: 48, COROSYNC: 296},
    [
        _request("model_gettype(1)"),
        _response("model_gettype: 1"),
        _request("trackstart(CHANGES)"),
        _event("v1_nodelist_notification, no node joined or left"),
        _event("v1_quorum_notification"),
        _response("trackstart: CS_OK"),
        Note((COROSYNC,), "a neighbour is lost, nodes synchronise"),
        _event("v1_nodelist_notification, who remains, who has left"),
        _event("v1_quorum_notification"),
    ],
)

HANDSHAKE: Final = Diagram(
    "The handshake of a connection",
    {CLIENT: 48, KERNEL: 190, COROSYNC: 332},
    [
        Message(CLIENT, COROSYNC, "connect()", Kind.CALL),
        Message(CLIENT, CLIENT, "setsockopt SO_PASSCRED", Kind.CALL),
        Message(CLIENT, COROSYNC, "connection request, 24 bytes", Kind.CALL),
        Message(KERNEL, COROSYNC, "SCM_CREDENTIALS: the client's pid, uid, gid", Kind.ATTACHED),
        Message(COROSYNC, COROSYNC, "check rights; make rings or sockets", Kind.CALL),
        Message(COROSYNC, CLIENT, "connection response, 12328 bytes", Kind.CALL),
        Message(KERNEL, CLIENT, "SCM_CREDENTIALS: the server's pid, uid, gid", Kind.ATTACHED),
        Message(CLIENT, CLIENT, "open what the response names", Kind.CALL),
        Note(
            (CLIENT, COROSYNC),
            "the stream socket stays open: doorbell (shared memory), and liveness (both)",
        ),
    ],
)

DIAGRAMS: Final = {"votequorum": VOTEQUORUM, "quorum": QUORUM, "handshake": HANDSHAKE}
"""Each file's name, and its diagram."""


def main() -> None:
    """Write the pictures."""
    for name, diagram in DIAGRAMS.items():
        (DIRECTORY / f"{name}.svg").write_text(draw(diagram), encoding="utf-8")


if __name__ == "__main__":
    main()
