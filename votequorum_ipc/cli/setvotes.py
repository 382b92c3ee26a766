"""`votequorum-ipc setvotes NODE VOTES`: sets how many votes a node has."""

from __future__ import annotations

from typing import Any

import click

from ..errors import NameNotFound
from ..follow import cluster_status
from ..votequorum import Votequorum
from .common import DEFAULT_TIMEOUT, done, options, run_without_loop, timeout_option
from .votes import MOST_VOTES, on_votequorum

_MOST_NODEID = 2**32 - 1


class _NodeReference(click.ParamType):  # type: ignore[type-arg]
    """A node's id, or its name. Digits are an id."""

    name = "node"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if not str(value).isdecimal():
            return str(value)
        return int(click.IntRange(1, _MOST_NODEID).convert(value, param, ctx))


@click.command("setvotes")
@click.argument("node", metavar="NODE", type=_NodeReference())
@click.argument("votes", metavar="VOTES", type=click.IntRange(0, MOST_VOTES))
@timeout_option(DEFAULT_TIMEOUT)
@options
def command(node: int | str, votes: int, timeout: float, as_json: bool, address: str | None) -> None:
    """Set the votes of NODE, an id or a name, to VOTES.

    corosync refuses for an unknown node, and if the cluster would lose quorum.
    """

    async def set_votes() -> int:
        node_id = await _node_id(node, address)

        async def call(votequorum: Votequorum) -> None:
            await votequorum.setvotes(node_id, votes)

        await on_votequorum(address, call)
        return node_id

    node_id = run_without_loop(set_votes(), as_json=as_json, timeout=timeout)
    done(f"Votes of node {node_id}: {votes}", {"node_id": node_id, "votes": votes}, as_json=as_json)


async def _node_id(node: int | str, address: str | None) -> int:
    """The id of a node given by id or name. Raises `NameNotFound` for an unknown name."""
    if isinstance(node, int):
        return node
    nodes = (await cluster_status(address)).configured
    found = [each.node_id for each in nodes if each.name == node]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.node_id} ({each.name})" if each.name else str(each.node_id) for each in nodes)
    which = f"several nodes are called {node!r}" if found else f"no node is called {node!r}"
    raise NameNotFound(f"{which}: the node list has {known or 'no nodes in cmap'}")
