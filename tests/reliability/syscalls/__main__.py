"""`python -m tests.reliability.syscalls`: every case, on the embedded daemon; exit code 1 with violations."""

from __future__ import annotations

import random
import sys
from collections import Counter

import click
import trio
from rich.console import Console
from rich.progress import Progress

from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.daemon import TransportName
from votequorum_ipc.testing import simulated_cluster

from .scenarios import SCENARIOS
from .sweep import cases, subject, unlisted, verdict

TRANSPORTS: tuple[TransportName, ...] = ("shm", "socket")


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only this one.")
@click.option("--call", "kinds", multiple=True, help="Only calls of this kind; may be repeated.")
@click.option("--sample", type=int, help="Only this many cases of each scenario, chosen at random.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
def main(names: tuple[str, ...], kinds: tuple[str, ...], sample: int | None, seed: int) -> None:
    """Make each system call of each scenario fail once, in each plausible way."""
    sys.exit(trio.run(_main, names or tuple(SCENARIOS), kinds, sample, random.Random(seed)))


async def _main(
    names: tuple[str, ...], kinds: tuple[str, ...], sample: int | None, chance: random.Random
) -> int:
    violations: list[str] = []
    ends: Counter[str] = Counter()
    with Progress(console=Console(stderr=True)) as progress:
        for transport in TRANSPORTS:
            async with (
                simulated_cluster(1, transport=transport, device=DeviceConfig(votes=1)) as cluster,
                subject(cluster.address(1)) as one,
            ):
                for name in names:
                    trace = await one.trace(name)
                    violations += [
                        f"{name}: {call} is missing from the tables of faults" for call in unlisted(trace)
                    ]
                    every = cases(name, trace)
                    chosen = [case for case in every if not kinds or case.call in kinds]
                    chosen = chance.sample(chosen, min(sample, len(chosen))) if sample else chosen
                    for case in progress.track(chosen, description=f"{transport} {name}"):
                        outcome = await one.run(case)
                        ends[_end(outcome.failures, outcome.injected)] += 1
                        if wrong := verdict(case, outcome):
                            violations.append(f"{transport}, {wrong}")
    click.echo(", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    click.echo("\n".join(violations) if violations else "violations: none")
    return int(bool(violations))


def _end(failures: tuple[str, ...], injected: bool) -> str:
    if not injected:
        return "not reached"
    return ", ".join(sorted(set(failures))) or "succeeded"


if __name__ == "__main__":
    main()
