"""The command `votequorum-ipc`: one module for each subcommand, listed in the table in `app`.

Strategy: a subcommand is imported when it is run, and imports what it needs only when it needs it, so that
the command starts fast. `common` has what subcommands share. `json_values` is what programs read; `tables`
and `change_text` are what people read.
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
    # Imports make no garbage, and each collection would examine everything that they have made so far.
    gc.disable()
    from .app import app

    try:
        app(prog_name="votequorum-ipc")
    except OSError as error:
        # Otherwise the interpreter would try to write the rest at its end, fail again, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"votequorum-ipc: {error}: can its output be written?")
