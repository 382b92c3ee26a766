"""The command `votequorum-ipc`: one module a subcommand, found in the table in `app`.

Strategy: a subcommand is imported when it is run, and imports what it needs when it needs it, because the
command is judged by how fast it starts. `common` has what subcommands share, `shapes` what programs read,
`tables` what people read.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich")


def main() -> None:
    """The entry point. Exits with 0: quorate or done, 1: an error of corosync or not quorate, 2: usage."""
    if any(find_spec(package) is None for package in _NEEDED):
        print("votequorum-ipc needs click and rich: pip install 'votequorum-ipc[cli]'", file=sys.stderr)
        sys.exit(2)
    from .app import app

    app(prog_name="votequorum-ipc")
