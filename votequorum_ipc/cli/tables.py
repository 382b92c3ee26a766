"""The tables of `status` for people.

Strategy: the words and the order are corosync-quorumtool's, so its users can read this output too.
The tables have no lines, so a pipe gets the same text as a terminal, without the colours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..explain import connectivity_remarks, node_label, why_not_quorate
from ..types import QDEVICE_NODEID, ClusterStatus, Device, InfoFlags, Link, Member, NodeInfo, QuorumType
from .common import printable

if TYPE_CHECKING:
    from ..overview import Moment

_PIPE_WIDTH: Final = 1000
"""The width without a terminal: nothing is wrapped or cut for a program that reads it."""

_FLAG_WORDS: Final = {
    InfoFlags.TWONODE: "2Node",
    InfoFlags.QUORATE: "Quorate",
    InfoFlags.WAIT_FOR_ALL: "WaitForAll",
    InfoFlags.LAST_MAN_STANDING: "LastManStanding",
    InfoFlags.AUTO_TIE_BREAKER: "AutoTieBreaker",
    InfoFlags.ALLOW_DOWNSCALE: "AllowDownscale",
    InfoFlags.QDEVICE_REGISTERED: "Qdevice",
}
"""What corosync-quorumtool calls the flags."""

_DEVICE_WORDS: Final = (
    (InfoFlags.QDEVICE_ALIVE, "A", "NA"),
    (InfoFlags.QDEVICE_CAST_VOTE, "V", "NV"),
    (InfoFlags.QDEVICE_MASTER_WINS, "MW", "NMW"),
)
"""A flag of a registered device, with the letters for set and not set."""

Rows = Iterable[tuple[str, str | Text]]


def console() -> Console:
    """A console on stdout."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_status(moment: Moment) -> None:
    """Print everything that `corosync-quorumtool -s` would, and the links."""
    click.echo(status_text(moment))


def status_text(moment: Moment) -> str:
    """The text that `print_status` prints."""
    status = moment.status
    sections = [("Quorum information", _figures(_quorum_rows(status)))]
    if status.info is not None:
        sections.append(("Votequorum information", _figures(_votequorum_rows(status.info))))
    sections.append(("Membership information", _member_table(status)))
    if moment.links:
        sections.append(("Link information", link_table(status, moment.links)))
    if rows := [*_counted_rows(moment)]:
        sections.append(("Totem information", _figures(rows)))
    out = console()
    with out.capture() as captured:
        for title, body in sections:
            out.print(Text(title, "bold"), "-" * len(title), body, "", sep="\n")
    # A table pads its last column with blanks.
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def flag_words(flags: InfoFlags) -> str:
    """The flags in corosync-quorumtool's words, without those that it does not show."""
    return " ".join(word for flag, word in _FLAG_WORDS.items() if flag in flags)


def device_words(flags: InfoFlags) -> str:
    """A node's device in corosync-quorumtool's words, such as "A,V,NMW", or "NR" if none is registered."""
    if InfoFlags.QDEVICE_REGISTERED not in flags:
        return "NR"
    return ",".join(is_set if flag in flags else is_not for flag, is_set, is_not in _DEVICE_WORDS)


def _quorum_rows(status: ClusterStatus) -> Rows:
    yield "Date:", time.ctime()
    yield "Quorum provider:", _provider(status)
    yield "Nodes:", str(len(status.members))
    yield "Node ID:", str(status.node_id)
    yield "Ring ID:", str(status.ring_id)
    yield "Quorate:", Text("Yes", "bold green") if status.quorate else Text("No", "bold red")
    if reason := why_not_quorate(status):
        yield "Reason:", printable(reason)
    if status.margin is not None and status.margin.quorate:
        yield "Margin:", str(status.margin)


def _provider(status: ClusterStatus) -> str:
    if status.quorum_type is QuorumType.FREE:
        return "Not configured"
    return printable(status.provider or "unknown")


