"""cmap's writes and statistics, and every call of cfg: the embedded daemon answers as corosync does.

Strategy: a story is a list of calls. It is played to a real one-node corosync and to the embedded daemon. The
results or errors of all calls, and all events, are compared in order.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import trio

from tests.conftest import StartDaemon
from tests.daemon.subjects import as_model, served
from tests.real import installation
from tests.real.config import Config, Node
from tests.real.host import Host
from tests.real.waiting import DEADLINE
from votequorum_ipc import Cmap, CsError, Votequorum
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.cmap import TrackType
from votequorum_ipc.types import ShutdownFlags, ValueType
from votequorum_ipc.wire import cmap as wire

ALL = TrackType.ADD | TrackType.MODIFY | TrackType.DELETE
Story = list[Callable[["Session"], Awaitable[Any]]]


@dataclass
class Session:
    """Handles on one daemon."""

    cmap: Cmap
    stats: Cmap
    cfg: Cfg
    other: Cfg
    votequorum: Votequorum

    async def set_raw(self, key: str, type_: int, raw: bytes) -> int:
        """A set request that the client would not send; returns the error's number."""
        answer = await self.cmap.connection.request(
            wire.SET.encode(key_name=key, type=type_, value=raw), response_size=64
        )
        return int(wire.SET_RESPONSE.decode(answer).error)

    async def seen(self) -> list[Any]:
        """Every event since the last call of this, once an answer shows that no more are on their way."""
        found = []
        for handle in (self.cmap, self.stats, self.cfg, self.other):
            while (raw := handle.connection.next_event_nowait()) is not None:
                found.append(handle._decode_event(raw))
        return found

    async def pause(self) -> None:
        """Give a real daemon time to deliver multicasts to itself."""
        await trio.sleep(0.1)

    async def votes(self) -> tuple[int, int, int]:
        info = await self.votequorum.getinfo()
        return info.node_expected_votes, info.quorum, info.total_votes


async def play(story: Story) -> list[Any]:
    """The outcome of each step, and the events that came with it."""
    async with contextlib.AsyncExitStack() as stack:
        session = Session(
            await stack.enter_async_context(await Cmap.initialize()),
            await stack.enter_async_context(await Cmap.initialize(map="stats")),
            await stack.enter_async_context(await Cfg.initialize()),
            await stack.enter_async_context(await Cfg.initialize()),
            await stack.enter_async_context(await Votequorum.initialize()),
        )
        found = []
        for step in story:
            with trio.fail_after(DEADLINE):
                try:
                    outcome = await step(session)
                except CsError as error:
                    outcome = type(error).__name__
                found.append((outcome, await session.seen()))
        return found


def write(key: str, value: Any, kind: ValueType) -> Callable[[Session], Awaitable[Any]]:
    return lambda s: s.cmap.set(key, value, kind)


WRITES: Story = [
    lambda s: s.cmap.track_add("example.", ALL | TrackType.PREFIX),
    lambda s: s.cmap.track_add("example.one", TrackType.MODIFY),
    lambda s: s.cmap.track_add("", ALL | TrackType.PREFIX),
    lambda s: s.cmap.track_add("example.one", ALL),
    lambda s: s.cmap.track_add("example.o", ALL | TrackType.PREFIX),
    lambda s: s.cmap.track_add("example.one", TrackType.MODIFY | TrackType.PREFIX),
    *(
        write("example.one", value, kind)
        for kind, value in (
            (ValueType.INT8, -128),
            (ValueType.UINT8, 255),
            (ValueType.INT16, -(2**15)),
            (ValueType.UINT16, 2**16 - 1),
            (ValueType.INT32, -(2**31)),
            (ValueType.UINT32, 2**32 - 1),
            (ValueType.INT64, -(2**63)),
            (ValueType.UINT64, 2**64 - 1),
            (ValueType.FLOAT, 0.5),
            (ValueType.DOUBLE, -0.25),
            (ValueType.STRING, "three words, ä"),
            (ValueType.STRING, ""),
            (ValueType.BINARY, bytes(range(256)) * 8),
            (ValueType.BINARY, bytes(range(256)) * 8),
        )
    ),
    lambda s: s.cmap.get_typed("example.one"),
    lambda s: s.cmap.inc("example.one"),
    lambda s: s.cmap.set("example.two", 254, ValueType.UINT8),
    lambda s: s.cmap.inc("example.two"),
    lambda s: s.cmap.inc("example.two"),
    lambda s: s.cmap.dec("example.two"),
    lambda s: s.cmap.adjust_int("example.two", -(2**31) + 7),
    lambda s: s.cmap.get_typed("example.two"),
    lambda s: s.cmap.set("example.three", -1, ValueType.INT16),
    lambda s: s.cmap.adjust_int("example.three", 70000),
    lambda s: s.cmap.items("example.t"),
    lambda s: s.cmap.delete("example.two"),
    lambda s: s.cmap.delete("example.two"),
    lambda s: s.cmap.inc("example.two"),
    lambda s: s.cmap.track_delete(1),
    lambda s: s.cmap.delete("example.one"),
    lambda s: s.cmap.keys("example."),
    # Lengths that do not fit the types, and invalid types.
    lambda s: s.set_raw("example.raw", ValueType.UINT8, b"12"),
    lambda s: s.set_raw("example.raw", ValueType.UINT64, b"1234"),
    lambda s: s.set_raw("example.raw", ValueType.STRING, b"text\0more"),
    lambda s: s.set_raw("example.raw", 13, b"1"),
    lambda s: s.cmap.get_or_none("example.raw"),
    # Names.
    lambda s: s.cmap.set("with blanks", "x"),
    lambda s: s.cmap.set("ab", "x"),
    lambda s: s.cmap.set("a" * 255, "x"),
    lambda s: s.cmap.delete("a" * 255),
    lambda s: s.cmap.set("Aa0._-/:", "x"),
]

