"""The lines of `monitor` for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from rich.text import Text

from ..types import (
    DEVICE_FLAGS,
    Change,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    InfoFlags,
    LinkChanged,
    Lost,
    MembershipChanged,
    NameChanged,
    NodeVotesChanged,
    QuorumChanged,
    VotesChanged,
)
from .common import printable
from .tables import console, device_words, flag_words

Names = Mapping[int, str]


def line(text: Text) -> str:
    """A line with the local time before the text."""
    now = time.strftime("%Y-%m-%d %H:%M:%S ")
    out = console()
    with out.capture() as captured:
        out.print(Text.assemble((now, "dim"), text), soft_wrap=True, end="")
    return captured.get()


def change_text(change: Change, names: Names) -> Text:
    """The change in words."""
    match change:
        case Connected():
            return Text("connected to the daemon")
        case Lost():
            return Text(f"quorum unknown: {printable(str(change.error))}", "bold red")
        case MembershipChanged():
            return _membership_text(change, names)
        case QuorumChanged():
            return _quorum_text(change)
        case ExpectedVotesChanged():
            return Text(f"expected votes: {change.expected_votes}", "yellow")
        case VotesChanged():
            return _votes_text(change)
        case NodeVotesChanged():
            return Text(f"votes of {_name(change.node_id, names)}: {change.votes}")
        case NameChanged():
            return Text(f"name of node {change.node_id}: {printable(change.name) or '(none)'}")
        case DeviceChanged():
            return Text(_device_words(change, names), "magenta")


def link_change_text(change: LinkChanged, names: Names) -> Text:
    """The change of a link in words."""
    link = f"link {change.number} to {_name(change.node_id, names)}"
    if not change.connected:
        return Text(f"{link} is down", "red")
    if not change.times_down:
        return Text(f"{link} is connected", "green")
    times = "once" if change.times_down == 1 else f"{change.times_down} times"
    return Text(f"{link} went down {times} and is connected again", "yellow")


def _quorum_text(change: QuorumChanged) -> Text:
    if change.quorate:
        return Text("quorum gained", "bold green")
    return Text("quorum lost, activity blocked", "bold red")


def _membership_text(change: MembershipChanged, names: Names) -> Text:
    text = Text()
    for verb, nodes, style in (("left", change.left, "red"), ("joined", change.joined, "green")):
        if nodes:
            text.append(f"{_names(nodes, names)} {verb}; ", style)
    return text.append(f"members: {_names(change.members, names)} (ring {change.ring_id})")


def _votes_text(change: VotesChanged) -> Text:
    info = change.info
    text = f"votes: {info.total_votes} of {info.node_expected_votes} expected, quorum {info.quorum}"
    flags = flag_words(info.flags & ~(DEVICE_FLAGS | InfoFlags.QUORATE))
    return Text(f"{text}; flags: {flags}" if flags else text)


def _device_words(change: DeviceChanged, names: Names) -> str:
    name = f" {printable(change.name)}" if change.name else ""
    return f"quorum device{name} of {_name(change.node_id, names)}: {device_words(change.flags)}"


def _names(nodes: Iterable[int], names: Names) -> str:
    return ", ".join(_name(node, names) for node in nodes)


def _name(node: int, names: Names) -> str:
    name = names.get(node)
    return printable(name) if name else f"node {node}"
