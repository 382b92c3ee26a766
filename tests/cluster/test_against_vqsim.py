"""The model against corosync's own votequorum code, run by `corosync-vqsim`.

`differential` explains what is compared, how a scenario maps to both sides, and what is particular to vqsim.
`python -m tests.cluster.model_check` makes the same comparison for thousands of scenarios.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import cannot
from votequorum_ipc.cli.vqsim_process import Vqsim, why_unavailable
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker
from votequorum_ipc.strategies.clusters import starts

from .differential import Verdict, compare
from .scenarios import (
    DEVICE_SYNC_TIMEOUT,
    DEVICE_TIMEOUT,
    WINDOW,
    Down,
    Join,
    Qdevice,
    Scenario,
    Split,
    Step,
    Up,
    Wait,
    configs,
    scenarios,
)

pytestmark = pytest.mark.timeout(300)

DEVICE = DeviceConfig(votes=1, timeout=DEVICE_TIMEOUT, sync_timeout=DEVICE_SYNC_TIMEOUT)


@pytest.fixture(scope="module", autouse=True)
def vqsim_available() -> None:
    """Skip if vqsim cannot run, or fail if it must."""
    if reason := why_unavailable():
        cannot(f"corosync-vqsim: {reason}")


def all_up(config: ClusterConfig, *steps: Step) -> Scenario:
    """Steps that begin with all nodes in partition 0."""
    return Scenario(config, (*(Up(nodeid, 0) for nodeid in config.nodeids), *steps))


WRITTEN = {
    "a split and its end": all_up(ClusterConfig.of(5), Split((1, 2), 1), Join(0, 1), Down(5), Down(4)),
    "two nodes": all_up(ClusterConfig.of(2, two_node=True), Split((2,), 1), Join(0, 1), Down(1)),
    "two nodes that start apart": Scenario(
        ClusterConfig.of(2, two_node=True), (Up(1, 0), Up(2, 1), Join(0, 1), Down(2), Up(2, 0))
    ),
    "waiting for all": Scenario(
        ClusterConfig.of(3, wait_for_all=True), (Up(1, 0), Up(2, 0), Up(3, 1), Join(0, 1), Down(3))
    ),
    "last men standing": all_up(
        ClusterConfig.of(4, last_man_standing=True, last_man_standing_window=WINDOW),
        Down(4),
        Wait(),
        Down(3),
        Wait(),
        Down(2),
    ),
    "the last man, with a tie breaker": all_up(
        ClusterConfig.of(
            4,
            last_man_standing=True,
            last_man_standing_window=WINDOW,
            auto_tie_breaker=TieBreaker.LOWEST,
        ),
        Down(4),
        Wait(),
        Down(3),
        Wait(),
        Down(2),
    ),
    "the lowest breaks a tie": all_up(
        ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST),
        Split((1, 2), 1),
        Join(1, 0),
        Split((1, 4), 2),
    ),
    "the highest breaks a tie": all_up(
        ClusterConfig.of(4, auto_tie_breaker=TieBreaker.HIGHEST), Split((1, 2), 1), Down(4)
    ),
    "a list breaks a tie": all_up(
        ClusterConfig.of(4, auto_tie_breaker=(3, 1)), Split((1, 2), 1), Join(1, 0), Down(3), Split((4,), 2)
    ),
    "an odd cluster's tie breaker": all_up(
        ClusterConfig.of(3, auto_tie_breaker=TieBreaker.LOWEST, wait_for_all=True), Split((1,), 1), Join(0, 1)
    ),
    "downscale": all_up(ClusterConfig.of(5, allow_downscale=True), Down(5), Down(4), Down(3), Up(3, 0)),
    "tracked expected votes": all_up(
        ClusterConfig.of(3, expected_votes=2, expected_votes_tracking=True), Down(3), Down(2)
    ),
    "expected votes set by the operator": all_up(ClusterConfig.of(3, expected_votes=5), Down(3), Up(3, 0)),
    "uneven votes": all_up(
        ClusterConfig((NodeConfig(1, votes=3), NodeConfig(2), NodeConfig(3, votes=0))), Split((1,), 1)
    ),
    "a device that saves a node": all_up(
        ClusterConfig.of(2, device=DEVICE),
        Qdevice(1, True),
        Split((2,), 1),
        Qdevice(1, False),
        Qdevice(1, True),
    ),
    "a device that is switched off": all_up(
        ClusterConfig.of(3, device=DEVICE), Down(3), Qdevice(2, True), Qdevice(2, False)
    ),
}


@pytest.mark.parametrize("scenario", WRITTEN.values(), ids=WRITTEN.keys())
def test_each_option_does_what_corosync_does(scenario: Scenario) -> None:
    check(scenario, {Verdict.AGREES})


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_quorate_and_members_agree_after_each_step(scenario: Scenario) -> None:
    check(scenario)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(timed=True, longest=5))
def test_quorate_and_members_agree_as_windows_pass(scenario: Scenario) -> None:
    check(scenario)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(device=True, longest=5))
def test_quorate_and_members_agree_with_devices(scenario: Scenario) -> None:
    check(scenario)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(configs())
def test_the_same_configurations_are_refused(config: ClusterConfig) -> None:
    with Vqsim(config) as vqsim:
        vqsim.up(config.nodeids[0], 0)
    assert starts(config) == (not vqsim.refusals), vqsim.refusals


def check(scenario: Scenario, good: set[Verdict] | None = None) -> None:
    """Fail with the whole story unless both sides agree."""
    outcome = compare(scenario)
    allowed = good or {Verdict.AGREES, Verdict.AGREES_WITHOUT_BARRIER}
    assert outcome.verdict in allowed, outcome.story or outcome.verdict.value
