"""`votequorum-ipc monitor`: the current state, then every change, through restarts of corosync."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click
import trio

from ..sessions import Outcome, SessionCommand
from .common import Seconds, options, printable, run, until_interrupted, utc_now
from .following import Following, Notice
from .hook import KINDS, Hook
from .monitor_live import live_options, run_live
from .output import LossyOutput

_PATIENCE: Final = 5.0
_EXEC_SECONDS: Final = 30.0


class _Kinds(click.ParamType):  # type: ignore[type-arg]
    """A comma-separated list."""

    name = "kind,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        kinds = str(value).split(",")
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(KINDS)}", param, ctx)
        return frozenset().union(*(KINDS[kind] for kind in kinds))


@click.command("monitor")
@click.option(
    "--patience",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=_PATIENCE,
    show_default=True,
    help="Report quorum as unknown if the daemon does not answer for SECONDS.",
)
@click.option(
    "--exec",
    "text",
    metavar="COMMAND",
    help="Run COMMAND at the start, for each change, and at the end; never two at once.",
)
@click.option(
    "--on",
    metavar="KIND,...",
    type=_Kinds(),
    help=f"For which changes: {', '.join(KINDS)}. All of them by default.",
)
@click.option(
    "--exec-timeout",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=_EXEC_SECONDS,
    show_default=True,
    help="Kill a COMMAND that takes longer.",
)
@click.option("--shell", is_flag=True, help="Run COMMAND with /bin/sh.")
@live_options
@options
def command(
    patience: float,
    text: str | None,
    on: frozenset[str] | None,
    exec_timeout: float,
    shell: bool,
    live: bool,
    demo: bool,
    as_json: bool,
    address: str | None,
) -> None:
    """Show the current state, then every change, until Ctrl-C or SIGTERM.

    When corosync stops, monitor reports it, and shows the state again once corosync is back. monitor exits,
    with code 1, only if this user is not allowed to ask.

    COMMAND gets the current state in QUORUM_STATE (quorate, not quorate, unknown), the change in
    QUORUM_CHANGE, and both as JSON on its standard input; docs/cli.md lists all variables.
    """
    if live or demo:
        others = {"--exec": text, "--on": on, "--shell": shell, "--json": as_json}
        run_live(patience, address, live=live, demo=demo, others=others)
        return
    if text is None and (on is not None or shell):
        raise click.UsageError("--on and --shell are for --exec COMMAND")
    try:
        hooked = SessionCommand(text, shell=shell) if text is not None else None
    except ValueError as error:
        raise click.UsageError(f"--exec: {error}") from None
    # A command must run whether or not the output is read.
    write = click.echo if hooked is None else LossyOutput().line
    printer = _JsonPrinter(write) if as_json else _TextPrinter(write)
    make_hook = None
    if hooked is not None:
        every = frozenset().union(*KINDS.values())
        make_hook = partial(Hook, hooked, on or every, exec_timeout, report=printer.ran)
    run(partial(until_interrupted, partial(monitor, address, patience, printer, make_hook)), as_json=as_json)


async def monitor(
    address: str | None, patience: float, printer: _Printer, make_hook: Callable[..., Hook] | None
) -> None:
    """Print the state and its changes, and run the hook for them, until cancelled.

    Raises `Access` and `Security`, as waiting would not help.
    """
    if make_hook is None:
        await Following(address, patience, printer.print).run()
        return

    def take(notice: Notice) -> None:
        printer.print(notice)
        hook.offer(notice)

    following = Following(address, patience, take)
    hook = make_hook(now=following.now)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hook.run)
            nursery.start_soon(following.run)
    finally:
        with trio.CancelScope(shield=True):
            await hook.stop()


class _Printer:
    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def print(self, notice: Notice) -> None:
        raise NotImplementedError

    def ran(self, notice: Notice, outcome: Outcome) -> None:
        """Report how a command ended."""
        raise NotImplementedError


class _JsonPrinter(_Printer):
    def print(self, notice: Notice) -> None:
        self._write(json.dumps(notice.line()))

    def ran(self, notice: Notice, outcome: Outcome) -> None:
        shape = {
            "event": "exec",
            "command": outcome.command,
            "for": notice.event,
            "succeeded": outcome.succeeded,
            "detail": outcome.detail,
        }
        self._write(json.dumps({"time": utc_now(), **shape}))


class _TextPrinter(_Printer):
    def print(self, notice: Notice) -> None:
        from .change_text import line
        from .tables import status_text

        if notice.moment is None:
            self._write(line(notice.text()))
        else:
            self._write(status_text(notice.moment) + "\n")

    def ran(self, notice: Notice, outcome: Outcome) -> None:
        from rich.text import Text

        from .change_text import line

        text = f"{printable(outcome.command)}: {outcome.detail} (for {notice.event})"
        self._write(line(Text(text, "dim" if outcome.succeeded else "bold red")))
