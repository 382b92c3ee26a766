"""`votequorum-ipc cmap`: corosync's configuration, runtime keys and statistics, as corosync-cmapctl."""

from __future__ import annotations

from typing import Final

import click

from .common import Subcommands

COMMANDS: Final = {
    "get": "cmap_get",
    "set": "cmap_set",
    "delete": "cmap_delete",
    "list": "cmap_list",
    "track": "cmap_track",
}
"""Each subcommand, and the module of this package with its `command`, which is imported when it is used."""


@click.group("cmap", cls=Subcommands, modules=COMMANDS)
def command() -> None:
    """Read, change and follow corosync's keys.

    man cmap_keys(7) describes the keys. A change lasts until corosync stops, and affects only this node.
    """
