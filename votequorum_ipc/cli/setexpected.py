"""`votequorum-ipc setexpected N`: how many votes the whole cluster expects."""

from __future__ import annotations

import click

from .common import done, options, run
from .votes import MOST_VOTES, on_votequorum


@click.command("setexpected")
@click.argument("expected_votes", metavar="N", type=click.IntRange(1, MOST_VOTES))
@options
def command(expected_votes: int, as_json: bool, address: str | None) -> None:
    """Let the cluster expect N votes.

    Refused when N is below the votes present, or when the cluster would lose quorum by it.
    """
    run(
        lambda: on_votequorum(address, lambda votequorum: votequorum.setexpected(expected_votes)),
        as_json=as_json,
    )
    done(f"Expected votes: {expected_votes}", {"expected_votes": expected_votes}, as_json=as_json)
