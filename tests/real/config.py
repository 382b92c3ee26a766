"""A corosync.conf as a value: the settings that a test cares about are fields, the rest has defaults for
tests.

The file consists of sections of `key: value` lines, nested with braces; corosync's parser needs each opening
brace at the end of a line and each closing brace on a separate line. So a section is a list of pairs here,
and one function writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .installation import demands_encryption

Value: TypeAlias = "str | int | Section"
Section: TypeAlias = "list[tuple[str, Value]]"

FAST_TOTEM: Mapping[str, str | int] = {
    # A lost node is noticed after token + consensus, and consensus is 1.2 token. With eight busy loops beside
    # three nodes on two cores, 300 ms gave false alarms and 500 ms none; the rest is reserve.
    "token": 800,
    # By default every node beyond the second adds 650 ms to the token.
    "token_coefficient": 0,
}

PLAIN_TOTEM: Final[Mapping[str, str | int]] = {"crypto_cipher": "none", "crypto_hash": "none"}
ENCRYPTED_TOTEM: Final[Mapping[str, str | int]] = {
    "crypto_cipher": "aes256",
    "crypto_hash": "sha256",
    # The shortest key that corosync accepts has 128 bytes. These clusters protect no secret.
    "key": "votequorum-ipc-test-key-" * 6,
}

MANY_VOTES: Final = 100
"""With this many votes on a single node, expected votes from this to almost twice this keep quorum."""

PATIENT_TOTEM: Mapping[str, str | int] = {"token": 10_000}
"""For clusters that must not lose a node, even on a machine where a node may wait for seconds."""


@dataclass(frozen=True)
class Node:
    """One entry of the node list."""

    nodeid: int
    address: str = "127.0.0.1"
    name: str | None = ""
    """`node<id>` if empty; None for a node without a name."""
    votes: int | None = None
    """`quorum_votes`; corosync's default is 1."""
    second_link: bool = False
    """Whether the node has an address on a second link, over the same cable. For clusters."""

    @property
    def second_address(self) -> str:
        """The address on the second link (TEST-NET-2 of RFC 5737)."""
        return f"198.51.100.{self.nodeid}"

    def section(self) -> Section:
        pairs: Section = [("nodeid", self.nodeid), ("ring0_addr", self.address)]
        if self.name is not None:
            pairs.append(("name", self.name or f"node{self.nodeid}"))
        if self.second_link:
            pairs.append(("ring1_addr", self.second_address))
        if self.votes is not None:
            pairs.append(("quorum_votes", self.votes))
        return pairs


@dataclass(frozen=True)
class Device:
    """A quorum device that nodes accept. votequorum starts nothing: any client may register and vote."""

    votes: int | None = 1
    model: str = "net"
    timeout: int | None = None
    """Milliseconds between two polls before the device counts as dead; corosync's default is 10,000."""
    sync_timeout: int | None = None
    """The same while the membership synchronises; corosync's default is 30,000."""
    options: Mapping[str, str | int] = field(default_factory=dict)
    """The subsection of the model, for the program that reads it: votequorum does not."""

    def section(self) -> Section:
        pairs = {
            "model": self.model,
            "votes": self.votes,
            "timeout": self.timeout,
            "sync_timeout": self.sync_timeout,
        }
        own: Section = [(self.model, _pairs(self.options))] if self.options else []
        return [(key, value) for key, value in pairs.items() if value is not None] + own


@dataclass(frozen=True)
class Config:
    """Everything that differs between the daemons of different tests."""

    nodes: tuple[Node, ...] = (Node(1),)
    transport: Literal["shm", "socket"] = "shm"
    """How the daemon and its clients exchange messages (`system.qb_ipc_type`)."""
    quorum: Mapping[str, str | int] = field(default_factory=dict)
    """Options of the quorum section: expected_votes, two_node, wait_for_all, auto_tie_breaker, ..."""
    provider: str | None = "corosync_votequorum"
    """None for a daemon without a quorum provider, and so without the votequorum service."""
    device: Device | None = None
    uids: tuple[int, ...] = ()
    """Users who may connect, in addition to root."""
    gids: tuple[int, ...] = ()
    """Groups whose members may connect, in addition to root's."""
    totem: Mapping[str, Value] = field(default_factory=dict)
    """Options of the totem section; they go before `FAST_TOTEM`."""
    system: Mapping[str, str | int] = field(default_factory=dict)
    """More options of the system section."""
    filesystem_sockets: bool = False
    """Services listen at paths in the host's /run, as if /etc/libqb/force-filesystem-sockets existed."""
    debug: bool = False

    def render(self, state_dir: Path) -> str:
        """The file's text, for a daemon that keeps its state in `state_dir`."""
        return "\n".join(_lines(self._sections(state_dir))) + "\n"

    def _sections(self, state_dir: Path) -> Section:
        return [
            ("totem", self._totem()),
            ("nodelist", [("node", node.section()) for node in self.nodes]),
            ("quorum", self._quorum()),
            ("system", self._system(state_dir)),
            *self._allowed(),
            ("logging", self._logging()),
        ]

    def _totem(self) -> Section:
        fixed: dict[str, Value] = {
            "version": 2,
            "cluster_name": "votequorum-ipc-test",
            "transport": "knet",
        }
        crypto = ENCRYPTED_TOTEM if demands_encryption() else PLAIN_TOTEM
        return _pairs(fixed | dict(crypto) | dict(FAST_TOTEM) | dict(self.totem))

    def _quorum(self) -> Section:
        pairs: Section = [("provider", self.provider)] if self.provider else []
        pairs += _pairs(self.quorum)
        return [*pairs, ("device", self.device.section())] if self.device else pairs

    def _system(self, state_dir: Path) -> Section:
        fixed: dict[str, str | int] = {"qb_ipc_type": self.transport, "state_dir": str(state_dir)}
        return _pairs(fixed | dict(self.system))

    def _allowed(self) -> Section:
        users: Section = [("uidgid", [("uid", uid)]) for uid in self.uids]
        groups: Section = [("uidgid", [("gid", gid)]) for gid in self.gids]
        return users + groups

    def _logging(self) -> Section:
        return [
            ("to_stderr", "yes"),
            ("to_syslog", "no"),
            ("timestamp", "hires"),
            ("debug", "on" if self.debug else "off"),
        ]


def _pairs(options: Mapping[str, Value] | Mapping[str, str | int]) -> Section:
    return list(options.items())


def _lines(section: Iterable[tuple[str, Value]], indent: str = "") -> Iterator[str]:
    for key, value in section:
        if isinstance(value, list):
            yield f"{indent}{key} {{"
            yield from _lines(value, indent + "    ")
            yield f"{indent}}}"
        else:
            yield f"{indent}{key}: {value}"
