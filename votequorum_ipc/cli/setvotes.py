"""`votequorum-ipc setvotes NODE VOTES`: how many votes a node has."""

from __future__ import annotations

import click

from .common import done, options, run_without_loop
from .votes import MOST_VOTES, on_votequorum

_MOST_NODEID = 2**32 - 1


@click.command("setvotes")
@click.argument("node_id", metavar="NODE", type=click.IntRange(1, _MOST_NODEID))
@click.argument("votes", metavar="VOTES", type=click.IntRange(0, MOST_VOTES))
@options
def command(node_id: int, votes: int, as_json: bool, address: str | None) -> None:
    """Let the node with the id NODE have VOTES votes.

    Refused for a node that is unknown, and when the cluster would lose quorum by it.
    """
    run_without_loop(
        on_votequorum(address, lambda votequorum: votequorum.setvotes(node_id, votes)),
        as_json=as_json,
    )
    done(f"Votes of node {node_id}: {votes}", {"node_id": node_id, "votes": votes}, as_json=as_json)
