"""The command line's outermost part: the table of subcommands."""

from __future__ import annotations

import os
from typing import Final

import click

from .. import __version__
from .common import Subcommands

COMMANDS: Final = {
    "status": "status",
    "monitor": "monitor",
    "links": "links",
    "health": "health",
    "exporter": "exporter",
    "setexpected": "setexpected",
    "setvotes": "setvotes",
    "qdevice": "qdevice",
    "cmap": "cmap",
    "check": "check",
    "serve": "serve",
    "demo": "demo",
}
"""Each subcommand, and the module of this package with its `command`, which is imported when it is used."""


# click's own code for wrong usage is 2, which here means a node without quorum.
click.UsageError.exit_code = os.EX_USAGE


@click.group(cls=Subcommands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def app() -> None:
    """Ask corosync about quorum, follow it, change votes.

    Exit codes: 0 quorate or done, 2 not quorate, 1 corosync reported an error, 64 wrong usage.
    """
