"""What subcommands share: options, running, and reporting failures to people and programs.

Strategy: a command that asks only once runs in the calling thread (`run_without_loop`). One that follows or
serves runs under trio, whose import takes three times as long as everything that `status --json` needs.
"""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NoReturn, TypeVar

import click

from ..errors import CsError, InvalidParam, Timeout
from ..exception_groups import collapse_exception_group

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

FAILED: Final = 1
"""The exit code for an error from corosync: `status` cannot tell whether there is quorum."""


_WHOLE: Final = 1000
"""Longer than the first sentence of any subcommand's help, so that click does not cut it."""


class Subcommands(click.Group):
    """A group whose subcommands are imported when they are used."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        """`modules` has each subcommand, and the module of this package with its `command`."""
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion for a misspelt subcommand."""
        word = args[0]
        if word not in self._modules and not word.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(word, self._modules, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command {printable(word)!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List each subcommand with its whole first sentence, which click would cut."""
        found = [(name, self.get_command(ctx, name)) for name in self._modules]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._modules:
            return None
        _import_construct()
        command: click.Command = import_module(f".{self._modules[cmd_name]}", __package__).command
        # See `main`, which stops collections until the imports are done.
        gc.freeze()
        gc.enable()
        return command


def _import_construct() -> None:
    """Import construct without pdb, which takes a third of that time.

    construct imports it for its debugging aids, which no subcommand uses. Whoever imports pdb afterwards, as
    `breakpoint()` does, gets the real one.
    """
    if "construct" in sys.modules or "pdb" in sys.modules:
        return
    sys.modules["pdb"] = ModuleType("pdb")
    try:
        import_module("construct")
    finally:
        del sys.modules["pdb"]


class Seconds(click.FloatRange):
    """A number of seconds within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        # no range excludes nan
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number", param, ctx)
        return seconds


def options(function: FunctionT) -> FunctionT:
    """The options `--json` and `--address` of every subcommand: the parameters `as_json` and `address`."""
    add_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return add_json(address_option(function))


def address_option(function: FunctionT) -> FunctionT:
    """`--address`: the parameter `address`."""
    add_address = click.option(
        "--address",
        metavar="ADDRESS",
        callback=_check_address,
        help="The daemon to use instead of corosync on this machine: @NAME for an abstract socket, or a "
        "path. {service} in it stands for each service's name; without that, an address ending in "
        "votequorum leads to the other services too.",
    )
    return add_address(function)


def _check_address(_context: click.Context, _option: click.Parameter, address: str | None) -> str | None:
    """Reject an invalid address as wrong usage; a valid one may still lead nowhere."""
    if address is not None:
        from ..sockets import locate

        try:
            locate("votequorum", address)
        except InvalidParam as error:
            raise click.BadParameter(printable(str(error))) from None
    return address


DEFAULT_TIMEOUT: Final = 10.0
"""How many seconds a command that only asks waits for corosync's answer."""


def timeout_option(default: float | None = None) -> Callable[[FunctionT], FunctionT]:
    """The option `--timeout` of a command that asks one question: the parameter `timeout`; None waits without
    limit."""
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        default=default,
        show_default=default is not None,
        help="Give up, with exit code 1, if there is no answer within SECONDS.",
    )


def run(main: Callable[[], Coroutine[Any, Any, T]], *, as_json: bool) -> T:
    """Run `main` under trio; a `CsError` ends the command with a one-line message and exit code 1."""
    import trio

    try:
        with collapse_exception_group(levels=math.inf):
            return trio.run(main)
    except CsError as error:
        fail(error, as_json=as_json)


def run_without_loop(main: Coroutine[Any, Any, T], *, as_json: bool, timeout: float | None = None) -> T:
    """Run `main` in this thread, without an event loop; a `CsError` ends the command as in `run`.

    So does a `main` that takes longer than `timeout` seconds.
    """
    from ..ipc.blocking_backend import run_blocking

    try:
        return run_blocking(main if timeout is None else _within(main, timeout))
    except CsError as error:
        fail(error, as_json=as_json)


async def _within(main: Coroutine[Any, Any, T], seconds: float) -> T:
    from ..ipc.backend import move_on_after

    with move_on_after(seconds):
        return await main
    raise Timeout(
        f"corosync has not answered for {seconds:g} s: is it stopped, or waiting for other nodes or a quorum "
        "device? See its log, try again, or allow more time"
    )


async def until_interrupted(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` to its end; Ctrl-C and SIGTERM cancel it without a failure."""
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await main()
            nursery.cancel_scope.cancel()


def fail(error: CsError, *, as_json: bool) -> NoReturn:
    """Report a failure, to people on stderr and to programs on stdout; exit code 1."""
    if as_json:
        from .json_values import error_json

        print_json({"time": utc_now(), "error": error_json(error)})
    click.echo(f"votequorum-ipc: {printable(str(error))}", err=True)
    sys.exit(FAILED)


def done(text: str, shape: dict[str, Any], *, as_json: bool) -> None:
    """Report what was done, to people or to programs."""
    if as_json:
        print_json({"time": utc_now(), **shape})
    else:
        click.echo(text)


def print_json(value: Any) -> None:
    """Print a JSON value on one line, unbuffered."""
    click.echo(json.dumps(value))


def utc_now() -> str:
    """A time for JSON output."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 10**6:03}Z"


def printable(text: str) -> str:
    """`text` without control characters: names come from the configuration and from other processes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