READ_ONLY_NAMES = (
    "internal_configuration.x",
    "runtime.services.x",
    "runtime.config.x",
    "runtime.totem.x",
    "uidgid.config.x",
    "system.qb_ipc_type",
    "system.x",
    "nodelist.node.0.nodeid",
    "nodelist.x",
    "totem.version",
    "totem.cluster_name",
    "totem.transport",
    "totem.crypto_cipher",
    "totem.crypto_hash",
    "totem.crypto_model",
    "totem.keyfile",
    "totem.key",
    "totem.secauth",
    "totem.ip_version",
    "totem.rrp_mode",
    "totem.netmtu",
    "totem.threads",
    "totem.nodeid",
    "totem.clear_node_high_bit",
    "config.reload_in_progress",
    "config.totemconfig_reload_in_progress",
    "quorum.allow_downscale",
    "quorum.wait_for_all",
    "quorum.last_man_standing",
    "quorum.last_man_standing_window",
    "quorum.expected_votes_tracking",
    "quorum.auto_tie_breaker",
    "quorum.auto_tie_breaker_node",
)
WRITABLE_NAMES = (
    "runtime.members.1.status",
    "runtime.votequorum.two_node",
    "totem.x",
    "config.x",
    "logging.x",
)


WRITABLE_SINCE = {"totem.rrp_mode": (3, 1, 10)}
"""Keys that only older versions of corosync refuse to change. The embedded daemon does as 3.1.7."""


def attempt(call: str, name: str) -> Callable[[Session], Awaitable[Any]]:
    arguments: dict[str, tuple[Any, ...]] = {"set": ("x",), "adjust_int": (1,), "delete": ()}

    async def step(session: Session) -> Any:
        if name not in WRITABLE_SINCE or installation.version() < WRITABLE_SINCE[name]:
            await getattr(session.cmap, call)(name, *arguments[call])

    return step


REFUSALS: Story = [
    attempt(call, name)
    for name in (*READ_ONLY_NAMES, *WRITABLE_NAMES)
    for call in ("set", "adjust_int", "delete")
]

VOTES: Story = [
    step
    for change in (
        write("quorum.expected_votes", 5, ValueType.UINT32),
        lambda s: s.cmap.set("quorum.expected_votes", "7"),
        write("quorum.expected_votes", 3, ValueType.UINT32),
        write("quorum.two_node", 1, ValueType.UINT8),
        lambda s: s.cmap.delete("quorum.two_node"),
        lambda s: s.cmap.set("quorum.device.model", "net"),
        write("quorum.device.votes", 1, ValueType.UINT32),
        lambda s: s.cmap.delete("quorum.device.model"),
        lambda s: s.cmap.delete("quorum.expected_votes"),
        write("quorum.cancel_wait_for_all", 0, ValueType.UINT8),
        write("quorum.cancel_wait_for_all", 1, ValueType.UINT8),
        lambda s: s.cmap.get("quorum.cancel_wait_for_all"),
    )
    for step in (
        change,
        lambda s: s.pause(),
        lambda s: s.votes(),
        lambda s: s.cmap.items("runtime.votequorum."),
    )
]

STATISTICS: Story = [
    lambda s: s.stats.get("quorum.provider"),
    lambda s: s.stats.set("stats.srp.mcast_tx", 0, ValueType.UINT64),
    lambda s: s.stats.inc("stats.srp.mcast_tx"),
    lambda s: s.stats.delete("stats.srp.mcast_tx"),
    lambda s: s.stats.delete("stats.clear.totem"),
    lambda s: s.stats.inc("stats.clear.totem"),
    lambda s: s.stats.set("stats.clear.nothing", 1, ValueType.UINT8),
    *(
        (lambda s, what=what: s.stats.set(f"stats.clear.{what}", 1, ValueType.UINT8))
        for what in ("knet", "ipc", "totem", "schedmiss", "all", "allofthem")
    ),
    lambda s: s.stats.track_add("stats.", TrackType.MODIFY | TrackType.PREFIX),
    lambda s: s.stats.track_add("stats.", TrackType.ADD | TrackType.PREFIX),
    lambda s: s.stats.track_add("stats.knet.node1.link0.connected", TrackType.MODIFY),
    lambda s: s.stats.track_add("no.such.key", TrackType.MODIFY),
    lambda s: s.stats.get("stats.knet.node1.link0.connected"),
    lambda s: s.stats.get("stats.knet.node1.link1.connected"),
    lambda s: s.stats.get("stats.knet.node9.link0.connected"),
    lambda s: s.stats.get("stats.ipcs.service0.1.0x0.requests"),
    lambda s: s.stats.get("stats.schedmiss.0.delay"),
    lambda s: typed_names(s),
]


