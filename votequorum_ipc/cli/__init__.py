"""The command `votequorum-ipc`: one module a subcommand, found in the table in `app`.

Strategy: a subcommand is imported when it is run, and imports what it needs when it needs it, because the
command is judged by how fast it starts. `common` has what subcommands share. `json_values` is what programs
read; `tables` and `change_text` are what people read.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich")


def main() -> None:
    """The entry point. Exits with 0: quorate or done, 2: not quorate, 1: any failure, 64: wrong usage."""
    if any(find_spec(package) is None for package in _NEEDED):
        print(
            "votequorum-ipc needs click and rich: "
            "pip install 'votequorum-ipc[cli]', or '.[cli]' in a checkout",
            file=sys.stderr,
        )
        sys.exit(1)
    # Imports make no garbage, and each collection would look through all that they have made so far.
    gc.disable()
    from .app import app

    try:
        app(prog_name="votequorum-ipc")
    except OSError as error:
        # What could not be written would be tried once more, and be a traceback, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"votequorum-ipc: {error}: can its output be written?")
