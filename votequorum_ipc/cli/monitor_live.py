"""`votequorum-ipc monitor --live`: checks before the screen can start.

Strategy: the screen needs textual, which is an extra, and a terminal. Both are checked before anything else,
so that if one is missing, a single line says what to do. The screen itself is `votequorum_ipc.live`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final, TypeVar

import click

from .common import FAILED

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])

_MISSING: Final = (
    "votequorum-ipc: monitor --live needs textual: "
    "pip install 'votequorum-ipc[live]', or '.[live]' in a checkout"
)


def live_options(function: FunctionT) -> FunctionT:
    """`--live` and `--demo`: the parameters `live` and `demo`."""
    add_demo = click.option(
        "--demo", is_flag=True, help="With --live: show a simulated cluster with failures."
    )
    add_live = click.option(
        "--live",
        is_flag=True,
        help="Show a full screen: votes, nodes, links, and a timeline. It lists its keys; q ends it.",
    )
    return add_live(add_demo(function))


def run_live(
    patience: float, address: str | None, *, live: bool, demo: bool, others: Mapping[str, object]
) -> None:
    """Show the screen until the user ends it. `others` are further options, false if not given."""
    if not live:
        raise click.UsageError("--demo is for --live; votequorum-ipc demo tells a story without a screen")
    given = [name for name, value in {**others, "--address": demo and address}.items() if value]
    if given:
        raise click.UsageError(f"{given[0]} and this screen cannot be combined: leave one of them out")
    # textual draws on standard error.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream.isatty() for stream in streams):
        raise click.UsageError(
            "--live needs a terminal: do not redirect its input, output or errors, or use monitor or "
            "monitor --json"
        )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise click.UsageError(
            "--live needs a terminal that can place its output, and TERM is dumb or not set: set it, such as "
            "TERM=xterm, or use monitor or monitor --json"
        )
    if find_spec("textual") is None:
        click.echo(_MISSING, err=True)
        sys.exit(FAILED)
    from ..live.app import LiveApp, run_on_terminal
    from ..live.demo import demo_cluster
    from ..live.feed import Feed

    with demo_cluster() if demo else contextlib.nullcontext() as cluster:
        feed = Feed(cluster.address if cluster else address, patience=patience)
        sys.exit(run_on_terminal(LiveApp(feed, patience=patience, narrator=cluster)))
