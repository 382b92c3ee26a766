"""Every name that the `repr` of a case may use, for stored failures and for reproducers."""

from __future__ import annotations

from ..types import RingId
from ..wire.votequorum import NodeEntry
from .attack import Bell, Close, Connect, Handshake, Poke, PokeData, Post, Send, Truncate

__all__ = [
    "Bell",
    "Close",
    "Connect",
    "Handshake",
    "NodeEntry",
    "Poke",
    "PokeData",
    "Post",
    "RingId",
    "Send",
    "Truncate",
]
