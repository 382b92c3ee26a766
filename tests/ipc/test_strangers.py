"""Who can send to a client's datagram sockets, whose names every process in the network namespace can see."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from votequorum_ipc import Votequorum
from votequorum_ipc.testing import simulated_cluster

ENDS = (b"-response", b"-event")
"""The ends of the names of a client's sockets."""


def refusal(address: bytes) -> type[OSError] | None:
    """The error that a stranger gets who sends to an address; None if the kernel accepts the datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        try:
            stranger.sendto(b"from a stranger", address)
        except OSError as error:
            return type(error)
    return None


async def test_a_strangers_datagram_is_refused_as_soon_as_a_socket_has_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    bind = socket.socket.bind

    class Besieged(socket.socket):
        """A stranger sends to it as soon as it has a name."""

        def bind(self, address: Any) -> None:
            bind(self, address)
            if isinstance(address, bytes) and address.rstrip(b"\0").endswith(ENDS):
                told.append(refusal(address))

    async with simulated_cluster(1, transport="socket") as cluster:
        monkeypatch.setattr(socket, "socket", Besieged)
        async with await Votequorum.initialize(address=cluster.address(1)) as handle:
            assert told == [PermissionError, PermissionError]
            transport: Any = handle.connection._transport
            for sock in (transport._socket, transport.event_socket):
                assert refusal(sock.getsockname()) is PermissionError
                with pytest.raises(BlockingIOError):
                    sock.recv(1)
            assert (await handle.getinfo()).node_id == 1
        monkeypatch.undo()
