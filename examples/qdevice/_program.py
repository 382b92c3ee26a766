"""Run a decision as a program, from its arguments to its exit: the common part of the examples.

Strategy: if SIGTERM kills a program, its vote stays until the daemon's timeout. So the signal cancels the
device instead, which withdraws the vote and unregisters. If the operating system reports an error (a missing
directory, a server that does not answer), the program prints a line on stderr and does not vote; the device
continues, and votes again when it can decide again.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial

import trio

from votequorum_ipc import CsError
from votequorum_ipc.qdevice import View, Vote, run_qdevice

_log = logging.getLogger(__name__)


def main(name: str, decision: Callable[[str], Vote], argument: str, description: str | None) -> None:
    """Run the device `name` until SIGTERM or Ctrl-C, with the decision made from the program's argument."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("argument", metavar=argument)
    parser.add_argument("--address", help="of a daemon that is not corosync, such as '@NAME-{service}'")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        vote = no_vote_in_doubt(decision(options.argument))
    except ValueError as error:
        parser.error(str(error))
    refused = ""
    try:
        trio.run(until_told, name, vote, options.address)
    except* CsError as errors:
        refused = "\n".join(map(str, errors.exceptions))
    # Python 3.11.2 turns a SystemExit raised inside `except*` into a group, and so into a traceback.
    if refused:
        sys.exit(refused)


async def until_told(name: str, vote: Vote, address: str | None) -> None:
    """Run the device until SIGTERM, then withdraw its vote."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_qdevice, name, vote, address=address))
            async for _ in signals:
                nursery.cancel_scope.cancel()


def no_vote_in_doubt(vote: Vote) -> Vote:
    """The same decision, except that an `OSError` means no; a new error is logged in one line."""
    told = ""

    async def decide(view: View) -> bool:
        nonlocal told
        try:
            answer = await vote(view)
        except OSError as error:
            if str(error) != told:
                told = str(error)
                _log.warning("no vote: %s", told)
            return False
        told = ""
        return answer

    return decide
