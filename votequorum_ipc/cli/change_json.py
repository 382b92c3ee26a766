"""The changes that `monitor` prints, as JSON. `json_values` has what all JSON output has in common.

They have their own module because the commands that ask only once do not need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import (
    Change,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    LinkChanged,
    Lost,
    MembershipChanged,
    NameChanged,
    NodeVotesChanged,
    QuorumChanged,
    VotesChanged,
)
from .json_values import error_json, flag_names, ring_json, votes_json


def change_json(change: Change) -> dict[str, Any]:
    """A line of `monitor`: `event` says what has changed, the other keys have the new values."""
    match change:
        case Connected():
            return {"event": "connected"}
        case Lost():
            return {"event": "lost", "error": error_json(change.error)}
        case MembershipChanged():
            return {
                "event": "membership",
                "ring_id": ring_json(change.ring_id),
                "members": change.members,
                "joined": change.joined,
                "left": change.left,
            }
        case QuorumChanged():
            return {"event": "quorum", "quorate": change.quorate}
        case ExpectedVotesChanged():
            return {"event": "expected_votes", "expected_votes": change.expected_votes}
        case VotesChanged():
            return {"event": "votes", **votes_json(change.info)}
        case NodeVotesChanged():
            return {"event": "node_votes", "node_id": change.node_id, "votes": change.votes}
        case NameChanged():
            return {"event": "name", "node_id": change.node_id, "name": change.name or None}
        case DeviceChanged():
            flags = flag_names(change.flags)
            return {"event": "qdevice", "node_id": change.node_id, "name": change.name, "flags": flags}


def link_change_json(change: LinkChanged, names: Mapping[int, str]) -> dict[str, Any]:
    """A change of a link; `names` has the known names of nodes."""
    return {
        "event": "link",
        "node_id": change.node_id,
        "name": names.get(change.node_id) or None,
        "link": change.number,
        "connected": change.connected,
        "times_down": change.times_down,
    }
