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
"""A subcommand: the module of this package whose `command` it is, imported when it is asked for."""


# 2, which click takes for wrong usage, is what `status` says of a node without quorum.
click.UsageError.exit_code = os.EX_USAGE


@click.group(cls=Subcommands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def app() -> None:
    """Ask corosync for quorum, follow it, change votes.

    Exit codes: 0 quorate or done, 2 not quorate, 1 an error of corosync, 64 wrong usage.
    """
