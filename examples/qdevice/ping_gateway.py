"""A vote while the gateway answers pings: python ping_gateway.py 192.0.2.1

Protects from: a node whose own link to the network is dead. It loses its vote, and with it quorum, while the
node that can still be reached from outside continues.

Does not protect from: a split in which both sides reach the gateway, because only the link between the nodes
is cut. Both sides then have the vote, and in a cluster of two nodes BOTH SIDES CONTINUE. So combine it with
something exclusive, or use it only if the nodes reach each other through nothing but the gateway.
"""

from __future__ import annotations

import subprocess
from functools import partial

import trio

from votequorum_ipc.qdevice import View


async def ping_gateway(gateway: str, _: View) -> bool:
    """Whether one ping is answered within a second (ping of iputils)."""
    command = ["ping", "-n", "-q", "-c", "1", "-W", "1", "--", gateway]
    done = await trio.run_process(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


if __name__ == "__main__":
    from _program import main  # the file beside this one

    main("gateway", lambda gateway: partial(ping_gateway, gateway), "GATEWAY", __doc__)
