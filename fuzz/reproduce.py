"""The main function of reproducers: performs a finding's steps against a daemon and says what became of it.

It needs only the library. There is no default address, because these steps end daemons: whoever runs them
names the daemon.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from votequorum_ipc.attack import Step
from votequorum_ipc.errors import CsError, Timeout

from .attacker import Attacker, is_served


def reproduce(steps: Sequence[Step], about: str, arguments: Sequence[str] | None = None) -> str:
    """`attempt` at the address that the command line names."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "address",
        help="the daemon to do this to, with {service} for the service's name: '@{service}' is the corosync "
        "of this network namespace. The steps may end it.",
    )
    return attempt(steps, parser.parse_args(arguments).address)


def attempt(steps: Sequence[Step], address: str) -> str:
    """Perform the steps. Print what another client sees while the attacker is connected, and afterwards.

    Gives the first of the two that is not `SERVED`, else `SERVED`.
    """
    attacker = Attacker(address)
    try:
        attacker.perform(steps)
        first = see(address)
        print(f"with the connections open, another client is {first}")
    finally:
        attacker.close()
    last = see(address)
    print(f"with the connections closed, another client is {last}")
    return last if first == SERVED else first


SERVED = "served"


def see(address: str | None) -> str:
    """What another client sees of the daemon now."""
    until = time.monotonic() + 1
    while True:
        try:
            is_served(address)
        except Timeout:
            return "not answered"
        except ConnectionRefusedError:
            return "alone: nothing listens any more"
        except (CsError, OSError) as error:
            # A daemon that dies closes its connections first.
            if time.monotonic() > until:
                return f"refused: {error}"
            time.sleep(0.05)
            if not isinstance(error, OSError) and "closed" not in str(error):
                return f"refused: {error}"
        else:
            return SERVED
