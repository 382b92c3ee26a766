"""`votequorum-ipc qdevice`: run a quorum device, show its state, unregister it."""

from __future__ import annotations

from typing import Final

import click

from .common import Subcommands

COMMANDS: Final = {
    "run": "qdevice_run",
    "status": "qdevice_status",
    "unregister": "qdevice_unregister",
}
"""Each subcommand, and the module of this package with its `command`, which is imported when it is used."""


@click.group("qdevice", cls=Subcommands, modules=COMMANDS)
def command() -> None:
    """Run a quorum device: a vote that is cast while your commands succeed."""
