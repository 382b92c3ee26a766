"""`votequorum-ipc qdevice unregister`: withdraw this node's device, whoever registered it."""

from __future__ import annotations

from functools import partial

import click

from ..errors import NotExist
from ..types import InfoFlags
from ..votequorum import Votequorum
from .common import done, options, run
from .votes import on_votequorum


@click.command("unregister")
@click.option("--name", help="The device's name; the one that is registered by default.")
@options
def command(name: str | None, as_json: bool, address: str | None) -> None:
    """Unregister this node's quorum device and withdraw its vote.

    For a device that was left registered. A device that still runs ends with an error at its next vote.
    """
    names: list[str] = []

    async def unregister(votequorum: Votequorum) -> None:
        names.append(name or await _registered(votequorum))
        await votequorum.qdevice_unregister(names[0])

    run(partial(on_votequorum, address, unregister), as_json=as_json)
    done(f"Unregistered: {names[0]}", {"unregistered": names[0]}, as_json=as_json)


async def _registered(votequorum: Votequorum) -> str:
    info = await votequorum.getinfo()
    if InfoFlags.QDEVICE_REGISTERED not in info.flags:
        raise NotExist("no quorum device is registered on this node")
    return info.qdevice_name
