"""`votequorum-ipc monitor`: the state of now, then each change as it comes, until Ctrl-C."""

from __future__ import annotations

import signal
from functools import partial
from typing import NoReturn

import click
import trio

from ..changes import Change, Follower
from ..status import ClusterStatus
from .common import options, print_json, run, utc_now
from .shapes import change_shape, status_shape


@click.command("monitor")
@options
def command(as_json: bool, address: str | None) -> None:
    """Show the state of now, then each change as it comes, until Ctrl-C.

    Ends with exit code 1 when the daemon is lost.
    """
    run(partial(_until_interrupted, as_json, address), as_json=as_json)


async def _until_interrupted(as_json: bool, address: str | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(monitor, as_json, address)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


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
