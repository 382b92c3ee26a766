"""A hundred histories in every run of the tests, and tests of their judgement."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .__main__ import summary
from .defects import DEFECTS
from .history import run

FIRST = 7_000_000
BLOCKS, BLOCK = 4, 25
"""The histories of a test run. `make soak` runs 10,000 others."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories_hold_every_claim(block: int) -> None:
    found = []
    for seed in range(FIRST + block * BLOCK, FIRST + (block + 1) * BLOCK):
        outcome = run(seed)
        if outcome.violation is not None:
            found.append(summary(outcome))
    assert not found, "\n".join(found)


FOUND_HERE = {
    7_000_280: "a reload excluded a device that was about to register again, and its name stayed registered",
    20_000_417: "two other nodes changed between their answers, and a view had one before and one after",
}
"""Seeds that once found a mistake."""


@pytest.mark.parametrize("seed", FOUND_HERE)
def test_a_mistake_found_once_does_not_come_back(seed: int) -> None:
    assert run(seed).violation is None, FOUND_HERE[seed]


TRACE = "import sys; from tests.simulation.history import run; print(*run(int(sys.argv[1])).trace, sep='\\n')"


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_seed_replays_its_history_byte_for_byte_even_in_another_process(seed: int) -> None:
    here = run(seed).trace
    assert here == run(seed).trace
    elsewhere = subprocess.run(
        [sys.executable, "-c", TRACE, str(seed)],
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        capture_output=True,
        check=True,
    )
    assert elsewhere.stdout == ("\n".join(here) + "\n").encode()


def test_seeds_differ_in_what_happens() -> None:
    assert len({tuple(run(seed).trace) for seed in range(5)}) == 5


FOUND_AT = {
    "a status mixes two moments": 20_000_417,
    "a cancelled query loses changes": FIRST + 45,
    "a decision that fails is a yes": FIRST + 54,
    "a daemon without a provider is trusted": FIRST + 15,
}
"""Seeds that soon reach a rare defect: `python -m tests.simulation --defects` finds such seeds."""


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    first = FOUND_AT.get(name, FIRST)
    for seed in range(first, first + 200):
        with DEFECTS[name]():
            outcome = run(seed)
        if outcome.violation is not None:
            return
    pytest.fail(f"no history finds that {name}")
