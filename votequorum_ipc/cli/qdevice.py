"""`votequorum-ipc qdevice`: run a quorum device, see how it is, unregister it."""

from __future__ import annotations

from typing import Final

import click

from .common import Subcommands

COMMANDS: Final = {
    "run": "qdevice_run",
    "status": "qdevice_status",
    "unregister": "qdevice_unregister",
}
"""A subcommand: the module of this package whose `command` it is, imported when it is asked for."""


@click.group("qdevice", cls=Subcommands, modules=COMMANDS)
def command() -> None:
    """Run a quorum device: a vote of your own, given while commands succeed."""
