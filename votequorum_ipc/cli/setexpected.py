"""`votequorum-ipc setexpected N`: sets how many votes the whole cluster expects."""

from __future__ import annotations

from functools import partial

import click

from ..errors import InvalidParam
from ..votequorum import Votequorum
from .common import DEFAULT_TIMEOUT, done, options, run_without_loop, timeout_option
from .votes import MOST_VOTES, on_votequorum


@click.command("setexpected")
@click.argument("expected_votes", metavar="N", type=click.IntRange(1, MOST_VOTES))
@timeout_option(DEFAULT_TIMEOUT)
@options
def command(expected_votes: int, timeout: float, as_json: bool, address: str | None) -> None:
    """Set the cluster's expected votes to N.

    corosync refuses if N is below the votes present, or if the cluster would lose quorum.
    """
    main = on_votequorum(address, partial(_set, expected_votes))
    run_without_loop(main, as_json=as_json, timeout=timeout)
    done(f"Expected votes: {expected_votes}", {"expected_votes": expected_votes}, as_json=as_json)


async def _set(expected_votes: int, votequorum: Votequorum) -> None:
    try:
        await votequorum.setexpected(expected_votes)
    except InvalidParam:
        present = (await votequorum.getinfo()).total_votes
        raise InvalidParam(_reason(expected_votes, present)) from None


def _reason(expected_votes: int, present: int) -> str:
    """Why votequorum refuses (`message_handler_req_lib_votequorum_setexpected`), and what it would accept."""
    if expected_votes < present:
        return f"{expected_votes} is below the {_votes(present)} present: expect {present} or more"
    return (
        f"{expected_votes} expected votes need a quorum of {expected_votes // 2 + 1}, and {_votes(present)} "
        f"{'is' if present == 1 else 'are'} present, so quorum would be lost: "
        f"expect at most {2 * present - 1}, or bring up more nodes first"
    )


def _votes(number: int) -> str:
    return "1 vote" if number == 1 else f"{number} votes"
