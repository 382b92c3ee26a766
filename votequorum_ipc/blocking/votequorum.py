"""A blocking handle on the votequorum service: `votequorum_ipc.Votequorum` without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..errors import CsError
from ..ipc import Address
from ..types import (
    ExpectedVotesNotification,
    NodeInfo,
    NodelistNotification,
    QdeviceExtraInfoNotification,
    QuorumNotification,
    RingId,
    TrackFlags,
    VotequorumEvent,
)
from ..votequorum import Votequorum as AsyncVotequorum
from .handle import Handle, call


class Votequorum(Handle[VotequorumEvent]):
    """A blocking handle on the votequorum service: `votequorum_ipc.Votequorum` without an event loop.

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: AsyncVotequorum

    @classmethod
    def initialize(
        cls,
        *,
        quorum_notify: Callable[[QuorumNotification], None] | None = None,
        nodelist_notify: Callable[[NodelistNotification], None] | None = None,
        expectedvotes_notify: Callable[[ExpectedVotesNotification], None] | None = None,
        extra_info_notify: Callable[[QdeviceExtraInfoNotification], None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Votequorum:
        """Connect to the service (votequorum_initialize(3)).

        `dispatch` calls the callbacks, which are functions of one event. `address` is None for
        corosync on this machine; see `votequorum_ipc.ipc.connect` for others, and for `server_uids`, the
        users whose server is trusted. Raises `Library` when it is not running, or runs without votequorum,
        `Access` when this user may not use it, `Security` when another user's program answers in its place,
        `TryAgain` while it starts.
        """
        return cls(
            call(
                AsyncVotequorum.initialize(
                    quorum_notify=quorum_notify,
                    nodelist_notify=nodelist_notify,
                    expectedvotes_notify=expectedvotes_notify,
                    extra_info_notify=extra_info_notify,
                    address=address,
                    server_uids=server_uids,
                ),
                timeout,
            )
        )

    def getinfo(self, nodeid: int = 0, *, timeout: float | None = None) -> NodeInfo:
        """What this node knows about a node and about the cluster (votequorum_getinfo(3)).

        `nodeid` 0 is this node. Raises `NotExist` for a node that this daemon has never seen as a member.
        """
        return call(self._handle.getinfo(nodeid), timeout)

    def getinfo_all(
        self, nodeids: Sequence[int], *, context: int | None = None, timeout: float | None = None
    ) -> list[NodeInfo | CsError]:
        """`getinfo` for several nodes, sent together. An error is returned in its node's place.

        With a `context`, votequorum also repeats its state, as for `trackstart` with CURRENT, in two events
        that have this context. It does so after its answer for the first node.
        """
        return call(self._handle.getinfo_all(nodeids, context=context), timeout)

    def setexpected(self, expected_votes: int, *, timeout: float | None = None) -> None:
        """Change the votes the whole cluster expects (votequorum_setexpected(3)).

        Raises `InvalidParam` when that is below the votes present or would lose quorum.
        """
        call(self._handle.setexpected(expected_votes), timeout)

    def setvotes(self, nodeid: int, votes: int, *, timeout: float | None = None) -> None:
        """Change how many votes a node has (votequorum_setvotes(3)).

        Raises `NameNotFound` for an unknown node, `InvalidParam` when quorum would be lost.
        """
        call(self._handle.setvotes(nodeid, votes), timeout)

    def trackstart(
        self, context: int = 0, flags: TrackFlags = TrackFlags.CHANGES, *, timeout: float | None = None
    ) -> None:
        """Ask for events (votequorum_trackstart(3)); `context`, a uint64, comes back in each of them.

        With CURRENT or CHANGES the daemon first sends the current state: a node list, then a quorum
        notification. Raises `Exist` if this handle already tracks; the current state is sent anyway.
        """
        call(self._handle.trackstart(context, flags), timeout)

    def trackstop(self, *, timeout: float | None = None) -> None:
        """Ask for no more events (votequorum_trackstop(3)). Raises `NotExist` if this handle does not
        track.
        """
        call(self._handle.trackstop(), timeout)

    def qdevice_register(self, name: str, *, timeout: float | None = None) -> None:
        """Become this node's quorum device (votequorum_qdevice_register(3)); answered by the whole cluster.

        `name` has 1 to 254 bytes in UTF-8, else `InvalidParam`. Registering the same name again is fine.
        Raises `Exist` when a device with another name is registered here or elsewhere in the cluster,
        `Access` when the configuration does not allow a device, `TryAgain` while another registration is
        under way.
        """
        call(self._handle.qdevice_register(name), timeout)

    def qdevice_unregister(self, name: str, *, timeout: float | None = None) -> None:
        """Withdraw the device and its vote (votequorum_qdevice_unregister(3)).

        Raises `NotExist` when no device is registered, `InvalidParam` when it has another name.
        """
        call(self._handle.qdevice_unregister(name), timeout)

    def qdevice_update(self, oldname: str, newname: str, *, timeout: float | None = None) -> None:
        """Rename the device (votequorum_qdevice_update(3)).

        Raises `NotExist` when no device is registered, `InvalidParam` when it is not called `oldname`.
        """
        call(self._handle.qdevice_update(oldname, newname), timeout)

    def qdevice_poll(
        self, name: str, cast_vote: bool | int, ring_id: RingId, *, timeout: float | None = None
    ) -> None:
        """Report that the device is alive, and whether it votes (votequorum_qdevice_poll(3)).

        `cast_vote` is a uint32, as in C; the device votes unless it is 0. Other numbers raise `InvalidParam`.
        Repeat this within quorum.device.timeout (10 s by default), and within quorum.device.sync_timeout (30
        s) after a membership change, or the vote is lost. `ring_id` is that of the last
        `NodelistNotification`; an older one raises `MessageError`. Raises `NotExist` when no device is
        registered, `InvalidParam` when it has another name, `Access` when the configuration does not allow a
        device.
        """
        call(self._handle.qdevice_poll(name, cast_vote, ring_id), timeout)

    def qdevice_master_wins(self, name: str, allow: bool, *, timeout: float | None = None) -> None:
        """Let the partition with the device's vote win (votequorum_qdevice_master_wins(3)).

        Raises what `qdevice_poll` does, except for the ring id's error.
        """
        call(self._handle.qdevice_master_wins(name, allow), timeout)

    def qdevice_set_extra_info(self, data: bytes, *, timeout: float | None = None) -> None:
        """Publish up to 4096 bytes about this node's device. Needs a corosync newer than 3.1.10.

        Raises `InvalidParam` for more bytes, and on a daemon that does not know the call.
        """
        call(self._handle.qdevice_set_extra_info(data), timeout)

    def qdevice_get_extra_info(self, nodeid: int, *, timeout: float | None = None) -> bytes:
        """What a node's device has published. Needs a corosync newer than 3.1.10.

        Raises `InvalidParam` on a daemon that does not know the call.
        """
        return call(self._handle.qdevice_get_extra_info(nodeid), timeout)
