"""`votequorum-ipc qdevice unregister`: withdraws this node's device, whichever program registered it."""

from __future__ import annotations

import click

from ..errors import InvalidParam, NotExist
from ..types import InfoFlags
from ..votequorum import Votequorum
from .common import done, options, run_without_loop
from .votes import on_votequorum


@click.command("unregister")
@click.option("--name", help="The device's name. Default: the registered one.")
@options
def command(name: str | None, as_json: bool, address: str | None) -> None:
    """Unregister this node's quorum device and withdraw its vote.

    Use it for a device that was left registered. A device that is still running fails at its next vote.
    """
    names: list[str] = []

    async def unregister(votequorum: Votequorum) -> None:
        names.append(await _registered(votequorum, name))
        await votequorum.qdevice_unregister(names[0])

    run_without_loop(on_votequorum(address, unregister), as_json=as_json)
    done(f"Unregistered: {names[0]}", {"unregistered": names[0]}, as_json=as_json)


async def _registered(votequorum: Votequorum, name: str | None) -> str:
    """The name of this node's device. Raises `NotExist` without one, `InvalidParam` when it is not `name`."""
    info = await votequorum.getinfo()
    if InfoFlags.QDEVICE_REGISTERED not in info.flags:
        raise NotExist(
            "no quorum device is registered on this node, so there is nothing to unregister; "
            "votequorum-ipc status shows which nodes have one"
        )
    if name not in (None, info.qdevice_name):
        raise InvalidParam(
            f"the device registered on this node is called {info.qdevice_name!r}, not {name!r}: "
            "give that name, or no name"
        )
    return info.qdevice_name
