"""`votequorum-ipc cmap list [PREFIX...]`: all keys, or those that begin with a prefix."""

from __future__ import annotations

import click

from ..cmap import Cmap
from ..errors import NotExist
from ..types import MapName, TypedValue
from .common import print_json, utc_now
from .keys import binary_option, key_json, key_line, key_options, on_cmap


@click.command("list")
@click.argument("prefixes", metavar="[PREFIX...]", nargs=-1)
@binary_option
@key_options
def command(
    prefixes: tuple[str, ...],
    binary: bool,
    map_name: MapName,
    timeout: float,
    as_json: bool,
    address: str | None,
) -> None:
    """Show all keys, or those that begin with a PREFIX, in cmap's order."""

    async def read(cmap: Cmap) -> list[tuple[str, TypedValue]]:
        found = []
        for prefix in prefixes or ("",):
            for key in await cmap.keys(prefix):
                try:
                    found.append((key, await cmap.get_typed(key)))
                except NotExist:
                    continue
        return found

    found = on_cmap(read, map_name, timeout, as_json, address)
    if as_json:
        print_json({"time": utc_now(), "keys": [key_json(key, *typed) for key, typed in found]})
        return
    for key, typed in found:
        click.echo(key_line(key, *typed, binary=binary))
