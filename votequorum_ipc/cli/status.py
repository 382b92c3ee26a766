"""`votequorum-ipc status`: what `corosync-quorumtool -s` shows."""

from __future__ import annotations

from functools import partial

import click

from ..status import cluster_status
from .common import FAILED, options, print_json, run, timeout_option, utc_now, within
from .shapes import status_shape


@click.command("status")
@timeout_option
@options
@click.pass_context
def command(context: click.Context, timeout: float | None, as_json: bool, address: str | None) -> None:
    """Show quorum, votes and members; exit 0 if quorate, 1 if not."""
    status = run(partial(within, timeout, partial(cluster_status, address)), as_json=as_json)
    if as_json:
        print_json({"time": utc_now(), **status_shape(status)})
    else:
        from .tables import print_status

        print_status(status)
    context.exit(0 if status.quorate else FAILED)
