"""hypothesis strategies for everything that crosses a connection, derived from the declarations in `wire`.

values      fields of messages, by their declared type
anatomy     where each field of one message is
messages    valid messages, almost valid ones (one lie each, which names itself), arbitrary bytes
calls       sequences of library calls on several connections
bursts      many hostile variants of one message or one ring, from one seed
rings       what both ends do to a ring, and lies in a ring or a control block
handshakes  answers to a connection request, and what the server does afterwards
attacks     sequences of steps of a hostile client, for a daemon to survive
clusters    cluster configurations, and events in a cluster

Everything drawn is a frozen dataclass. Except for a cluster configuration, its `repr` is Python that
recreates it, so a failure can be pasted, stored and replayed. Everything shrinks towards the shortest
sequence of the simplest messages with the one lie that matters.

Needs hypothesis: `pip install 'votequorum-ipc[fuzz]'`.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "votequorum_ipc.strategies needs hypothesis: "
        "pip install 'votequorum-ipc[fuzz]', or '.[fuzz]' in a checkout"
    ) from _error

from .attacks import attacks
from .bursts import FrameBurst, RingBurst, frame_bursts, ring_bursts
from .calls import Call, call_sequences, calls
from .clusters import Happening, cluster_configs, happenings
from .handshakes import ServerScript, handshake_responses, server_scripts
from .messages import AlmostValid, Frame, Lie, almost_valid, arbitrary, frames, valid
from .rings import (
    ControlLie,
    Fill,
    Publish,
    Put,
    Read,
    RingLie,
    RingScript,
    RingStep,
    Write,
    control_lies,
    damaged_ring_scripts,
    ring_cuts,
    ring_lies,
    ring_scripts,
)
from .values import fields_of, texts, values_of

__all__ = [
    "AlmostValid",
    "Call",
    "ControlLie",
    "Fill",
    "Frame",
    "FrameBurst",
    "Happening",
    "Lie",
    "Publish",
    "Put",
    "Read",
    "RingBurst",
    "RingLie",
    "RingScript",
    "RingStep",
    "ServerScript",
    "Write",
    "almost_valid",
    "arbitrary",
    "attacks",
    "call_sequences",
    "calls",
    "cluster_configs",
    "control_lies",
    "damaged_ring_scripts",
    "fields_of",
    "frame_bursts",
    "frames",
    "handshake_responses",
    "happenings",
    "ring_bursts",
    "ring_cuts",
    "ring_lies",
    "ring_scripts",
    "server_scripts",
    "texts",
    "valid",
    "values_of",
]
