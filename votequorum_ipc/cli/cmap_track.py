"""`votequorum-ipc cmap track KEY...`: shows each change of keys, until Ctrl-C."""

from __future__ import annotations

from functools import partial

import click

from ..cmap import Cmap
from ..ipc import sibling
from ..types import ALL_TRACK_TYPES, KeyChange, MapName, TrackType, ValueType
from .common import options, print_json, run, until_interrupted, utc_now
from .keys import binary_option, key_json, key_line, map_option, value_json

_WORDS = {TrackType.ADD: "create", TrackType.DELETE: "delete", TrackType.MODIFY: "modify"}


@click.command("track")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--prefix", is_flag=True, help="Follow all keys that begin with KEY.")
@binary_option
@map_option
@options
def command(
    keys: tuple[str, ...], prefix: bool, binary: bool, map_name: MapName, as_json: bool, address: str | None
) -> None:
    """Show each change of keys, until Ctrl-C or SIGTERM; exit 1 when corosync stops.

    For a prefix of the statistics corosync reports only which keys come and go. It reports changes of single
    statistics once a second.
    """
    main = partial(track, keys, prefix, binary, map_name, as_json, address)
    run(partial(until_interrupted, main), as_json=as_json)


async def track(
    keys: tuple[str, ...], prefix: bool, binary: bool, map_name: MapName, as_json: bool, address: str | None
) -> None:
    """Print each change, until cancelled. Raises `CsError` when the daemon is gone."""
    kinds = ALL_TRACK_TYPES
    if not prefix:
        kinds &= ~TrackType.PREFIX
    elif map_name == "stats":
        kinds &= ~TrackType.MODIFY
    async with await Cmap.initialize(map=map_name, address=sibling(address, "cmap")) as cmap:
        for key in keys:
            await cmap.track_add(key, kinds)
        if not as_json:
            click.echo(f"Following {', '.join(keys)}; Ctrl-C ends it.", err=True)
        async for change in cmap.events():
            _print(change, binary=binary, as_json=as_json)


def _print(change: KeyChange, *, binary: bool, as_json: bool) -> None:
    value = change.old if change.change is TrackType.DELETE else change.new
    kind = change.type or ValueType.BINARY
    word = _WORDS.get(change.change, "unknown change")
    shown = b"" if value is None else value
    if as_json:
        shape = key_json(change.key, kind, shown)
        print_json({"time": utc_now(), "event": word, **shape, "old": value_json(change.old)})
    else:
        click.echo(f"{word}> {key_line(change.key, kind, shown, binary=binary)}")
