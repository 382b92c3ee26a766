"""`votequorum-ipc links`: each knet link from this node to each other node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import click

from ..errors import NotSupported
from ..overview import Observer, Overview
from ..types import ClusterStatus, Link
from .common import (
    DEFAULT_TIMEOUT,
    options,
    print_json,
    printable,
    run_without_loop,
    timeout_option,
    utc_now,
)
from .json_values import link_json

ONE_IS_DOWN: Final = 2
"""The exit code when a link is not connected."""


@click.command("links")
@timeout_option(DEFAULT_TIMEOUT)
@options
@click.pass_context
def command(context: click.Context, timeout: float, as_json: bool, address: str | None) -> None:
    """Show this node's links; exit 0 if all are connected, 2 if one is not, 1 if that is unknown."""
    status, links = run_without_loop(_read(address, timeout), as_json=as_json)
    if as_json:
        print_json({"time": utc_now(), **links_json(status, links)})
    else:
        print_links(status, links)
    context.exit(0 if all(link.status.connected for link in links) else ONE_IS_DOWN)


async def _read(address: str | None, seconds: float) -> tuple[ClusterStatus, Sequence[Link]]:
    async with Observer(address, seconds=seconds) as observer:
        return known_links(await observer.read())


def known_links(overview: Overview) -> tuple[ClusterStatus, Sequence[Link]]:
    """The links, and the status to which they belong.

    Raises the error that keeps them unknown, and `NotSupported` if the daemon reports none.
    """
    status, links = overview.status, overview.links
    if status is None or links is None:
        errors = overview.errors
        raise errors.get("quorum") or errors["cfg"]
    if not links and len(status.configured) > 1:
        raise NotSupported("corosync tells of no links: it does so with the transport knet only")
    return status, links


def links_json(status: ClusterStatus, links: Sequence[Link]) -> dict[str, Any]:
    """The links as JSON has them."""
    return {
        "node_id": status.node_id,
        "connected": all(link.status.connected for link in links),
        "links": [link_json(link, status) for link in links],
    }


def print_links(status: ClusterStatus, links: Sequence[Link]) -> None:
    """Print a line for each link."""
    if not links:
        click.echo("No other node is configured, so there are no links.")
        return
    from rich.table import Table
    from rich.text import Text

    from .tables import console

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading, side in _COLUMNS.items():
        table.add_column(heading, justify=side, overflow="fold")
    members = {member.node_id for member in status.members}
    for link in links:
        connected = Text("yes", "green") if link.status.connected else Text("no", "bold red")
        table.add_row(
            _name(link.node_id, status),
            "yes" if link.node_id in members else "no",
            str(link.number),
            connected,
            *_figures(link),
            printable(link.status.src_ipaddr),
            printable(link.status.dst_ipaddr),
        )
    out = console()
    with out.capture() as captured:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


_COLUMNS: Final[dict[str, Literal["left", "right"]]] = {
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
"""The headings, and to which side their cells are aligned."""


def _name(node_id: int, status: ClusterStatus) -> str:
    names = {node.node_id: node.name for node in status.configured}
    return printable(names.get(node_id) or "") or f"node {node_id}"


def _figures(link: Link) -> tuple[str, str, str, str]:
    """Latency, MTU, how often it was down, and lost heartbeats; "?" where that is not known."""
    statistics = link.statistics
    mtu = str(link.status.mtu or "?")
    if statistics is None:
        return "?", mtu, "?", "?"
    latency = f"{statistics.latency_ave / 1000:.1f} ms" if statistics.latency_ave else "?"
    return latency, mtu, str(statistics.down_count), str(statistics.lost_pings)
