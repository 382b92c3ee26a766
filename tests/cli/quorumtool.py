"""corosync-quorumtool, whose output ours must agree with."""

from __future__ import annotations

import re
from typing import Any

from tests.real.daemon import Daemon

Shape = dict[str, Any]

FLAG_WORDS = {
    "2Node": "TWONODE",
    "Quorate": "QUORATE",
    "WaitForAll": "WAIT_FOR_ALL",
    "LastManStanding": "LAST_MAN_STANDING",
    "AutoTieBreaker": "AUTO_TIE_BREAKER",
    "AllowDownscale": "ALLOW_DOWNSCALE",
    "Qdevice": "QDEVICE_REGISTERED",
}
DEVICE_WORDS = {"A": "QDEVICE_ALIVE", "V": "QDEVICE_CAST_VOTE", "MW": "QDEVICE_MASTER_WINS"}

_FIGURE = re.compile(r"^([A-Z][^:\n]*): +(.*?) *$", re.MULTILINE)
_MEMBER = re.compile(r"^ *(\d+) +(\d+) +([A-Z,]+) (.*?)( \(local\))?$")
_DEVICE = re.compile(r"^ *0 +(\d+) +(\S+?)(?: \(votes (\d+)\))?$")


def shown(daemon: Daemon, *options: str) -> str:
    """What `corosync-quorumtool -s` prints on a daemon's host."""
    result = daemon.run(["corosync-quorumtool", "-s", *options])
    assert result.stdout, result.stderr
    return str(result.stdout)


OURS_ALONE = ("Date:", "Reason:", "Margin:")
"""Lines of a status that differ from corosync-quorumtool's, or that it does not print."""


def words(text: str) -> list[list[str]]:
    """The lines of a status that must be the same as corosync-quorumtool's, as lists of words."""
    text = re.split("\n(?:Link|Totem) information\n", text)[0]
    return [line.split() for line in text.rstrip().splitlines() if not line.startswith(OURS_ALONE)]


def figures(daemon: Daemon) -> Shape:
    """Everything that `corosync-quorumtool -s -p` shows, in the form of `votequorum-ipc status --json`."""
    head, table = shown(daemon, "-p").split("Membership information\n")
    found = dict(_FIGURE.findall(head))
    rows = table.splitlines()[2:]
    quorum, _, blocked = found["Quorum"].partition(" ")
    assert bool(blocked) == (found["Quorate"] == "No")
    ring_nodeid, ring_seq = found["Ring ID"].split(".")
    return {
        "provider": found["Quorum provider"],
        "nodes": int(found["Nodes"]),
        "node_id": int(found["Node ID"]),
        "ring_id": {"text": found["Ring ID"], "nodeid": int(ring_nodeid, 16), "seq": int(ring_seq, 16)},
        "quorate": {"Yes": True, "No": False}[found["Quorate"]],
        "votequorum": {
            "expected_votes": int(found["Expected votes"]),
            "highest_expected": int(found["Highest expected"]),
            "total_votes": int(found["Total votes"]),
            "quorum": int(quorum),
            "flags": [FLAG_WORDS[word] for word in found["Flags"].split()],
        },
        "members": [_member(row) for row in rows if not _DEVICE.match(row)],
        "qdevice": next((_device(row) for row in rows if _DEVICE.match(row)), None),
    }


def comparable(status: Shape) -> Shape:
    """`votequorum-ipc status --json` without what corosync-quorumtool does not show."""
    own_flags = [flag for flag in status["votequorum"]["flags"] if flag in FLAG_WORDS.values()]
    device_flags = {*DEVICE_WORDS.values(), "QDEVICE_REGISTERED"}
    members = [
        {
            **{key: member[key] for key in ("node_id", "name", "local", "votes")},
            "flags": sorted(device_flags & set(member["flags"])),
        }
        for member in status["members"]
    ]
    shown_by_both = ("provider", "nodes", "node_id", "ring_id", "quorate", "votequorum", "members", "qdevice")
    shape = {key: status[key] for key in shown_by_both}
    return {**shape, "votequorum": {**status["votequorum"], "flags": own_flags}, "members": members}


def _member(row: str) -> Shape:
    match = _MEMBER.match(row)
    assert match, row
    node_id, votes, device, name, local = match.groups()
    flags = {DEVICE_WORDS[word] for word in device.split(",") if word in DEVICE_WORDS}
    return {
        "node_id": int(node_id),
        "name": name or None,
        "local": bool(local),
        "votes": int(votes),
        "flags": sorted(flags | (set() if device == "NR" else {"QDEVICE_REGISTERED"})),
    }


def _device(row: str) -> Shape:
    match = _DEVICE.match(row)
    assert match, row
    counted, name, idle = match.groups()
    return {"name": name, "votes": int(idle or counted), "casts_vote": idle is None}
