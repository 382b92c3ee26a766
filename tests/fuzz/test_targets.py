"""Every fuzz target, for as many cases as the normal tests have time for: from a fixed seed, and a fresh
one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis.errors import FlakyFailure

from fuzz.runner import run_examples
from fuzz.target import Session, Target, find_targets
from fuzz.targets.corosync import CorosyncFailed

TARGETS = find_targets()
FIXED_SEED = 20261120


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    found = TARGETS[request.param]
    if found.needs_corosync:
        request.getfixturevalue("real_corosync")
    return found


@pytest.fixture
def session(target: Target) -> Iterator[Session]:
    with target.session() as session:
        yield session


def run(target: Target, session: Session, seed: int) -> None:
    """Run a target's cases. What corosync itself does not stand is its defect, and no failure of this
    suite.
    """
    try:
        run_examples(target, session, target.examples, seed, shrink=not target.name.startswith("corosync"))
    except CorosyncFailed as failure:
        found: BaseException = failure
    except FlakyFailure as group:
        # hypothesis tries what failed once more, and corosync need not fail of it twice.
        failures = group.subgroup(CorosyncFailed)
        if failures is None:
            raise
        found = failures.exceptions[0]
    else:
        return
    pytest.xfail(f"found in corosync, with seed {seed}: {str(found).splitlines()[0]}")


@pytest.mark.parametrize("seed", [FIXED_SEED, random.SystemRandom().getrandbits(32)], ids=["fixed", "fresh"])
def test_the_property_holds(target: Target, session: Session, seed: int) -> None:
    print(f"seed {seed}")  # pytest shows it where the test fails
    run(target, session, seed)
