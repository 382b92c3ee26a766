"""`votequorum-ipc monitor`: the state of now, then each change as it comes, until Ctrl-C."""

from __future__ import annotations

from functools import partial
from typing import NoReturn

import click

from ..changes import Change, Follower
from ..status import ClusterStatus
from .common import options, print_json, run, until_interrupted, utc_now
from .shapes import change_shape, status_shape


@click.command("monitor")
@options
def command(as_json: bool, address: str | None) -> None:
    """Show the state of now, then each change as it comes, until Ctrl-C.

    Ends with exit code 1 when the daemon is lost.
    """
    run(partial(until_interrupted, partial(monitor, as_json, address)), as_json=as_json)


async def monitor(as_json: bool, address: str | None) -> NoReturn:
    """Print the state and its changes, for ever. Raises `Library` when the daemon is gone."""

    def show_status(status: ClusterStatus) -> None:
        if as_json:
            print_json({"time": utc_now(), "event": "status", **status_shape(status)})
        else:
            from .tables import print_status

            print_status(status)
            click.echo()

    def show_change(change: Change) -> None:
        if as_json:
            print_json({"time": utc_now(), **change_shape(change)})
        else:
            from .lines import print_change

            print_change(change, follower.names)

    async with Follower.connect(address, show_change) as follower:
        show_status(await follower.start())
        await follower.follow()
