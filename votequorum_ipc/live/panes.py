"""The screen's parts as text: each is a pure function of the data and a width.

Strategy: words and signs carry the meaning, and colour only repeats it, so the screen reads the same without
colour. Lines are cut or wrapped here, not by the terminal, so a screen is the same wherever it is drawn.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..cli.common import printable
from ..explain import node_label, nodes_label
from ..overview import Overview
from ..types import (
    QDEVICE_NODEID,
    ClusterStatus,
    ConfiguredNode,
    InfoFlags,
    Member,
    NodeInfo,
    NodeState,
    QuorumState,
)
from .causes import Gravity, device_state
from .standing import Standing, known_nodes, links_to
from .timeline import Timeline, TimelineLine

STATE_STYLES: Final = {
    QuorumState.QUORATE: "bold green",
    QuorumState.NOT_QUORATE: "bold red",
    QuorumState.UNKNOWN: "bold yellow",
}
_GRAVITY_STYLES: Final = {
    Gravity.GOOD: "green",
    Gravity.BAD: "red",
    Gravity.UNKNOWN: "yellow",
    Gravity.NOTE: "",
}
_CELLS: Final = {
    QuorumState.QUORATE: ("█", "green"),
    QuorumState.NOT_QUORATE: ("x", "red"),
    QuorumState.UNKNOWN: ("?", "yellow"),
    None: ("·", "dim"),
}
"""A moment of the last hours: its sign and its colour."""

_REASON_LINES: Final = 2

Lines = list[Text]


# --- quorum ---


def heading(known: Standing, since: float | None, now: float, width: int) -> Text:
    """The state, its beginning, the node that was asked, and the time."""
    left = Text.assemble((f" {known.state.value.upper()} ", f"{STATE_STYLES[known.state]} reverse"))
    if since is not None:
        left.append(f" since {clock_text(since, now)}")
    if known.late:
        left.append(f"  ({known.late})", "bold yellow")
    elif known.status is not None:
        left.append(f"  {_asked_node(known.status)}, ring {known.status.ring_id}", "dim")
    return _both_ends(left, Text(time.strftime("%H:%M:%S", time.localtime(now))), width)


def votes_bar(status: ClusterStatus | None, width: int) -> Text:
    """The votes present, with a mark at the votes needed."""
    info = status.info if status else None
    figures = f"{info.total_votes} of {info.node_expected_votes}, {info.quorum} needed" if info else "unknown"
    room = width - 8 - 1 - 2 - max(len(figures), 20)
    if info is None:
        return Text.assemble("Votes   ", ("?" * room, "yellow"), "  ", figures)
    needed, present, device = _bar_lengths(info, room)
    style = "green" if info.quorate else "red"
    bar = Text.assemble(
        ("█" * (present - device), style), ("▒" * device, style), ("·" * (room - present), "dim")
    )
    return Text.assemble("Votes   ", bar[:needed], ("│", "bold"), bar[needed:], "  ", figures)


def _bar_lengths(info: NodeInfo, room: int) -> tuple[int, int, int]:
    """The position of the mark, the length of the bar, and the device's part of it. The bar reaches the mark
    if and only if there are enough votes, however it is rounded."""
    scale = max(info.node_expected_votes, info.total_votes, info.quorum, 1)
    needed = -(-info.quorum * room // scale)
    present = info.total_votes * room // scale
    present = max(present, needed) if info.total_votes >= info.quorum else min(present, needed - 1)
    casts_vote = InfoFlags.QDEVICE_CAST_VOTE in info.flags
    return needed, present, min(info.qdevice_votes * room // scale, present) if casts_vote else 0


def reason(known: Standing, width: int) -> Lines:
    """Why there is no quorum or no answer; with quorum, which failures it survives. At most two lines."""
    if known.status is not None and known.state is QuorumState.QUORATE:
        text = f"Margin  {known.status.margin or 'unknown'}{_missing(known.status)}"
    else:
        text = f"Why     {known.reason}"
    lines = textwrap.wrap(text, width, subsequent_indent=" " * 8, max_lines=_REASON_LINES, placeholder=" ...")
    return [Text(line) for line in lines]


def _missing(status: ClusterStatus) -> str:
    return f". Missing: {printable(nodes_label(status.missing))}" if status.missing else ""


# --- nodes ---


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node or the quorum device as the table shows it."""

    node_id: int
    name: str
    state: str
    votes: str
    device: str
    links: str
    style: str = ""


_WIDTHS: Final = {"node": 24, "state": 10, "votes": 7, "device": 13}


def node_rows(known: Standing, last: ClusterStatus | None, overview: Overview | None) -> list[NodeRow]:
    """A row for each node, then one for the quorum device. While quorum is unknown, `last`'s nodes as
    unknown."""
    status = known.status
    if status is None:
        nodes = known_nodes(last) if last else ()
        return [NodeRow(node.node_id, _node_name(node), "unknown", "?", "?", "?", "yellow") for node in nodes]
    rows = [_node_row(node, status, overview) for node in _named_nodes(status)]
    if status.info is not None and (status.info.qdevice_votes or status.device):
        rows.append(_device_row(status, status.info))
    return rows


