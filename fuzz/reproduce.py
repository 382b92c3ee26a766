"""Performs a finding's steps against a daemon and says what has become of it: the main function of
reproducers.

Needs nothing but this library. The address is never taken for granted: these steps end daemons, so whoever
runs them says which one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from votequorum_ipc.attack import Step
from votequorum_ipc.errors import CsError, Timeout

from .attacker import Attacker, is_served


def reproduce(steps: Sequence[Step], about: str, arguments: Sequence[str] | None = None) -> str:
    """Perform the steps and print what another client sees, before and after the attacker's connections are
    closed: "served", "hangs", "refused" or "gone". Gives the first of them that is not "served", or that.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "address",
        help="the daemon to do this to, with {service} for the service's name: '@{service}' is the corosync "
        "of this network namespace. It may end by it.",
    )
    address = parser.parse_args(arguments).address
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
