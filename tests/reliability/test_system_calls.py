"""Any system call may fail: the scenario succeeds or ends in a `CsError`, and leaves nothing behind.

This runs a sample of the cases; `make system-calls` runs all of them.
"""

from __future__ import annotations

import errno
import random
import subprocess
from collections.abc import Sequence

import pytest
import trio

from tests.conftest import cannot
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from votequorum_ipc import Votequorum
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.daemon import TransportName
from votequorum_ipc.testing import simulated_cluster

from .syscalls.scenarios import SCENARIOS
from .syscalls.sweep import Case, Outcome, Subject, cases, subject, verdict

SAMPLE = 7
"""Cases per scenario."""


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    """Skip or fail unless strace is installed and may trace."""
    try:
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        cannot(f"strace cannot trace here: {error}")


async def run_sample(one: Subject, scenarios: Sequence[str], sample: int) -> list[Outcome]:
    """Run some cases of each scenario, and fail with a list of all violations."""
    outcomes, wrong = [], []
    for scenario in scenarios:
        every = cases(scenario, await one.trace(scenario))
        for case in random.Random(len(every)).sample(every, sample):
            outcomes.append(await one.run(case))
            if text := verdict(case, outcomes[-1]):
                wrong.append(text)
    assert not wrong, "\n".join(wrong)
    return outcomes


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_a_failing_system_call_ends_in_a_cs_error_or_in_success(
    transport: TransportName, scenario: str
) -> None:
    async with (
        simulated_cluster(1, transport=transport, device=DeviceConfig(votes=1)) as cluster,
        subject(cluster.address(1)) as one,
    ):
        outcomes = await run_sample(one, [scenario], SAMPLE)
    assert sum(outcome.injected for outcome in outcomes) > SAMPLE / 2


async def test_the_same_holds_on_a_real_daemon(daemon: Daemon) -> None:
    async with subject(command=daemon.host.command([])) as one:
        await run_sample(one, ["calls", "status", "watch"], 4)


async def test_a_doorbell_that_fails_for_lack_of_memory_ends_the_call() -> None:
    async with simulated_cluster(1) as cluster, subject(cluster.address(1)) as one:
        for number in range(2, 5):
            outcome = await one.run(Case("calls", "sendto", "ENOBUFS", number))
            assert outcome.failures == ("CsError",), outcome
            assert "No buffer space available" in outcome.text


async def test_a_kernel_that_does_not_count_unread_bytes_costs_only_time(
    shm_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def refuse(*_: object) -> bytes:
        nonlocal asked
        asked += 1
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr("votequorum_ipc.ipc.shm.fcntl.ioctl", refuse)
    async with await Votequorum.initialize() as handle, trio.open_nursery() as nursery:
        with shm_daemon.frozen():
            nursery.start_soon(handle.getinfo)
            await eventually_async(lambda: asked > 1, otherwise="the kernel was asked")


@pytest.mark.parametrize(("call", "error"), [("recvfrom", "ENOMEM"), ("epoll_ctl", "ENOSPC")])
@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_no_failure_to_receive_or_to_wait_makes_a_call_hang(
    transport: TransportName, call: str, error: str
) -> None:
    async with simulated_cluster(1, transport=transport) as cluster, subject(cluster.address(1)) as one:
        made = sum(each.startswith(f"{call}(") for each in await one.trace("calls"))
        numbers = range(1, min(made, 6) + 1)
        outcomes = [await one.run(Case("calls", call, error, number)) for number in numbers]
    assert {failure for outcome in outcomes for failure in outcome.failures} <= {"CsError"}
    assert any(outcome.injected for outcome in outcomes)


def test_the_sweep_notices_leftovers_and_errors_other_than_cs_error() -> None:
    case = Case("calls", "openat", "EMFILE", 1)
    good = Outcome(failures=("CsError",), text="", descriptors=0, mappings=0, injected=True)
    assert verdict(case, good) is None
    for bad in (("CsError", "OSError"), 0, 0), ((), 1, 0), ((), 0, 1):
        assert verdict(case, Outcome(bad[0], "", bad[1], bad[2], injected=True))
