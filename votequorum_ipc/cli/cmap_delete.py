"""`votequorum-ipc cmap delete KEY...`: delete keys."""

from __future__ import annotations

import click

from ..cmap import Cmap
from ..errors import NotExist
from ..types import MapName
from .common import done, printable
from .keys import ask_first, key_options, on_cmap, yes_option


@click.command("delete")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--prefix", is_flag=True, help="Delete all keys that begin with KEY.")
@yes_option
@key_options
def command(
    keys: tuple[str, ...],
    prefix: bool,
    yes: bool,
    map_name: MapName,
    timeout: float,
    as_json: bool,
    address: str | None,
) -> None:
    """Delete keys; exit 1 if one does not exist. Asks before deleting a key that corosync acts on."""

    async def named(cmap: Cmap) -> list[str]:
        return [key for start in keys for key in await cmap.keys(start)] if prefix else list(keys)

    async def delete(cmap: Cmap) -> None:
        for key in found:
            try:
                await cmap.delete(key)
            except NotExist:
                if not prefix:  # otherwise it is already gone
                    raise

    found = on_cmap(named, map_name, timeout, as_json, address)
    ask_first(found, "Delete" if len(found) > 1 else "Delete it", yes=yes)
    on_cmap(delete, map_name, timeout, as_json, address)
    done("\n".join(f"Deleted: {printable(key)}" for key in found), {"deleted": found}, as_json=as_json)
