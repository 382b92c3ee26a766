"""What the subcommands of `cmap` share: values as text and as JSON, and asking before risky changes.

Strategy: the lines and the names of types are corosync-cmapctl's, so that programs that read its output can
read ours. corosync acts at once on changes of keys with certain prefixes, so the command asks before it
changes one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

import click

from ..cmap import Cmap
from ..ipc import sibling
from ..types import MapName, Value, ValueType
from .common import DEFAULT_TIMEOUT, FAILED, FunctionT, options, printable, run_without_loop, timeout_option

T = TypeVar("T")

TYPE_NAMES: Final = {
    "i8": ValueType.INT8,
    "u8": ValueType.UINT8,
    "i16": ValueType.INT16,
    "u16": ValueType.UINT16,
    "i32": ValueType.INT32,
    "u32": ValueType.UINT32,
    "i64": ValueType.INT64,
    "u64": ValueType.UINT64,
    "flt": ValueType.FLOAT,
    "dbl": ValueType.DOUBLE,
    "str": ValueType.STRING,
    "bin": ValueType.BINARY,
}
"""corosync-cmapctl's names of the types."""

_NAMES: Final = {kind: name for name, kind in TYPE_NAMES.items()}

ACTED_ON: Final = (
    "cluster.",
    "config.",
    "internal_configuration.",
    "logging.",
    "nodelist.",
    "qb.",
    "quorum.",
    "resources.",
    "runtime.",
    "system.",
    "totem.",
    "uidgid.",
)
"""Prefixes of the keys that corosync and its programs act on."""


def map_option(function: FunctionT) -> FunctionT:
    """`--map`: the parameter `map_name`."""
    add_map = click.option(
        "-m",
        "--map",
        "map_name",
        type=click.Choice(["cmap", "stats"]),
        default="cmap",
        show_default=True,
        help="The configuration and runtime keys, or the statistics.",
    )
    return add_map(function)


def key_options(function: FunctionT) -> FunctionT:
    """`--map`, `--timeout`, `--json`, `--address`: `map_name`, `timeout`, `as_json` and `address`."""
    return map_option(timeout_option(DEFAULT_TIMEOUT)(options(function)))


def binary_option(function: FunctionT) -> FunctionT:
    """`--binary`: the parameter `binary`."""
    return click.option("-b", "--binary", is_flag=True, help="Show binary values.")(function)


def yes_option(function: FunctionT) -> FunctionT:
    """`--yes`: the parameter `yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)


def on_cmap(
    call: Callable[[Cmap], Awaitable[T]],
    map_name: MapName,
    timeout: float | None,
    as_json: bool,
    address: str | None,
) -> T:
    """Make calls on a map; a `CsError` ends the command."""

    async def main() -> T:
        async with await Cmap.initialize(map=map_name, address=sibling(address, "cmap")) as cmap:
            return await call(cmap)

    return run_without_loop(main(), as_json=as_json, timeout=timeout)


def ask_first(keys: Iterable[str], what: str, *, yes: bool) -> None:
    """Ask before a change of keys that corosync acts on; exit with code 1 unless the answer is yes."""
    acted_on = [key for key in keys if any(key.startswith(p) or p.startswith(key) for p in ACTED_ON)]
    if yes or not acted_on:
        return
    named = printable(", ".join(acted_on))
    if not sys.stdin.isatty():
        click.echo(
            f"votequorum-ipc: corosync acts on {named}, so nothing was changed: --yes changes it "
            "without asking",
            err=True,
        )
        sys.exit(FAILED)
    if not click.confirm(f"corosync acts on {named} at once. {what}?"):
        sys.exit(FAILED)


def key_line(key: str, kind: ValueType, value: Value, *, binary: bool) -> str:
    """A key as corosync-cmapctl prints it."""
    head = f"{printable(key)} ({_NAMES[kind]})"
    if kind is ValueType.BINARY and not binary:
        return head
    return f"{head} = {value_text(value)}"


def value_text(value: Value) -> str:
    """A value as corosync-cmapctl prints it."""
    if isinstance(value, bytes):
        return "".join(_byte(byte) for byte in value) or "*empty*"
    if isinstance(value, float):
        return f"{value:f}"
    return printable(str(value))


def _byte(byte: int) -> str:
    if byte == ord("\\"):
        return r"\\"
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02X}"


def key_json(key: str, kind: ValueType, value: Value) -> dict[str, Any]:
    """A key as JSON; binary values are in hexadecimal."""
    return {"key": key, "type": _NAMES[kind], "value": value_json(value)}


def value_json(value: Value | None) -> Any:
    """A value, or null if there is none. JSON has no infinity and no nan, so those are text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value
