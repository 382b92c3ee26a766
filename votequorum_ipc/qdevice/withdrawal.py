"""The end of a device: withdraw everything that corosync holds for it, and report what remains.

Strategy: two things outlive a device: the setting that its partition wins, and its vote. Each is withdrawn in
its own step with its own time limit, so a step that is refused or not answered does not affect the next. If
the connection is lost, a new one is made for the step, because the daemon may still be alive. If nothing
listens any more, the daemon is gone, and everything with it.

A step that fails does not raise, because another exception may be propagating. It is logged as a warning, and
appears in `QuorumDevice.left_behind`. Sources: votequorum_qdevice_unregister(3),
votequorum_qdevice_master_wins(3), and exec/votequorum.c for what refuses them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio

from ..errors import CsError, Library, NotExist, QueueFull
from ..ipc.handshake import nothing_listens
from ..retry import retry
from ..votequorum import Votequorum

STEP_SECONDS: Final = 1.0
"""Seconds that one step may take, even if the device is cancelled meanwhile."""

MakeHandle = Callable[[], Awaitable[Votequorum]]
"""Makes a handle on the device's daemon."""

_log = logging.getLogger(__name__)


class _Step(NamedTuple):
    call: Callable[[Votequorum, str], Awaitable[None]]
    consequence: str
    """The consequence if the call fails."""


# Before the vote: without a device votequorum refuses to change the setting.
_MASTER_WINS: Final = _Step(
    lambda votequorum, name: votequorum.qdevice_master_wins(name, False),
    "this node stays set to let the partition with a device's vote win, whichever device comes next",
)
_VOTE: Final = _Step(
    lambda votequorum, name: votequorum.qdevice_unregister(name),
    "corosync counts its vote until quorum.device.timeout has passed",
)


async def withdraw(
    votequorum: Votequorum, name: str, *, master_wins: bool, connect: MakeHandle
) -> tuple[str, ...]:
    """Withdraw everything that corosync holds for a device; return a sentence for each thing that remains.

    `connect` makes a new handle if this one is lost. Shielded from cancellation; each step takes at most
    `STEP_SECONDS`.
    """
    steps = (_MASTER_WINS, _VOTE) if master_wins else (_VOTE,)
    left = [sentence for step in steps if (sentence := await _take_back(step, votequorum, name, connect))]
    for sentence in left:
        _log.warning("quorum device %s has ended, but %s", name, sentence)
    return tuple(left)


async def _take_back(step: _Step, votequorum: Votequorum, name: str, connect: MakeHandle) -> str:
    """Carry out a step. Returns an empty text, or what remains and why."""
    why = f"no answer for {STEP_SECONDS:g} s"
    deadline = trio.current_time() + STEP_SECONDS
    with trio.CancelScope(shield=True, deadline=deadline):
        try:
            await _call(step, votequorum, name, connect, deadline)
        except NotExist:
            # The device was unregistered, or the daemon is a new one.
            return ""
        except CsError as error:
            why = str(error)
        else:
            return ""
    return f"{step.consequence}: {why}"


async def _call(step: _Step, votequorum: Votequorum, name: str, connect: MakeHandle, deadline: float) -> None:
    try:
        await retry(step.call, votequorum, name, deadline=deadline)
    except (Library, QueueFull):
        # The connection is lost; the daemon may still be alive.
        await _call_anew(step, name, connect, deadline)


async def _call_anew(step: _Step, name: str, connect: MakeHandle, deadline: float) -> None:
    try:
        votequorum = await retry(connect, deadline=deadline)
    except Library as error:
        if nothing_listens(error):
            return
        raise
    async with votequorum:
        await retry(step.call, votequorum, name, deadline=deadline)
