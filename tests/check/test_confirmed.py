"""corosync's own code confirms every story that the check finds for these configurations."""

from __future__ import annotations

import pytest

from tests.conftest import cannot
from votequorum_ipc.check import Bounds, DeviceKind, check
from votequorum_ipc.check.story import depends_on_who_speaks_first
from votequorum_ipc.cli.confirm import quorate_in_vqsim
from votequorum_ipc.cli.vqsim_process import why_unavailable
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, TieBreaker

LOWEST = TieBreaker.LOWEST
DEVICE = DeviceConfig(votes=1)

CONFIGS: dict[str, tuple[ClusterConfig, DeviceKind | None, int | None]] = {
    "two_node": (ClusterConfig.of(2, two_node=True), None, None),
    "two_node without waiting": (ClusterConfig.of(2, two_node=True, wait_for_all=False), None, None),
    "two_node with three": (ClusterConfig.of(3, two_node=True), None, None),
    "an odd tie breaker": (ClusterConfig.of(3, auto_tie_breaker=LOWEST, wait_for_all=True), None, None),
    "an even tie breaker": (ClusterConfig.of(4, auto_tie_breaker=LOWEST, wait_for_all=True), None, 2),
    "a tie breaker of four": (ClusterConfig.of(4, auto_tie_breaker=LOWEST), None, 2),
    "last man standing": (ClusterConfig.of(4, last_man_standing=True), None, 2),
    "last man standing, waiting": (ClusterConfig.of(4, last_man_standing=True, wait_for_all=True), None, 2),
    "an exclusive device": (ClusterConfig.of(3, device=DEVICE), DeviceKind.EXCLUSIVE, None),
    "a careless device": (ClusterConfig.of(2, device=DEVICE), DeviceKind.CARELESS, None),
    "too many expected": (ClusterConfig.of(3, expected_votes=7), None, None),
}


@pytest.fixture(scope="module", autouse=True)
def vqsim_available() -> None:
    """Skip if vqsim cannot run, or fail if it must."""
    if reason := why_unavailable():
        cannot(f"corosync-vqsim: {reason}")


@pytest.mark.parametrize("name", CONFIGS)
def test_corosyncs_own_code_confirms_the_stories(name: str) -> None:
    config, device, faults = CONFIGS[name]
    report = check(config, device=device, bounds=Bounds(faults=faults))
    told = [(one.name, story) for one in report.bad for story in one.stories]
    assert told
    for what, story in told:
        # in vqsim other nodes may speak first, and nodes decide before they have heard all others
        if not depends_on_who_speaks_first(config, story):
            assert quorate_in_vqsim(config, story)[-1] == story[-1].quorate, (what, story)
