"""`votequorum-ipc links`: each knet link from this node to each other node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from ..errors import NotSupported
from ..explain import connectivity_remarks
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
    """The links, with the status to which they belong.

    Raises the error that keeps them unknown, and `NotSupported` if the daemon reports none.
    """
    status, links = overview.status, overview.links
    if status is None or links is None:
        errors = overview.errors
        raise errors.get("quorum") or errors["cfg"]
    if not links and len(status.configured) > 1:
        raise NotSupported("corosync reports no links: it does so only with the transport knet")
    return status, links


def links_json(status: ClusterStatus, links: Sequence[Link]) -> dict[str, Any]:
    """The links as JSON."""
    return {
        "node_id": status.node_id,
        "connected": all(link.status.connected for link in links),
        "links": [link_json(link, status) for link in links],
        "remarks": connectivity_remarks(status, links),
    }


def print_links(status: ClusterStatus, links: Sequence[Link]) -> None:
    """Print a line for each link."""
    if not links:
        click.echo("No other node is configured, so there are no links.")
        return
    from .tables import console, link_table

    out = console()
    with out.capture() as captured:
        out.print(link_table(status, links))
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))
    for remark in connectivity_remarks(status, links):
        click.echo(printable(remark))