async def typed_names(session: Session) -> list[tuple[str, ValueType]]:
    """All statistics with their types; those of connections once each, without process and pointer."""
    found = set()
    for key in await session.stats.keys():
        kind = (await session.stats.get_typed(key)).type
        found.add((re.sub(r"(service\d)\.\d+\.0x[0-9a-f]+", r"\1.some", key), kind))
    return sorted(found)


CFG: Story = [
    lambda s: s.cfg.local_get(),
    lambda s: s.cfg.ring_status_get(),
    lambda s: s.cfg.ring_reenable(),
    lambda s: s.cfg.get_node_addrs(0),
    lambda s: status(s, 1),
    lambda s: status(s, 9),
    lambda s: s.cfg.node_status_get(1, version=2),
    lambda s: s.cfg.kill_node(9, "nobody"),
    lambda s: s.cfg.reopen_log_files(),
    lambda s: s.cmap.set("quorum.expected_votes", 5, ValueType.UINT32),
    lambda s: s.cmap.set("quorum.example", "is not in the file"),
    lambda s: s.cmap.set("example.key", "stays"),
    lambda s: s.cmap.track_add("config.", ALL | TrackType.PREFIX),
    lambda s: s.cfg.reload_config(),
    lambda s: s.pause(),
    lambda s: s.cmap.items("config."),
    lambda s: s.cmap.items("quorum."),
    lambda s: s.cmap.items("example."),
    lambda s: s.cfg.reload_config(),
    lambda s: s.votes(),
    lambda s: s.cfg.replyto_shutdown(True),
    lambda s: s.other.trackstart(),
    lambda s: s.other.trackstart(),
    lambda s: refused_shutdown(s, ShutdownFlags.REQUEST),
    lambda s: s.other.replyto_shutdown(True),
    lambda s: s.cmap.set("cfg.shutdown_timeout", 200, ValueType.UINT32),
    lambda s: unanswered_shutdown(s),
    lambda s: s.other.replyto_shutdown(True),
    lambda s: s.other.trackstop(),
    lambda s: s.other.trackstop(),
]


async def status(session: Session, nodeid: int) -> Any:
    """A node's status without the MTU, which a real knet measures over time."""
    found = await session.cfg.node_status_get(nodeid)
    return found._replace(link_status=tuple(link._replace(mtu=0) for link in found.link_status))


async def refused_shutdown(session: Session, flags: ShutdownFlags) -> Any:
    """A shutdown that the other client refuses: the requester's answer, and the other client's events."""
    asked: list[Any] = []

    async def refuse() -> None:
        asked.append(await session.other.next_event())
        await session.other.replyto_shutdown(False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        try:
            await session.cfg.try_shutdown(flags)
        except CsError as error:
            return type(error).__name__, asked
    return "OK", asked


async def unanswered_shutdown(session: Session) -> Any:
    """A shutdown that the other client does not answer; meanwhile a second one is requested."""
    found: list[Any] = []

    async def ask(cfg: Cfg) -> None:
        try:
            await cfg.try_shutdown()
        except CsError as error:
            found.append(type(error).__name__)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, session.cfg)
        found.append(await session.other.next_event())
        await ask(session.other)
    return found


STORIES: dict[str, Story] = {
    "keys are written": WRITES,
    "keys are refused": REFUSALS,
    "votequorum reads what is written": VOTES,
    "statistics": STATISTICS,
    "cfg": CFG,
}


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize("name", STORIES)
async def test_a_story_has_the_same_outcome_as_in_corosync(
    start_daemon: StartDaemon, host: Host, name: str, transport: Literal["shm", "socket"]
) -> None:
    story = STORIES[name]
    config = Config(nodes=(Node(1),), transport=transport)
    async with timekeeping(config):
        ours = await play(story)
    with start_daemon(config).namespace():
        theirs = await play(story)
    for number, pair in enumerate(zip(theirs, ours, strict=True)):
        assert pair[0] == pair[1], f"step {number}"


@contextlib.asynccontextmanager
async def timekeeping(config: Config) -> AsyncIterator[None]:
    """The embedded daemon, with time passing as the clock does."""
    async with (
        served(as_model(config), config.transport, up=[1]) as simulation,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(simulation.keep_time)
        yield
        nursery.cancel_scope.cancel()
