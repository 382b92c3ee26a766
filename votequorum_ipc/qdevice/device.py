"""One registered quorum device, for programs with their own loop; `run_qdevice` is built on it.

```python
async with QuorumDevice("shared-disk") as device:
    while True:
        view = await device.next_view(interval=2.0)
        with contextlib.suppress(MessageError):  # the membership changed meanwhile: decide again
            await device.cast(await decide(view))
```

Strategy: nothing runs by itself. Events are read when the program calls, and each answer is tied to the ring
and the deadline of its question. `cast` does not send an answer that is late or about another ring, and
corosync refuses one whose ring id is outdated when it arrives. Sources: corosync's votequorum_qdevice_*(3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import trio

from ..errors import Access, CsError, Exist, InvalidParam, Library, MessageError, NotExist, Timeout
from ..ipc import Address
from ..ipc.handshake import nothing_listens
from ..retry import Backoff, retry
from ..types import DispatchFlags, InfoFlags, NodeInfo, NodelistNotification, RingId
from ..votequorum import Votequorum
from .schedule import Question, Schedule
from .settings import NOT_NAMED, Settings, open_settings
from .withdrawal import withdraw

_HERE: Final = "on this node: use that name, or unregister it first, with votequorum-ipc qdevice unregister"
# A node forgets the name only when the last device of its own partition is unregistered, and repeats it to
# all others at each membership change (`message_handler_req_exec_votequorum_qdevice_reg`).
_NOT_HERE: Final = (
    "on another node, or it was there when that one crashed or was cut off, and the nodes remember it: use "
    "that name, or unregister it there; if no node has it any more, start and stop a device of that name "
    "once while all nodes are members"
)
"""Where a device with another name is registered, and what to do."""


@dataclass(frozen=True, slots=True)
class View:
    """The subject of a decision: the membership, and the votes as this node counts them now.

    After a membership change, before the device has answered, corosync still counts the vote that the device
    cast for the membership before.
    """

    ring_id: RingId
    members: tuple[int, ...]
    """The node ids of this partition."""
    node_id: int
    """The node that the device is on."""
    quorate: bool
    expected_votes: int
    total_votes: int
    """The votes present, including the device's while it casts them."""
    deadline: float
    """The deadline of the answer in trio's time, for `trio.move_on_at` and the like."""

    @property
    def time_left(self) -> float:
        """The seconds left to answer; negative when it is too late."""
        return self.deadline - trio.current_time()


