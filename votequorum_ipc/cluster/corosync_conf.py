"""Reads the parts of a corosync.conf that a simulated cluster supports, and reports the others.

Strategy: the file is sections of `key: value` lines, nested with braces. It is first read into one flat list
of dotted keys, as cmap names them; tables then say which keys are supported. Every other key is reported, so
that no setting is thought to be simulated when it is not. Source: corosync.conf(5), votequorum(5), and the
parser in corosync's exec/coroparse.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from ..types import TieBreaker, parse_tie_breaker
from .config import PROVIDER, ClusterConfig, ConfigurationError, DeviceConfig, NodeConfig

_NO_PROVIDER: Final = (
    "quorum.provider is not set: there is no votequorum, and every node is always quorate; "
    f"the provider is {PROVIDER}"
)


@dataclass(frozen=True)
class CorosyncConf:
    """A file's content: the cluster, its IPC, who may use it, and what is not simulated."""

    cluster: ClusterConfig
    ipc_type: str | None
    """`system.qb_ipc_type`: "shm" or "socket"; None where it is not set, or "native"."""
    uids: tuple[str, ...] = ()
    """`uidgid.uid`: names or numbers, as written."""
    gids: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Keys whose values have no effect on a simulated cluster, in the file's order, each once; not those of
    `AS_SIMULATED`, nor what is logged."""
    unknown: tuple[str, ...] = ()
    """The same for keys of the quorum section and the node list, which may be misspelt."""
    similar: Mapping[str, str] = field(default_factory=dict)
    """For some of the unknown keys: one that is known, and looks much the same."""
    device_algorithm: str | None = None
    """`quorum.device.net.algorithm`: how qnetd decides, which is not votequorum's concern."""
    warnings: tuple[str, ...] = ()
    """What the file hardly means, in words: the quorum that it leaves out, and options without effect."""


AS_SIMULATED: Final = {("totem.version", "2"), ("totem.transport", "knet")}
"""Keys that need no support: a simulated cluster's cmap has these values anyway."""

_LOGGING: Final = "logging."
_OURS: Final = ("quorum.", "nodelist.")
_DEVICE_MODELS: Final = ("quorum.device.net.", "quorum.device.heuristics.")
"""What corosync-qdevice reads."""

Pairs = list[tuple[str, str]]


def parse_corosync_conf(text: str) -> CorosyncConf:
    """Read a file's text.

    Raises `ConfigurationError`, with the line where it can, for what corosync would not start with either,
    and for another quorum provider than votequorum.
    """
    if "\0" in text:
        raise ConfigurationError("this is not a text file: is it a corosync.conf?")
    pairs, nodes = _collect(text)
    if not nodes:
        raise ConfigurationError("no nodelist section with nodes: list each node there, with its nodeid")
    known = _Known(dict(pairs))
    provider = known.text("quorum.provider", "")
    if provider not in ("", PROVIDER):
        raise ConfigurationError(f"quorum.provider is {provider!r}; the only one known is {PROVIDER}")
    config = ClusterConfig(
        nodes=tuple(_node(node) for node in nodes),
        cluster_name=known.text("totem.cluster_name", ""),
        provider=provider,
        auto_tie_breaker=parse_tie_breaker(
            known.flag("quorum.auto_tie_breaker") or False,
            known.text("quorum.auto_tie_breaker_node", None),
        ),
        device=_device(known),
        **{name: value for name, value in _options(known) if value is not None},
    )
    ipc_type = known.text("system.qb_ipc_type", "native")
    if ipc_type not in ("native", "shm", "socket"):
        raise ConfigurationError(f"system.qb_ipc_type is {ipc_type!r}; it is native, shm or socket")
    warnings = tuple(_doubts(known, config))
    algorithm = known.text("quorum.device.net.algorithm", None)
    unread = list(dict.fromkeys(_unread(pairs, nodes, known)))
    unknown = tuple(key for key in unread if _may_be_misspelt(key))
    return CorosyncConf(
        cluster=config,
        ipc_type=None if ipc_type == "native" else ipc_type,
        uids=tuple(value for key, value in pairs if key == "uidgid.uid"),
        gids=tuple(value for key, value in pairs if key == "uidgid.gid"),
        ignored=tuple(key for key in unread if not _may_be_misspelt(key)),
        unknown=unknown,
        similar={key: similar for key in unknown for similar in _similar(key, known)},
        device_algorithm=algorithm,
        warnings=warnings,
    )


def _collect(text: str) -> tuple[Pairs, list[Pairs]]:
    """All keys outside of the node list with their values, and the same for each node of the list."""
    pairs: Pairs = []
    nodes: list[Pairs] = []
    sections: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith("{"):
            sections.append(stripped.removesuffix("{").strip())
            if sections == ["nodelist", "node"]:
                nodes.append([])
        elif stripped == "}":
            if not sections:
                raise ConfigurationError(f"line {number}: a closing brace too many")
            sections.pop()
        elif ":" in stripped:
            key, _, value = (part.strip() for part in stripped.partition(":"))
            in_node = sections == ["nodelist", "node"]
            target, path = (nodes[-1], [key]) if in_node else (pairs, [*sections, key])
            target.append((".".join(path), value))
        else:
            raise ConfigurationError(f"line {number}: neither a section nor 'key: value': {stripped!r}")
    if sections:
        raise ConfigurationError(f"the section {'.'.join(sections)!r} is not closed")
    return pairs, nodes