def nodes_table(rows: Sequence[NodeRow], selected: int | None, width: int, height: int) -> Lines:
    """The table; if there are too many rows, those around the selected one."""
    position = next((at for at, row in enumerate(rows) if row.node_id == selected), 0)
    room = max(height - 1, 1)
    first = min(max(position - room // 2, 0), max(len(rows) - room, 0))
    shown = rows[first : first + room]
    heads = NodeRow(0, "Node", "State", "Votes", "Device", _hidden(first, len(rows), len(shown)))
    table = [_cut(Text(_row_text(" ", heads), "bold"), width)]
    for row in shown:
        sign, style = (">", f"{row.style} reverse") if row.node_id == selected else (" ", row.style)
        table.append(_cut(Text(_row_text(sign, row), style.strip()), width))
    return table


def _hidden(first: int, count: int, shown: int) -> str:
    return "Links" if shown == count else f"Links    {first + 1} to {first + shown} of {count}"


def _row_text(sign: str, row: NodeRow) -> str:
    cells = zip((row.name, row.state, row.votes, row.device), _WIDTHS.values(), strict=True)
    return f"{sign} " + "".join(set_cell_size(text, size - 1) + " " for text, size in cells) + row.links


def _named_nodes(status: ClusterStatus) -> Iterable[tuple[int, str]]:
    members = {member.node_id: member for member in status.members}
    for node in known_nodes(status):
        local = members[node.node_id].local if node.node_id in members else node.node_id == status.node_id
        yield node.node_id, _node_name(node) + (" *" if local else "")


def _node_name(node: ConfiguredNode) -> str:
    name = printable(node_label(node.node_id, node.name or node.address))
    return name if name == f"node {node.node_id}" else f"{name} ({node.node_id})"


def _node_row(node: tuple[int, str], status: ClusterStatus, overview: Overview | None) -> NodeRow:
    node_id, name = node
    member = next((member for member in status.members if member.node_id == node_id), None)
    links = "this node" if node_id == status.node_id else _links_text(node_id, overview)
    if member is None:
        return NodeRow(node_id, name, "MISSING", "-", "-", links, "red")
    info = member.info
    state = "leaving" if info is not None and info.node_state is NodeState.LEAVING else "member"
    return NodeRow(node_id, name, state, str(info.node_votes) if info else "?", _device_text(member), links)


def _device_text(member: Member) -> str:
    if member.info is None:
        return "?"
    return device_state(member.info.flags) if InfoFlags.QDEVICE_REGISTERED in member.info.flags else "-"


def _device_row(status: ClusterStatus, info: NodeInfo) -> NodeRow:
    state = device_state(info.flags)
    votes = str(info.qdevice_votes) if state == "votes" else f"0 of {info.qdevice_votes}"
    name = printable(f"device {info.qdevice_name}".strip())
    return NodeRow(QDEVICE_NODEID, name, state, votes, "", "", "" if state == "votes" else "red")


def _links_text(node_id: int, overview: Overview | None) -> str:
    links = links_to(node_id, overview)
    if links is None:
        return "unknown"
    latency = "" if links.latency is None else f", {links.latency:.1f} ms"
    if links.connected == links.count:
        return f"{links.connected} up{latency}"
    return f"{links.connected} up, {links.count - links.connected} DOWN{latency}"


# --- the last hours ---


def hours(timeline: Timeline, now: float, seconds: float, width: int) -> Text:
    """The state at each moment of the last `seconds`, newest at the right."""
    title = f"Last {duration_text(seconds):<5}"
    text = Text(f"{title[:9]:<10}")
    for state in timeline.cells(now - seconds, now, width - 10):
        text.append(*_CELLS[state])
    return text


LEGEND: Final = Text(" " * 10 + "█ quorate   x not quorate   ? unknown   · not watched", "dim")
"""The legend for `hours`."""


# --- the timeline ---


def timeline_pane(timeline: Timeline, offset: int, now: float, width: int, height: int) -> Lines:
    """The title, then the lines, newest first, beginning with the one at `offset`."""
    count = len(timeline.lines)
    facts = [f"{count} changes" if count != 1 else "1 change", "newest first"]
    if offset:
        facts.append(f"{offset} newer above")
    if timeline.dropped:
        facts.append(f"{timeline.dropped} older were dropped")
    pane = [_cut(Text.assemble(("Timeline", "bold"), f"  {', '.join(facts)}"), width)]
    for line in list(reversed(timeline.lines))[offset:]:
        if len(pane) >= height:
            break
        pane += line_text(line, now, width)
    return pane[:height]


def line_text(line: TimelineLine, now: float, width: int) -> Iterator[Text]:
    """A line of the timeline, with its cause below it."""
    style = _GRAVITY_STYLES[line.gravity]
    start = f"{clock_text(line.at, now)} {line.gravity.value} "
    for number, part in enumerate(_wrapped(line.text, width - len(start))):
        yield Text.assemble(start if not number else " " * len(start), (part, style))
    if line.cause:
        for part in _wrapped(f"because: {line.cause}", width - len(start) - 2):
            yield Text(" " * (len(start) + 2) + part)


def clock_text(at: float, now: float) -> str:
    """A time of day, with the date if it is another day."""
    then, today = time.localtime(at), time.localtime(now)
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%b %d %H:%M:%S", then)


def duration_text(seconds: float) -> str:
    """A length of time: "15 m", "4 h"."""
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds / 60:.0f} m"


def message(text: str, width: int) -> Lines:
    """The last message; no line if there is none."""
    return [Text(line, "bold cyan") for line in textwrap.wrap(text, width, max_lines=3, placeholder=" ...")]


# --- lines ---


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1)) or [""]


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def _both_ends(left: Text, right: Text, width: int) -> Text:
    left.truncate(max(width - cell_len(right.plain) - 1, 0), overflow="ellipsis")
    gap = max(width - cell_len(left.plain) - cell_len(right.plain), 1)
    return _cut(Text.assemble(left, " " * gap, right), width)


def _asked_node(status: ClusterStatus) -> str:
    names = {node.node_id: node.name for node in known_nodes(status)}
    return printable(node_label(status.node_id, names.get(status.node_id, "")))
