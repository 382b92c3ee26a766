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
"""A subcommand: the module of this package whose `command` it is, imported when it is asked for."""


@click.group("cmap", cls=Subcommands, modules=COMMANDS)
def command() -> None:
    """Read, change and follow corosync's keys.

    man cmap_keys(7) says what they mean. A change lasts until corosync ends, and concerns this node alone.
    """