class _Known:
    """The values of supported keys; remembers which were read."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        self.asked = {"uidgid.uid", "uidgid.gid"}

    def text(self, key: str, default: Any) -> Any:
        self.asked.add(key)
        return self._values.get(key, default)

    def has(self, prefix: str) -> bool:
        """Whether any key begins like this."""
        return any(key.startswith(prefix) for key in self._values)

    def number(self, key: str) -> int | None:
        value = self.text(key, None)
        if value is None:
            return None
        if not str(value).isdecimal():
            raise ConfigurationError(f"{key} is a number of 0 or more, not {value!r}")
        return int(value)

    def flag(self, key: str) -> bool | None:
        value = self.number(key)
        if value not in (None, 0, 1):
            raise ConfigurationError(f"{key} is 0 or 1, not {value}")
        return None if value is None else bool(value)


def _options(known: _Known) -> Iterator[tuple[str, Any]]:
    """The options of the quorum section that have the same name in `ClusterConfig`."""
    readers: dict[str, Callable[[str], Any]] = {
        "expected_votes": known.number,
        "two_node": known.flag,
        "wait_for_all": known.flag,
        "last_man_standing": known.flag,
        "last_man_standing_window": known.number,
        "allow_downscale": known.flag,
        "expected_votes_tracking": known.flag,
    }
    for name, read in readers.items():
        yield name, read(f"quorum.{name}")


def _device(known: _Known) -> DeviceConfig | None:
    model = known.text("quorum.device.model", None)
    numbers = {name: known.number(f"quorum.device.{name}") for name in ("votes", "timeout", "sync_timeout")}
    if not model:
        return None
    return DeviceConfig(model=model, **{name: value for name, value in numbers.items() if value is not None})


def _doubts(known: _Known, config: ClusterConfig) -> Iterator[str]:
    if known.text("quorum.provider", None) is None:
        yield _NO_PROVIDER
    wanted = known.text("quorum.auto_tie_breaker_node", None)
    if known.flag("quorum.auto_tie_breaker") and config.auto_tie_breaker is TieBreaker.NONE:
        yield (
            f"quorum.auto_tie_breaker_node is {wanted!r}, which is neither lowest, highest nor node ids: "
            "votequorum switches auto_tie_breaker off"
        )
    if config.device is None and known.has("quorum.device."):
        yield "quorum.device has no model: votequorum ignores the whole section"


_NODE_KEYS: Final = ("nodeid", "name", "quorum_votes")


def _node(pairs: Pairs) -> NodeConfig:
    known = _Known(dict(pairs))
    nodeid = known.number("nodeid")
    if nodeid is None:
        raise ConfigurationError(f"{_called(pairs)} in the node list has no nodeid: give it one")
    votes = known.number("quorum_votes")
    return NodeConfig(
        nodeid=nodeid,
        votes=1 if votes is None else votes,
        name=known.text("name", ""),
        addresses=tuple(value for key, value in sorted(pairs) if _is_address(key)),
    )


def _may_be_misspelt(key: str) -> bool:
    """Whether the key is in a place that votequorum reads, so that it may be misspelt; not keys for
    corosync-qdevice."""
    return key.startswith(_OURS) and not key.startswith(_DEVICE_MODELS)


def _similar(key: str, known: _Known) -> list[str]:
    """The known key of the same section that looks most like this one, if one does."""
    section, _, name = key.rpartition(".")
    keys = {*known.asked, *(f"nodelist.node.{known_name}" for known_name in _NODE_KEYS)}
    names = [one.rpartition(".")[2] for one in sorted(keys) if one.rpartition(".")[0] == section]
    return [f"{section}.{match}" for match in get_close_matches(name, names, 1)]


def _called(pairs: Pairs) -> str:
    """A node's name for people: its name or an address."""
    addresses = [value for key, value in sorted(pairs) if _is_address(key)]
    known = [*addresses, *(value for key, value in pairs if key == "name")]
    return f"the node {known[0]}" if known else "a node"


def _is_address(key: str) -> bool:
    return key.startswith("ring") and key.endswith("_addr")


def _unread(pairs: Pairs, nodes: list[Pairs], known: _Known) -> Iterator[str]:
    for key, value in pairs:
        if not (key in known.asked or key.startswith(_LOGGING) or (key, value) in AS_SIMULATED):
            yield key
    for node in nodes:
        for key, _ in node:
            if key not in _NODE_KEYS and not _is_address(key):
                yield f"nodelist.node.{key}"
