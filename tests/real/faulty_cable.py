"""A cable with faults: delays, losses and cuts on one link of two nodes, without the kernel's netem.

Strategy: the cables of both nodes end on the switch's host. There they are taken out of the bridge, and a
thread of this process carries every frame from one to the other. A link's faults apply to frames whose IPv4
addresses are in that link's network. All other frames, such as ARP, pass at once.

The sockets use PACKET_VNET_HDR. Without it, frames whose checksums were left to the network card would arrive
damaged. Source: packet(7), linux/virtio_net.h.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from .switch import Switch

_ETH_P_ALL: Final = 0x0003  # linux/if_ether.h
_SOL_PACKET: Final = 263  # bits/socket.h
_PACKET_VNET_HDR: Final = 15  # linux/if_packet.h
_VNET_HEADER: Final = 10  # struct virtio_net_hdr
_IPV4: Final = b"\x08\x00"
_TYPE: Final = slice(_VNET_HEADER + 12, _VNET_HEADER + 14)
_NETWORK: Final = slice(_VNET_HEADER + 26, _VNET_HEADER + 29)
"""The first three bytes of an IPv4 packet's source address."""
_LINKS: Final = {bytes([192, 0, 2]): 0, bytes([198, 51, 100]): 1}
_LARGEST: Final = 1 << 17


@dataclass(frozen=True)
class Faults:
    """The faults of a link's frames, in both directions."""

    delay: float = 0.0
    """Delay of each frame in seconds."""
    loss: float = 0.0
    """The share of frames that are lost."""


SOUND: Final = Faults()
CUT: Final = Faults(loss=1.0)


class FaultyCable:
    """The cable between two nodes of a switch; a context manager. After its end, nothing passes."""

    def __init__(self, switch: Switch, one: int, other: int, *, seed: int = 0) -> None:
        """`seed` decides which frames a lossy link loses."""
        self._faults = dict.fromkeys(_LINKS.values(), SOUND)
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._late: list[tuple[float, int, socket.socket, bytes]] = []
        self._stop = os.eventfd(0)
        switch.unbridge(one, other)
        with switch.host.namespace():
            self._ends = [_packet_socket(switch.port(nodeid)) for nodeid in (one, other)]
        self._thread = threading.Thread(target=self._carry, name="faulty cable")

    def set(self, link: int, faults: Faults) -> None:
        """Apply these faults to the frames of a link from now on."""
        self._faults[link] = faults

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        for end in self._ends:
            end.close()

    def _carry(self) -> None:
        one, other = self._ends
        opposite = {one.fileno(): (one, other), other.fileno(): (other, one)}
        poll = select.poll()
        for descriptor in (*opposite, self._stop):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self._milliseconds()):
                if descriptor == self._stop:
                    return
                self._take(*opposite[descriptor])
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(self._late)
                _send(end, frame)

    def _milliseconds(self) -> float | None:
        """The time until the next delayed frame is due."""
        return max(self._late[0][0] - time.monotonic(), 0) * 1000 if self._late else None

    def _take(self, source: socket.socket, target: socket.socket) -> None:
        frame, (_, _, kind, *_) = source.recvfrom(_LARGEST)
        if kind == socket.PACKET_OUTGOING:
            return
        faults = self._faults_of(frame)
        if self._random.random() < faults.loss:
            return
        heapq.heappush(self._late, (time.monotonic() + faults.delay, next(self._numbers), target, frame))

    def _faults_of(self, frame: bytes) -> Faults:
        link = _LINKS.get(frame[_NETWORK]) if frame[_TYPE] == _IPV4 else None
        return SOUND if link is None else self._faults[link]


def _packet_socket(port: str) -> socket.socket:
    # Without a protocol, the socket receives nothing before it is bound.
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.bind((port, _ETH_P_ALL))
    return end


def _send(end: socket.socket, frame: bytes) -> None:
    # A frame that cannot be sent is lost, as on any cable.
    with contextlib.suppress(OSError):
        end.send(frame)