class QuorumDevice:
    """This node's quorum device: an async context manager that registers it, and withdraws it at the end.

    `name` has 1 to 254 bytes, and is the same on all nodes that have the device: corosync knows one name in a
    cluster. It does not notice two processes with the same name on one node: the later vote would replace the
    earlier one.

    With `master_wins`, the partition whose device votes is quorate, however many votes it lacks; the devices
    of all nodes should set it alike. With `leave_registered`, leaving the block keeps the device and its
    vote, so that a successor with the same name can take over within the timeout. Without it, leaving the
    block takes the vote back, within two seconds; `left_behind` lists what corosync did not give back.

    `address` and `server_uids`, the users whose server is trusted, are as in `votequorum_ipc.ipc.connect`.

    Entering raises `Library` when corosync is not running, `Security` when another user's program answers in
    its place, `Access` when this user may not connect, or when the configuration has no room for a device
    (the message names the setting), `Exist` when a device with another name is registered on this node or
    elsewhere in the cluster, `InvalidParam` for an invalid name, `TryAgain` when the daemon stays unable to
    answer. Every method raises `Library` when the daemon is gone; the device can then be entered again, and
    registers again.
    """

    def __init__(
        self,
        name: str,
        *,
        address: Address = None,
        master_wins: bool = False,
        leave_registered: bool = False,
        server_uids: Collection[int] | None = None,
    ) -> None:
        self._name = name
        self._address = address
        self._server_uids = server_uids
        self._master_wins = master_wins
        self._leave_registered = leave_registered
        self._left_behind: tuple[str, ...] = ()
        self._refused: NodeInfo | None = None
        """This node's info when corosync refused to register the device; None if it did not refuse."""
        self._resources = contextlib.AsyncExitStack()
        self._schedule = Schedule()
        self._votequorum: Votequorum
        self._settings: Settings
        self._question: Question
        # A rename takes effect between two polls, never during one.
        self._polling = trio.Lock()

    @property
    def name(self) -> str:
        """The device's current registered name."""
        return self._name

    @property
    def ring_id(self) -> RingId:
        """The last known ring."""
        assert self._schedule.ring_id is not None
        return self._schedule.ring_id

    @property
    def left_behind(self) -> tuple[str, ...]:
        """What corosync still holds for the device after its end: a sentence for each thing, with the reason.

        Empty if all was taken back, if the daemon is gone, with `leave_registered`, and while the device is
        registered. Each sentence is also logged, as a warning. If entering again fails, the sentences stay
        until the device's registration is known to be gone.
        """
        return self._left_behind

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            self._resources = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    # --- deciding and voting ---

    async def next_view(self, interval: float = 2.0) -> View:
        """Wait until a decision is due, and return the view that it is about.

        The first decision is due at once, and so is one after each membership change. Otherwise a decision is
        due `interval` seconds after the last one began, but at least three times in quorum.device.timeout.
        """
        with trio.move_on_at(self._schedule.due(interval)):
            await self.changed()
        while True:
            await self._votequorum.dispatch(DispatchFlags.ALL)
            self._question = self._schedule.ask(trio.current_time())
            info = await retry(self._votequorum.getinfo, deadline=self._question.deadline)
            await self._votequorum.dispatch(DispatchFlags.ALL)
            if self._schedule.is_current(self._question):
                break
        return View(
            ring_id=self._question.ring_id,
            members=self._schedule.members,
            node_id=info.node_id,
            quorate=InfoFlags.QUORATE in info.flags,
            expected_votes=info.node_expected_votes,
            total_votes=info.total_votes,
            deadline=self._question.deadline,
        )

    async def changed(self) -> None:
        """Wait until the membership differs from that of the last view, or of the last `cast`."""
        await self._votequorum.dispatch(DispatchFlags.ALL)
        while self._schedule.is_current(self._question):
            await self._votequorum.dispatch(DispatchFlags.ONE)

    async def cast(self, vote: bool, view: View | None = None) -> None:
        """Tell corosync that the device is alive, and whether it votes (votequorum_qdevice_poll(3)).

        The answer is about `view`. Without `view` it is about the membership at the end of the last call of
        `next_view` or `cast` (or of entering), so the answers of a simple loop are never about a membership
        that began while it decided. False withdraws the vote at once, and shows that the device is alive.
        Without any call, the vote is lost at the daemon's timeout.

        Raises `MessageError` when the membership has changed since: decide again. `Timeout` after
        `View.deadline`; nothing is sent then, since the answer may no longer be true. `TryAgain` if the
        daemon does not accept it before that. `NotExist` if the device was unregistered, `InvalidParam` if it
        was renamed (a rename on one node is a rename on all) or replaced, `Access` if the configuration has
        no room for a device: it was changed, or cmap was too slow to say so before.
        """
        if not isinstance(vote, bool):
            raise TypeError(f"a vote is True or False, not {vote!r}")
        question = Question(view.ring_id, view.deadline) if view else self._question
        try:
            await self._poll(vote, question)
        finally:
            # Whatever the result, the caller now knows the current membership.
            self._question = self._schedule.question(trio.current_time())
        await self._settings.refresh()
        self._schedule.timeouts = self._settings.timeouts
        # A cmap that was slow when the device registered says only now that no model is named.
        if await self._if_without_votes(question.deadline) is not None:
            raise Access(NOT_NAMED)

    async def rename(self, name: str) -> None:
        """Rename the device, everywhere in the cluster (votequorum_qdevice_update(3)).

        On other nodes where this device runs, its next `cast` raises `InvalidParam`: restart the device there
        with the new name. Raises `InvalidParam` for an invalid name, `NotExist` if the device was
        unregistered, `Timeout` if the cluster does not confirm the name in time.
        """
        deadline = trio.current_time() + self._schedule.timeouts.timeout
        async with self._polling:
            await retry(self._votequorum.qdevice_update, self._name, name, deadline=deadline)
            backoff = Backoff()
            while (await retry(self._votequorum.getinfo, deadline=deadline)).qdevice_name != name:
                if trio.current_time() > deadline:
                    raise Timeout(f"the cluster has not confirmed that the device is called {name!r}")
                await trio.sleep(backoff.pause())
            self._name = name

    async def set_master_wins(self, allow: bool) -> None:
        """Whether the partition whose device votes wins (votequorum_qdevice_master_wins(3)).

        Raises `NotExist` and `InvalidParam` as `cast` does, `TryAgain` when the daemon stays unable to
        answer.
        """
        deadline = trio.current_time() + self._schedule.timeouts.timeout
        async with self._polling:
            await retry(self._votequorum.qdevice_master_wins, self._name, allow, deadline=deadline)
            self._master_wins = allow

    # --- beginning and end ---

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        self._refused = None
        self._schedule = Schedule()
        deadline = trio.current_time() + self._schedule.timeouts.timeout
        try:
            votequorum = await retry(
                partial(self._connect, nodelist_notify=self._on_nodelist), deadline=deadline
            )
        except Library as error:
            if nothing_listens(error):
                self._left_behind = ()
            raise
        self._votequorum = await stack.enter_async_context(votequorum)
        self._settings = await stack.enter_async_context(open_settings(self._address, self._server_uids))
        await self._settings.refresh()
        self._schedule.timeouts = self._settings.timeouts
        stack.push_async_callback(self._withdraw)
        await self._register(deadline)
        self._left_behind = ()
        if self._master_wins:
            await self.set_master_wins(True)
        await retry(votequorum.trackstart, deadline=deadline)
        # The current state comes before the answer to trackstart, or right after it.
        while self._schedule.ring_id is None:
            await votequorum.dispatch(DispatchFlags.ONE)
        self._question = self._schedule.question(trio.current_time())

    async def _connect(self, **callbacks: Any) -> Votequorum:
        return await Votequorum.initialize(address=self._address, server_uids=self._server_uids, **callbacks)

    async def _register(self, deadline: float) -> None:
        # votequorum lets a device without votes register; such a device is useless.
        self._refused = await self._if_without_votes(deadline)
        if self._refused is not None:
            raise Access(NOT_NAMED)
        try:
            await retry(self._votequorum.qdevice_register, self._name, deadline=deadline)
        except (Access, Exist) as error:
            self._refused = await self._votequorum.getinfo()
            raise await self._explained(error) from None

    async def _if_without_votes(self, deadline: float) -> NodeInfo | None:
        """This node's getinfo if cmap names no model and votequorum gives a device no votes."""
        if not self._settings.model_missing:
            return None
        info = await retry(self._votequorum.getinfo, deadline=deadline)
        return None if info.qdevice_votes else info

    async def _explained(self, error: CsError) -> CsError:
        """What corosync's refusal means for this device, and what to do about it."""
        if isinstance(error, Access):
            why = await self._settings.why_refused((await self._votequorum.getinfo()).flags)
            return (
                Access(f"corosync's configuration has no room for a quorum device: {why}") if why else error
            )
        if isinstance(error, NotExist):
            return NotExist(
                f"the quorum device {self._name!r} has been unregistered: start it again to get its vote"
            )
        info = await self._votequorum.getinfo()
        known = info.qdevice_name
        if isinstance(error, Exist):
            where = _HERE if InfoFlags.QDEVICE_REGISTERED in info.flags else _NOT_HERE
            return Exist(f"a device with another name than {self._name!r} is registered: {known!r}, {where}")
        return InvalidParam(
            f"the quorum device {self._name!r} has been renamed or replaced: it is now called {known!r}; "
            f"start it with that name, or unregister that one first"
        )

    async def _withdraw(self) -> None:
        if self._leave_registered:
            return
        master_wins, refused = self._master_wins, self._refused
        if refused is not None:
            # An earlier registration outlives a reload that excludes devices, and can still be withdrawn.
            if not (InfoFlags.QDEVICE_REGISTERED in refused.flags and refused.qdevice_name == self._name):
                self._left_behind = ()
                return
            master_wins = InfoFlags.QDEVICE_MASTER_WINS in refused.flags
        self._left_behind = await withdraw(
            self._votequorum, self._name, master_wins=master_wins, connect=self._connect
        )

    # --- inner workings ---

    def _on_nodelist(self, event: NodelistNotification) -> None:
        self._schedule.joined(event.ring_id, event.members, trio.current_time())

    async def _poll(self, vote: bool, question: Question) -> None:
        async def poll() -> None:
            await self._votequorum.dispatch(DispatchFlags.ALL)
            sent = trio.current_time()
            self._check(question, vote, sent)
            try:
                await self._votequorum.qdevice_poll(self._name, vote, question.ring_id)
            except MessageError as error:
                if error.is_answer:
                    await self._ask_for_the_ring()
                raise
            self._schedule.polled(sent)

        async with self._polling:
            try:
                await retry(poll, deadline=question.deadline)
            except (Access, InvalidParam, NotExist) as error:
                raise await self._explained(error) from None

    async def _ask_for_the_ring(self) -> None:
        """The daemon is in another ring than the last known one: ask again, so as not to miss it for good."""
        with contextlib.suppress(Exist):
            await self._votequorum.trackstart()
        await self._votequorum.dispatch(DispatchFlags.ALL)

    def _check(self, question: Question, vote: bool, now: float) -> None:
        if not self._schedule.is_current(question):
            raise MessageError(
                f"the membership has changed, from ring {question.ring_id} to {self.ring_id}: decide again"
            )
        # It is never too late to withdraw a vote.
        if vote and now > question.deadline:
            raise Timeout(f"the answer is {now - question.deadline:.3f} s late: decide again")
