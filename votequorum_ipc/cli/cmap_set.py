"""`votequorum-ipc cmap set KEY TYPE VALUE`: set a key."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import InvalidParam
from ..types import MapName, Value, ValueType
from ..wire.cmap import encode_value
from .common import done, printable
from .keys import TYPE_NAMES, ask_first, key_json, key_line, key_options, on_cmap, yes_option

# A value may begin with "-".
_CONTEXT = {"ignore_unknown_options": True}


@click.command("set", context_settings=_CONTEXT)
@click.argument("key", metavar="KEY")
@click.argument("kind", metavar="TYPE", type=click.Choice(list(TYPE_NAMES)))
@click.argument("text", metavar="VALUE")
@yes_option
@key_options
def command(
    key: str,
    kind: str,
    text: str,
    yes: bool,
    map_name: MapName,
    timeout: float,
    as_json: bool,
    address: str | None,
) -> None:
    """Set KEY to a VALUE of a TYPE; create KEY if it does not exist.

    TYPE is i8, u8, i16, u16, i32, u32, i64, u64, flt, dbl, str or bin. For bin, VALUE is a file name, or -
    for standard input. Asks before changing a key that corosync acts on.
    """
    type_ = TYPE_NAMES[kind]
    value = _value(type_, text)
    ask_first([key] if map_name == "cmap" else [], f"Set it to {printable(text)}", yes=yes)
    on_cmap(lambda cmap: cmap.set(key, value, type_), map_name, timeout, as_json, address)
    done(key_line(key, type_, value, binary=True), key_json(key, type_, value), as_json=as_json)


def _value(kind: ValueType, text: str) -> Value:
    """The value for this text. An invalid text is wrong usage."""
    try:
        if kind is ValueType.BINARY:
            return sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()
        value: Value = text
        if kind in (ValueType.FLOAT, ValueType.DOUBLE):
            value = float(text)
        elif kind is not ValueType.STRING:
            value = int(text, 0)
        encode_value(kind, value)
    except (ValueError, OverflowError, OSError, InvalidParam) as error:
        raise click.UsageError(f"VALUE: {printable(str(error))}") from None
    return value
