"""The command line's outermost part: the table of subcommands."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from .. import __version__

COMMANDS: Final = {
    "status": "status",
    "monitor": "monitor",
    "setexpected": "setexpected",
    "setvotes": "setvotes",
    "fuzz": "fuzz",
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


@click.group(cls=_Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def app() -> None:
    """Ask corosync for quorum, follow it, change votes.

    Exit codes: 0 quorate or done, 1 not quorate or an error of corosync, 2 wrong usage.
    """
