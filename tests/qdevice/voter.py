"""A quorum device in a separate process: it reports when its decision is made and when its vote was cast.

    python -m tests.qdevice.voter NAME [HANG_AFTER]

Each line is a word and the seconds since the epoch: "asked" before the decision, "cast" after corosync has
accepted the vote. The decision always says yes; after HANG_AFTER votes it never ends.
"""

from __future__ import annotations

import math
import sys
import time

import trio

from votequorum_ipc.qdevice import Ballot, View, run_qdevice


async def main(name: str, hang_after: float) -> None:
    asked = 0

    async def vote(_: View) -> bool:
        nonlocal asked
        asked += 1
        _say("asked")
        if asked > hang_after:
            await trio.sleep_forever()
        return True

    def report(ballot: Ballot) -> None:
        _say("cast" if ballot.vote else "failed")

    await run_qdevice(name, vote, 0.2, report=report)


def _say(word: str) -> None:
    print(word, time.time(), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)
