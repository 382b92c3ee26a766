"""Mistakes that the claims must find: each one changes the library while its context is entered.

Strategy: these mistakes were made here, or could easily be made. A simulation that does not find them within
a few hundred histories would not find similar ones either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

import trio

from votequorum_ipc.errors import Library
from votequorum_ipc.follow import Follower
from votequorum_ipc.qdevice import device, run, withdrawal
from votequorum_ipc.types import ClusterStatus, DispatchFlags, QuorumChanged, QuorumState, QuorumView
from votequorum_ipc.watch import QuorumWatcher

Defect = Callable[[], contextlib.AbstractContextManager[Any]]


def _stale() -> contextlib.AbstractContextManager[Any]:
    """While no daemon answers, a view keeps the last known state."""
    view = QuorumWatcher._view

    def stale(self: QuorumWatcher, status: ClusterStatus | None) -> QuorumView:
        last = self._last
        return view(self, status or (last.status if last is not None else None))

    return mock.patch.object(QuorumWatcher, "_view", stale)


def _undrained() -> contextlib.AbstractContextManager[Any]:
    """Announcements that arrive while the daemon answers are ignored."""
    ask = Follower._ask

    async def asked(self: Follower) -> ClusterStatus | None:
        with mock.patch.object(self, "drain", return_value=False):
            return await ask(self)

    return mock.patch.object(Follower, "_ask", asked)


def _mixed() -> contextlib.AbstractContextManager[Any]:
    """Figures are not requested again, so a status may mix two moments."""
    ask = Follower._ask_votequorum

    async def asked(self: Follower, *args: Any) -> Any:
        own, infos, _ = await ask(self, *args)
        return own, infos, own

    return mock.patch.multiple(Follower, _ask_votequorum=asked, _others_changed=lambda *_: False)


def _dropped_change() -> contextlib.AbstractContextManager[Any]:
    """Every seventh change is lost."""
    record, count = QuorumWatcher._record, 0

    def recorded(self: QuorumWatcher, change: Any) -> None:
        nonlocal count
        count += 1
        if count % 7:
            record(self, change)

    return mock.patch.object(QuorumWatcher, "_record", recorded)


def _repeated_change() -> contextlib.AbstractContextManager[Any]:
    """A change of quorum is reported twice."""
    record = QuorumWatcher._record

    def recorded(self: QuorumWatcher, change: Any) -> None:
        record(self, change)
        if isinstance(change, QuorumChanged):
            record(self, change)

    return mock.patch.object(QuorumWatcher, "_record", recorded)


def _lost_by_cancelling() -> contextlib.AbstractContextManager[Any]:
    """A cancelled query loses the changes."""
    status = QuorumWatcher._status

    async def asked(self: QuorumWatcher) -> ClusterStatus | None:
        try:
            return await status(self)
        except BaseException:
            self._changes.clear()
            raise

    return mock.patch.object(QuorumWatcher, "_status", asked)


def _impatient() -> contextlib.AbstractContextManager[Any]:
    """The watcher waits forever for a daemon that does not answer."""
    return mock.patch("votequorum_ipc.watch.move_on_after", return_value=contextlib.nullcontext())


def _believes_without_provider() -> contextlib.AbstractContextManager[Any]:
    """A daemon without a provider is trusted."""
    view = QuorumWatcher._view

    def believing(self: QuorumWatcher, status: ClusterStatus | None) -> QuorumView:
        self._require_provider = False
        return view(self, status)

    return mock.patch.object(QuorumWatcher, "_view", believing)


def _never_again() -> contextlib.AbstractContextManager[Any]:
    """The watcher does not look for a lost daemon again."""
    answer = QuorumWatcher._answer

    async def answered(self: QuorumWatcher) -> ClusterStatus:
        if self._connected is False:
            ended, self._ended = self._ended, None
            if ended is not None:
                await ended.aclose()
            raise Library
        return await answer(self)

    return mock.patch.object(QuorumWatcher, "_answer", answered)


def _optimistic() -> contextlib.AbstractContextManager[Any]:
    """A node that lost quorum is called quorate if it was quorate in the previous view."""
    view = QuorumWatcher._view

    def optimistic(self: QuorumWatcher, status: ClusterStatus | None) -> QuorumView:
        made = view(self, status)
        if made.state is QuorumState.NOT_QUORATE and self._last and self._last.state is QuorumState.QUORATE:
            return QuorumView(
                QuorumState.QUORATE, made.since, made.status, made.changes, made.dropped, made.error
            )
        return made

    return mock.patch.object(QuorumWatcher, "_view", optimistic)


@contextlib.contextmanager
def _late_vote() -> Iterator[None]:
    """A device does not notice a new ring while it decides, and casts its vote for the current one."""

    async def cast(self: Any, vote: bool, view: Any = None) -> None:
        await self._votequorum.dispatch(DispatchFlags.ALL)
        await self._poll(vote, self._schedule.question(trio.current_time()))

    async def changed(_: Any) -> None:
        await trio.sleep_forever()

    with mock.patch.multiple(device.QuorumDevice, cast=cast, changed=changed):
        yield


def _undying_decision() -> contextlib.AbstractContextManager[Any]:
    """A decision that fails counts as a yes."""

    async def ask(self: Any, view: Any) -> Any:
        try:
            answer = await self._vote(view)
        except Exception:
            answer = True
        return run.Ballot(answer, run.SAID_YES, view.ring_id)

    return mock.patch.object(run._Rounds, "_ask", ask)


def _no_withdrawal() -> contextlib.AbstractContextManager[Any]:
    """A device leaves its vote behind without reporting it."""

    async def nothing(*_: Any) -> str:
        return ""

    return mock.patch.object(withdrawal, "_take_back", nothing)


def _sleepy_schedule() -> contextlib.AbstractContextManager[Any]:
    """A device that once said yes keeps polling with that vote."""
    poll = device.QuorumDevice._poll

    async def poll_as_before(self: Any, vote: bool, question: Any) -> None:
        self.__dict__["voted"] = vote or self.__dict__.get("voted", False)
        await poll(self, self.__dict__["voted"], question)

    return mock.patch.object(device.QuorumDevice, "_poll", poll_as_before)


DEFECTS: Final[dict[str, Defect]] = {
    "a view keeps the last known state": _stale,
    "announcements during a query are not seen": _undrained,
    "a status mixes two moments": _mixed,
    "every seventh change is lost": _dropped_change,
    "a change is reported twice": _repeated_change,
    "a cancelled query loses changes": _lost_by_cancelling,
    "a watcher waits forever for a hanging daemon": _impatient,
    "a daemon without a provider is trusted": _believes_without_provider,
    "a lost daemon is not looked for again": _never_again,
    "the loss of quorum is reported one view late": _optimistic,
    "a vote for one ring is cast for another": _late_vote,
    "a decision that fails is a yes": _undying_decision,
    "a device leaves its vote behind": _no_withdrawal,
    "a device that once said yes keeps voting": _sleepy_schedule,
}
