"""`votequorum-ipc qdevice`: run a quorum device, see how it is, unregister it."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "run": "qdevice_run",
    "status": "qdevice_status",
    "unregister": "qdevice_unregister",
}
"""A subcommand: the module of this package whose `command` it is, imported when it is asked for."""


class _Subcommands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{COMMANDS[cmd_name]}", __package__).command
        return command


@click.group("qdevice", cls=_Subcommands)
def command() -> None:
    """Run a quorum device: a vote of your own, given while commands succeed."""
