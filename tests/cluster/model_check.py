"""Runs many scenarios in the model and in corosync-vqsim, and counts the differences.

  python -m tests.cluster.model_check [--scenarios N] [--seed S] [--jobs J]

Half of the scenarios use no timer, a quarter use last_man_standing and wait for its window, and a quarter use
a quorum device. Prints each scenario that differs, and then exits with 1. vqsim mostly waits, so several run
at once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from votequorum_ipc.cli.vqsim_process import why_unavailable
from votequorum_ipc.cluster import TieBreaker

from .differential import Outcome, Verdict, compare
from .scenarios import Scenario, scenarios

MIX = (
    scenarios(),
    scenarios(),
    scenarios(timed=True, longest=10),
    scenarios(device=True, longest=10),
)
"""Half of the scenarios need no real time."""


def generate(count: int, number: int) -> list[Scenario]:
    """`count` scenarios, the same for the same seed."""
    return [scenario for part in _parts(count, number) for scenario in part]


def _parts(count: int, number: int) -> Iterator[list[Scenario]]:
    for at, strategy in enumerate(MIX):
        yield _draw(strategy, count // len(MIX) + (at < count % len(MIX)), number + at)


def _draw(strategy: st.SearchStrategy[Scenario], count: int, number: int) -> list[Scenario]:
    drawn: list[Scenario] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(scenario: Scenario) -> None:
        drawn.append(scenario)

    collect()
    return drawn


def options(scenario: Scenario) -> list[str]:
    """The options that a scenario uses, for the summary."""
    config = scenario.config
    named = {
        "two_node": config.two_node,
        "wait_for_all": config.wait_for_all,
        "last_man_standing": config.last_man_standing,
        "auto_tie_breaker": config.auto_tie_breaker is not TieBreaker.NONE,
        "auto_tie_breaker list": isinstance(config.auto_tie_breaker, tuple),
        "allow_downscale": config.allow_downscale,
        "expected_votes": config.expected_votes is not None,
        "expected_votes_tracking": config.expected_votes_tracking,
        "device": config.device is not None,
        "uneven votes": any(node.votes != 1 for node in config.nodes),
    }
    steps = {type(step).__name__.lower() for step in scenario.steps}
    return [name for name, is_set in named.items() if is_set] + [f"step {name}" for name in steps]


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--jobs", type=int, default=6)
    arguments = parser.parse_args()
    reason = why_unavailable()
    if reason:
        print(f"cannot run corosync-vqsim: {reason}", file=sys.stderr)
        return 2
    drawn = generate(arguments.scenarios, arguments.seed)
    start = time.monotonic()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = _follow([pool.submit(compare, scenario) for scenario in drawn], start)
    _summarise(drawn, verdicts, time.monotonic() - start)
    return 1 if verdicts[Verdict.DIFFERS] else 0


def _follow(runs: list[Future[Outcome]], start: float) -> Counter[Verdict]:
    verdicts: Counter[Verdict] = Counter()
    for done, run in enumerate(as_completed(runs), 1):
        outcome = run.result()
        verdicts[outcome.verdict] += 1
        if outcome.verdict is Verdict.DIFFERS:
            print(f"\nDIFFERENCE {verdicts[Verdict.DIFFERS]}: {outcome.story}\n")
        if done % 20 == 0 or done == len(runs):
            rate = done / (time.monotonic() - start)
            differing = verdicts[Verdict.DIFFERS]
            print(f"\r{done}/{len(runs)} scenarios, {differing} differ, {rate:.1f}/s ", end="", flush=True)
    print()
    return verdicts


def _summarise(drawn: list[Scenario], verdicts: Counter[Verdict], seconds: float) -> None:
    counts = Counter(option for scenario in drawn for option in options(scenario))
    steps = sum(len(scenario.steps) for scenario in drawn)
    print(f"{len(drawn)} scenarios with {steps} steps in {seconds:.0f} s")
    for verdict in Verdict:
        print(f"  {verdicts[verdict]:5} {verdict.value}")
    print("among them")
    for option, count in sorted(counts.items()):
        print(f"  {count:5} with {option}")


if __name__ == "__main__":
    sys.exit(main())
