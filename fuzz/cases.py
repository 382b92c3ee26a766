"""Every name that the `repr` of a case may use, for stored failures. Needs hypothesis, as the strategies
do.
"""

from __future__ import annotations

from votequorum_ipc.attack import Bell, Close, Connect, Handshake, Poke, PokeData, Post, Send, Truncate
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker
from votequorum_ipc.strategies.bursts import FrameBurst, RingBurst
from votequorum_ipc.strategies.calls import Call
from votequorum_ipc.strategies.clusters import Happening
from votequorum_ipc.strategies.handshakes import Act, Damage, Path, Say, SendEvent, ServerScript
from votequorum_ipc.strategies.messages import AlmostValid, Frame, Lie
from votequorum_ipc.strategies.rings import ControlLie, Fill, Publish, Put, Read, RingLie, RingScript, Write
from votequorum_ipc.types import RingId
from votequorum_ipc.wire.votequorum import NodeEntry

__all__ = [
    "Act",
    "AlmostValid",
    "Bell",
    "Call",
    "Close",
    "ClusterConfig",
    "Connect",
    "ControlLie",
    "Damage",
    "DeviceConfig",
    "Fill",
    "Frame",
    "FrameBurst",
    "Handshake",
    "Happening",
    "Lie",
    "NodeConfig",
    "NodeEntry",
    "Path",
    "Poke",
    "PokeData",
    "Post",
    "Publish",
    "Put",
    "Read",
    "RingBurst",
    "RingId",
    "RingLie",
    "RingScript",
    "Say",
    "Send",
    "SendEvent",
    "ServerScript",
    "TieBreaker",
    "Truncate",
    "Write",
]
