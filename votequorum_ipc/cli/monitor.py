"""`votequorum-ipc monitor`: the current state, then every change, through restarts of corosync."""

from __future__ import annotations

from functools import partial
from typing import Final, NoReturn

import click

from ..errors import Access, CsError, Security
from ..types import ClusterStatus, Connected, Lost, QuorumView
from ..watch import watch_quorum
from .common import Seconds, options, print_json, printable, run, until_interrupted, utc_now
from .json_values import change_json, error_json, status_json

_PATIENCE: Final = 5.0


@click.command("monitor")
@click.option(
    "--patience",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=_PATIENCE,
    show_default=True,
    help="Say that quorum is unknown when the daemon does not answer for SECONDS.",
)
@options
def command(patience: float, as_json: bool, address: str | None) -> None:
    """Show the current state, then every change, until Ctrl-C.

    When corosync ends, it says so, and it shows the state again once corosync is back. It ends with exit code
    1 only if this user may not ask.
    """
    run(partial(until_interrupted, partial(monitor, patience, as_json, address)), as_json=as_json)


async def monitor(patience: float, as_json: bool, address: str | None) -> NoReturn:
    """Print the state and its changes, for ever. Raises `Access` and `Security`, as waiting would not
    help."""
    printer = _JsonPrinter() if as_json else _TextPrinter()
    known = False
    async with watch_quorum(address, patience=patience, require_provider=False) as watcher:
        async for view in watcher:
            if isinstance(view.error, Access | Security):
                raise view.error
            printer.changes(view)
            if view.status is not None and not known:
                printer.status(view.status)
            elif view.error is not None and known and not _tells_loss(view):
                printer.unknown(view.error)
            known = view.status is not None
    raise AssertionError("a watcher never ends by itself")


def _tells_loss(view: QuorumView) -> bool:
    return bool(view.changes) and isinstance(view.changes[-1], Lost)


class _JsonPrinter:
    def changes(self, view: QuorumView) -> None:
        for change in view.changes:
            if not isinstance(change, Connected):
                print_json({"time": utc_now(), **change_json(change)})

    def status(self, status: ClusterStatus) -> None:
        print_json({"time": utc_now(), "event": "status", **status_json(status)})

    def unknown(self, error: CsError) -> None:
        print_json({"time": utc_now(), "event": "unknown", "error": error_json(error)})


class _TextPrinter:
    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        """Also of nodes that have left."""

    def changes(self, view: QuorumView) -> None:
        from .change_text import print_change

        self._names |= {member.node_id: member.name or member.address for member in view.members}
        for change in view.changes:
            if not isinstance(change, Connected):
                print_change(change, self._names)

    def status(self, status: ClusterStatus) -> None:
        from .tables import print_status

        print_status(status)
        click.echo()

    def unknown(self, error: CsError) -> None:
        from rich.text import Text

        from .change_text import print_line

        print_line(Text(f"quorum unknown: {printable(str(error))}", "bold red"))
