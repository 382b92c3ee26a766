"""Every name that the `repr` of a case may use, for stored failures. Needs hypothesis, as the strategies
do.
"""

from __future__ import annotations

from ..cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker
from ..strategies.calls import Call
from ..strategies.clusters import Happening
from ..strategies.handshakes import Act, Damage, Event, Path, Say, ServerScript
from ..strategies.messages import AlmostValid, Frame, Lie
from ..strategies.rings import ControlLie, Publish, Put, Read, RingLie, RingScript, Write
from ..types import RingId
from ..wire.votequorum import NodeEntry
from .attack import Bell, Close, Connect, Handshake, Poke, PokeData, Post, Send, Truncate

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
    "Event",
    "Frame",
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
    "RingId",
    "RingLie",
    "RingScript",
    "Say",
    "Send",
    "ServerScript",
    "TieBreaker",
    "Truncate",
    "Write",
]
