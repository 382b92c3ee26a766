"""The command line's outermost part: the table of subcommands."""

from __future__ import annotations

from typing import Final

import click

from .. import __version__
from .common import Subcommands

COMMANDS: Final = {
    "status": "status",
    "monitor": "monitor",
    "setexpected": "setexpected",
    "setvotes": "setvotes",
    "qdevice": "qdevice",
    "check": "check",
    "serve": "serve",
    "demo": "demo",
}
"""A subcommand: the module of this package whose `command` it is, imported when it is asked for."""


@click.group(cls=Subcommands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def app() -> None:
    """Ask corosync for quorum, follow it, change votes.

    Exit codes: 0 quorate or done, 1 not quorate or an error of corosync, 2 wrong usage.
    """
