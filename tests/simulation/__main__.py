"""`python -m tests.simulation --histories 10000`: run histories and print the violations; or replay one
history.

The exit code is 0 if no violation was found, otherwise 1. A violation is printed with its seed and the end of
its trace; `--seed N` replays it with the whole trace.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from .defects import DEFECTS
from .history import Outcome, run
from .plan import plan

SHOWN: Final = 25
"""Lines of a violation's trace to print."""


PROGRESS: Final = 500
"""Histories between two lines of progress."""


def summary(outcome: Outcome, lines: int = SHOWN) -> str:
    """A violation, with the end of its trace."""
    shown = outcome.trace[-lines:]
    return "\n".join(
        [
            f"seed {outcome.seed}: {outcome.violation}",
            *(f"    {line}" for line in shown),
            f"    python -m tests.simulation --seed {outcome.seed}",
        ]
    )


def replay(seed: int) -> int:
    """Run one history, and print its plan and its trace."""
    print(plan(seed))
    outcome = run(seed)
    print(*outcome.trace, sep="\n")
    print(f"seed {seed}: {outcome.violation or 'nothing found'}")
    return int(outcome.violation is not None)


def histories(seeds: Sequence[int], workers: int) -> Iterator[Outcome]:
    """The outcomes, in order of completion."""
    if workers == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=5)


def check_claims(first: int, most: int) -> int:
    """Put each defect into the library in turn, and print how many histories it takes to find it."""
    missed = 0
    for name, defect in DEFECTS.items():
        count, outcome = 0, None
        while count < most and (outcome is None or outcome.violation is None):
            with defect():
                outcome = run(first + count)
            count += 1
        found = outcome is not None and outcome.violation is not None
        missed += not found
        print(
            f"{name}: {f'found by history {count}' if found else f'not found in {count} histories'}",
            flush=True,
        )
    return int(missed > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this history alone")
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--first", type=int, default=random.randrange(1 << 30), help="the first seed")
    parser.add_argument("--defects", action="store_true", help="check the claims on seeded defects")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return replay(chosen.seed)
    if chosen.defects:
        return check_claims(chosen.first, min(chosen.histories, 300))
    began, counts, found = time.monotonic(), collections.Counter[str](), 0
    print(f"{chosen.histories} histories from seed {chosen.first} on", flush=True)
    for outcome in histories(range(chosen.first, chosen.first + chosen.histories), chosen.workers):
        counts += collections.Counter(
            histories=1,
            faults=outcome.faults,
            answers=outcome.answers,
            votes=outcome.votes,
            seconds=round(outcome.seconds),
        )
        if outcome.violation is not None:
            found += 1
            print(summary(outcome), flush=True)
        if counts["histories"] % PROGRESS == 0:
            print(f"{counts['histories']} of {chosen.histories} histories: {found} violations", flush=True)
    print(
        f"{counts['histories']} histories, {counts['faults']} faults, {counts['answers']} answers, "
        f"{counts['votes']} votes of devices, {counts['seconds'] / 3600:.1f} h of virtual time, in "
        f"{time.monotonic() - began:.0f} s: {found} violations"
    )
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
