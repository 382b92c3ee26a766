"""`votequorum-ipc cmap get KEY...`: the values of keys."""

from __future__ import annotations

import click

from ..cmap import Cmap
from ..types import MapName, TypedValue
from .common import print_json, utc_now
from .keys import binary_option, key_json, key_line, key_options, on_cmap, value_text


@click.command("get")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="Print only the values.")
@binary_option
@key_options
def command(
    keys: tuple[str, ...],
    quiet: bool,
    binary: bool,
    map_name: MapName,
    timeout: float,
    as_json: bool,
    address: str | None,
) -> None:
    """Show keys; exit 1 if one does not exist."""

    async def get(cmap: Cmap) -> list[tuple[str, TypedValue]]:
        return [(key, await cmap.get_typed(key)) for key in keys]

    found = on_cmap(get, map_name, timeout, as_json, address)
    if as_json:
        print_json({"time": utc_now(), "keys": [key_json(key, *typed) for key, typed in found]})
        return
    for key, typed in found:
        click.echo(value_text(typed.value) if quiet else key_line(key, *typed, binary=binary))