def _votequorum_rows(info: NodeInfo) -> Rows:
    yield "Expected votes:", str(info.node_expected_votes)
    yield "Highest expected:", str(info.highest_expected)
    yield "Total votes:", str(info.total_votes)
    yield (
        "Quorum:",
        Text.assemble(str(info.quorum), ("" if info.quorate else " Activity blocked", "bold red")),
    )
    yield "Flags:", flag_words(info.flags)


def _member_table(status: ClusterStatus) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("Nodeid", justify="right", min_width=10)
    if status.info is not None:
        table.add_column("Votes", justify="right", min_width=10)
        if status.device:
            table.add_column("Qdevice", justify="right", min_width=10)
    table.add_column("Name", overflow="fold")
    for member in status.members:
        cells = [str(member.node_id), *_vote_cells(member, status), _name(member)]
        table.add_row(*cells, style="bold" if member.local else None)
    if status.device:
        table.add_row(str(QDEVICE_NODEID), *_device_cells(status.device))
    return table


def _counted_rows(moment: Moment) -> Rows:
    """corosync's statistics since its start, and remarks about contradictions."""
    if moment.statistics is not None and (totem := moment.statistics.totem) is not None:
        yield "Token losses:", str(totem.token_losses)
        yield "Retransmits:", str(totem.mcast_retx)
    if moment.statistics is not None and (misses := moment.statistics.scheduling_misses):
        worst = max(miss.delay for miss in misses)
        yield "Not scheduled:", Text(f"{len(misses)} times lately, for up to {worst:.0f} ms", "yellow")
    for remark in connectivity_remarks(moment.status, moment.links or ()):
        yield "Remark:", Text(printable(remark), "yellow")


LINK_COLUMNS: Final[dict[str, Literal["left", "right"]]] = {
    "Node": "left",
    "Member": "left",
    "Link": "right",
    "Connected": "left",
    "Latency": "right",
    "MTU": "right",
    "Down": "right",
    "Lost": "right",
    "Local": "left",
    "Remote": "left",
}
"""The headings of the links' table, and how their cells are aligned."""


def link_table(status: ClusterStatus, links: Iterable[Link]) -> Table:
    """One line for each link."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading, side in LINK_COLUMNS.items():
        table.add_column(heading, justify=side, overflow="fold")
    members = {member.node_id for member in status.members}
    names = {node.node_id: node.name for node in status.configured}
    for link in links:
        table.add_row(
            printable(node_label(link.node_id, names.get(link.node_id, ""))),
            "yes" if link.node_id in members else "no",
            str(link.number),
            Text("yes", "green") if link.status.connected else Text("no", "bold red"),
            *link_figures(link),
            printable(link.status.src_ipaddr),
            printable(link.status.dst_ipaddr),
        )
    return table


def link_figures(link: Link) -> tuple[str, str, str, str]:
    """Latency, MTU, times down, and lost heartbeats; "?" if unknown."""
    statistics = link.statistics
    mtu = str(link.status.mtu or "?")
    if statistics is None:
        return "?", mtu, "?", "?"
    latency = f"{statistics.latency_ave / 1000:.1f} ms" if statistics.latency_ave else "?"
    return latency, mtu, str(statistics.down_count), str(statistics.lost_pings)


def _vote_cells(member: Member, status: ClusterStatus) -> list[str]:
    if status.info is None:
        return []
    cells = [str(member.info.node_votes) if member.info else "?"]
    if status.device:
        cells.append(device_words(member.info.flags) if member.info else "?")
    return cells


def _name(member: Member) -> str:
    return printable(member.name or member.address) + (" (local)" if member.local else "")


def _device_cells(device: Device) -> tuple[str, str, str]:
    # Votes that do not count on this node are shown apart, so that the column adds up to the total.
    name = printable(device.name)
    if device.casts_vote:
        return str(device.votes), "", name
    return "0", "", f"{name} (votes {device.votes})"


def _figures(rows: Rows) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(min_width=17, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table
