"""The loop of a quorum device: ask for the program's decision, cast it, and start over when anything changes.

Strategy: one round is a view, a decision, and a ballot. While the decision runs, the round also waits for the
next membership change, and whichever comes first ends the other. So no answer outlives its question. The
device votes only for what the program knows:

    the decision says False, or raises       a ballot of False: corosync withdraws the vote at once it is late
    no ballot: corosync withdraws the vote at its timeout the membership changed meanwhile         no ballot:
    it is asked again, about the new ring the daemon is gone                       connect and register again,
    until that works

A late answer is not cast as False because a device that does not answer is better counted as dead: then a
membership change does not wait for it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

import trio

from ..errors import (
    CsError,
    Library,
    MessageError,
    NoMemory,
    NoResources,
    NoSpace,
    QueueFull,
    Timeout,
    TryAgain,
)
from ..exception_groups import collapse_exception_group
from ..ipc import Address
from ..retry import Backoff
from ..types import RingId
from .device import QuorumDevice, View

Vote = Callable[[View], Awaitable[bool]]
"""A decision: an async function of a `View` that says whether to vote. It is cancelled when it is late."""

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
"""Seconds between attempts to reach a daemon that is gone."""

_PASSING: Final = (Library, TryAgain, NoMemory, NoResources, NoSpace, QueueFull)
"""Errors that end or prevent a connection but do not refuse the device."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The result of one round."""

    vote: bool | None
    """The vote; None if none was cast."""
    reason: str
    """The reason in words."""
    ring_id: RingId | None = None
    """The ring that it was for; None if the daemon could not be asked."""
    time: float = field(default_factory=time.time)
    """When, in seconds since the epoch."""


OnBallot = Callable[[Ballot], None]

SAID_YES: Final = "the decision said yes"
SAID_NO: Final = "the decision said no"
LATE: Final = "the decision took too long"
CHANGED: Final = "the membership changed during the decision"


async def run_qdevice(
    name: str,
    vote: Vote,
    interval: float = 2.0,
    *,
    address: Address = None,
    master_wins: bool = False,
    leave_registered: bool = False,
    server_uids: Collection[int] | None = None,
    report: OnBallot | None = None,
    task_status: trio.TaskStatus[QuorumDevice] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Act as this node's quorum device until cancelled: ask `vote` and cast its answer.

    `vote` is asked at once when the membership changes, else when `interval` seconds have passed since the
    last decision began, and at least three times in quorum.device.timeout. It answers True or False within
    `View.time_left`; anything else counts as raising. A membership change cancels it and asks it again.

    When cancelled, it withdraws the vote and unregisters the device, unless `leave_registered`. When the
    daemon ends, it waits for its return, and registers the device again. `report` is called with each
    `Ballot`. `await nursery.start(run_qdevice, name, vote)` returns the `QuorumDevice` once registered.

    `name`, `address`, `server_uids`, `master_wins` and what is raised are as with `QuorumDevice`: at the
    start what entering it raises, later what its `cast` raises.
    """
    if not (math.isfinite(interval) and interval > 0):
        raise ValueError(f"an interval is a positive number of seconds, not {interval!r}")
    device = QuorumDevice(
        name,
        address=address,
        master_wins=master_wins,
        leave_registered=leave_registered,
        server_uids=server_uids,
    )
    rounds = _Rounds(device, vote, interval, report)
    started = False
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        try:
            async with device:
                if not started:
                    task_status.started(device)
                    started = True
                backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
                await rounds.run()
        except _PASSING as error:
            if not started:
                raise
            rounds.tell(Ballot(None, f"corosync cannot be reached: {error}"))
        await trio.sleep(backoff.pause())


class _Rounds:
    """Round after round with a registered device."""

    def __init__(self, device: QuorumDevice, vote: Vote, interval: float, report: OnBallot | None) -> None:
        self._device = device
        self._vote = vote
        self._interval = interval
        self._report = report
        self._told: tuple[bool | None, str] | None = None

    async def run(self) -> NoReturn:
        while True:
            view = await self._device.next_view(self._interval)
            self.tell(await self._cast(view, await self._decide(view)))

    def tell(self, ballot: Ballot) -> None:
        """Report a ballot, and log it if it differs from the last one."""
        now = (ballot.vote, ballot.reason)
        if now != self._told:
            cast = {True: "votes", False: "does not vote", None: "has cast no vote"}[ballot.vote]
            _log.info("quorum device %s %s: %s", self._device.name, cast, ballot.reason)
            self._told = now
        if self._report is not None:
            self._report(ballot)

    async def _decide(self, view: View) -> Ballot:
        """The decision's answer, unless the membership changes or the time is up first."""
        ballot = Ballot(None, LATE, view.ring_id)
        lost: CsError | None = None

        async def watch() -> None:
            nonlocal ballot, lost
            try:
                await self._device.changed()
            except CsError as error:
                lost = error
            ballot = Ballot(None, CHANGED, view.ring_id)
            nursery.cancel_scope.cancel()

        with collapse_exception_group():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.cancel_scope.deadline = view.deadline
                ballot = await self._ask(view)
                nursery.cancel_scope.cancel()
        if lost is not None:
            raise lost
        return ballot

    async def _ask(self, view: View) -> Ballot:
        try:
            answer = await self._vote(view)
            if not isinstance(answer, bool):
                raise TypeError(f"a decision returns True or False, not {answer!r}")
        except Exception as error:
            reason = f"the decision failed: {type(error).__name__}: {error}"
            if (False, reason) != self._told:
                _log.warning("quorum device %s: the decision failed", self._device.name, exc_info=error)
            return Ballot(False, reason, view.ring_id)
        return Ballot(answer, SAID_YES if answer else SAID_NO, view.ring_id)

    async def _cast(self, view: View, ballot: Ballot) -> Ballot:
        if ballot.vote is None:
            return ballot
        try:
            await self._device.cast(ballot.vote, view)
        except MessageError as error:
            if not error.is_answer:
                raise
            return replace(ballot, vote=None, reason=CHANGED)
        except Timeout:
            return replace(ballot, vote=None, reason=LATE)
        except TryAgain as error:
            return replace(ballot, vote=None, reason=str(error))
        return ballot
