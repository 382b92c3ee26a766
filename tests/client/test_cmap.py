"""cmap with a real corosync: corosync's own client reads what we write, and we read what it writes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.real.cref import CMap
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE
from tests.ways import every_way, fail_after
from votequorum_ipc import Access, CsError, InvalidParam, MessageError, NameTooLong, NotExist, NotSupported
from votequorum_ipc import cmap as cmap_module
from votequorum_ipc.cmap import Cmap, KeyChange, TrackType, TypedValue, Value
from votequorum_ipc.ipc.backend import move_on_after, sleep
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.types import ValueType
from votequorum_ipc.wire import cmap as wire

ALL = TrackType.ADD | TrackType.MODIFY | TrackType.DELETE

VALUES: list[tuple[ValueType, Value, str]] = [
    (ValueType.INT8, -128, "i8"),
    (ValueType.UINT8, 255, "u8"),
    (ValueType.INT16, -(2**15), "i16"),
    (ValueType.UINT16, 2**16 - 1, "u16"),
    (ValueType.INT32, -(2**31), "i32"),
    (ValueType.UINT32, 2**32 - 1, "u32"),
    (ValueType.INT64, -(2**63), "i64"),
    (ValueType.UINT64, 2**64 - 1, "u64"),
    (ValueType.FLOAT, 0.5, "flt"),
    (ValueType.DOUBLE, -0.25, "dbl"),
    (ValueType.STRING, "three words, ä", "str"),
]
"""A type, an extreme value, and corosync-cmapctl's name for the type."""


def shown(daemon: Daemon, *arguments: str) -> dict[str, tuple[str, str]]:
    """Each key that corosync-cmapctl prints, with its type and value."""
    printed = daemon.run(["corosync-cmapctl", *arguments], check=True).stdout
    return {key: (kind, value) for key, kind, value in re.findall(r"^(\S+) \((\w+)\) = (.*)$", printed, re.M)}


# --- writing ---


@pytest.mark.parametrize(("kind", "value", "letters"), VALUES, ids=lambda value: str(value))
@every_way()
async def test_each_type_is_written_as_corosync_reads_it(
    shm_daemon: Daemon, kind: ValueType, value: Value, letters: str
) -> None:
    async with await Cmap.initialize() as cmap:
        await cmap.set("example.key", value, kind)
        assert await cmap.get_typed("example.key") == TypedValue(kind, value)
        with CMap() as c:
            assert c.get("example.key") == (1, value)
        printed, text = shown(shm_daemon, "example.key")["example.key"]
        assert printed == letters
        assert text == value if isinstance(value, str) else float(text) == float(value)
        await cmap.delete("example.key")


@pytest.mark.parametrize(("kind", "value", "letters"), VALUES, ids=lambda value: str(value))
@every_way()
async def test_each_type_is_read_as_corosync_writes_it(
    shm_daemon: Daemon, kind: ValueType, value: Value, letters: str
) -> None:
    shm_daemon.run(["corosync-cmapctl", "-s", "--", "example.key", letters, str(value)], check=True)
    async with await Cmap.initialize() as cmap:
        assert await cmap.get_typed("example.key") == TypedValue(kind, value)
        await cmap.delete("example.key")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 16 << 10])
@every_way()
async def test_bytes_of_every_length_come_back(shm_daemon: Daemon, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    async with await Cmap.initialize() as cmap:
        await cmap.set("example.key", value)
        assert await cmap.get_typed("example.key") == TypedValue(ValueType.BINARY, value)
        await cmap.delete("example.key")
        with pytest.raises(NotExist, match=r"no key 'example\.key'"):
            await cmap.get("example.key")


@every_way()
async def test_integers_are_adjusted_and_wrap_as_in_c(shm_daemon: Daemon) -> None:
    async with await Cmap.initialize() as cmap:
        await cmap.set("example.key", 254, ValueType.UINT8)
        for step, value in ((cmap.inc, 255), (cmap.inc, 0), (cmap.dec, 255)):
            await step("example.key")
            assert await cmap.get("example.key") == value
        await cmap.adjust_int("example.key", -(2**31) + 7)
        assert await cmap.get("example.key") == (255 + 7) % 256
        await cmap.delete("example.key")
        with pytest.raises(NotExist):
            await cmap.inc("example.key")
        with pytest.raises(InvalidParam, match="is not an integer"):
            await cmap.inc("quorum.provider")


@every_way()
async def test_a_refused_write_says_why(shm_daemon: Daemon) -> None:
    async with await Cmap.initialize() as cmap:
        for call in (
            cmap.set("totem.cluster_name", "another"),
            cmap.delete("totem.cluster_name"),
            cmap.inc("totem.version"),
        ):
            with pytest.raises(Access, match="read-only while corosync runs"):
                await call
        with pytest.raises(NameTooLong, match="3 to 255 letters"):
            await cmap.set("blanks not allowed", "x")
        for value, kind in ((7, None), (256, ValueType.UINT8), ("x", ValueType.INT8), (b"x" * 16385, None)):
            with pytest.raises(InvalidParam):
                await cmap.set("example.key", value, kind)
        with pytest.raises(InvalidParam, match="int32"):
            await cmap.adjust_int("example.key", 2**31)


# --- the statistics ---


@every_way()
async def test_the_statistics_are_those_of_cmapctl(shm_daemon: Daemon) -> None:
    async with await Cmap.initialize(map="stats") as stats:
        keys = [key for key in await stats.keys() if not key.startswith("stats.ipcs.service")]
        theirs = shown(shm_daemon, "-m", "stats")
        assert keys == [key for key in theirs if not key.startswith("stats.ipcs.service")]
        for key in keys:
            value = await stats.get_typed(key)
            assert value.type is not ValueType.BINARY
        # Statistics that change only when something happens.
        link = "stats.knet.node1.link0"
        for name in ("connected", "enabled", "mtu", "up_count", "down_count"):
            assert str(await stats.get(f"{link}.{name}")) == theirs[f"{link}.{name}"][1]


@every_way()
async def test_the_two_maps_are_separate_and_the_statistics_can_only_be_cleared(shm_daemon: Daemon) -> None:
    async with await Cmap.initialize(map="stats") as stats:
        with pytest.raises(NotExist):
            await stats.get("quorum.provider")
        with pytest.raises(Access):
            await stats.set("stats.srp.mcast_tx", 0, ValueType.UINT64)
        with pytest.raises(NotSupported, match="ADD and DELETE"):
            await stats.track_add("stats.", TrackType.MODIFY | TrackType.PREFIX)
        with fail_after(DEADLINE):
            while not await stats.get("stats.srp.orf_token_rx"):
                await sleep(0.01)  # an earlier test has cleared it
        await stats.set("stats.clear.totem", 1, ValueType.UINT32)
        await stats.track_add("stats.ipcs.", TrackType.ADD | TrackType.DELETE | TrackType.PREFIX)
        async with await Cmap.initialize():
            change = await stats.next_event()
            assert change.change is TrackType.ADD
            assert change.key.startswith("stats.ipcs.service0.")
    with pytest.raises(InvalidParam, match="'cmap' and 'stats'"):
        await Cmap.initialize(map="other")  # type: ignore[arg-type]


# --- following ---


@every_way()
async def test_a_prefix_is_followed_and_nothing_else(shm_daemon: Daemon) -> None:
    async with await Cmap.initialize() as cmap:
        number = await cmap.track_add("example.", ALL | TrackType.PREFIX)
        for arguments in (
            ["-s", "other.key", "u8", "1"],
            ["-s", "example.key", "u8", "1"],
            ["-s", "example.key", "str", "two"],
            ["-d", "example.key"],
            ["-d", "other.key"],
        ):
            shm_daemon.run(["corosync-cmapctl", *arguments], check=True)
        with fail_after(DEADLINE):
            changes = [await cmap.next_event() for _ in range(3)]
        assert changes == [
            KeyChange(number, "example.key", TrackType.ADD, None, 1),
            KeyChange(number, "example.key", TrackType.MODIFY, 1, "two"),
            KeyChange(number, "example.key", TrackType.DELETE, "two", None),
        ]
        await cmap.track_delete(number)


@every_way()
async def test_a_cancelled_track_add_leaves_no_tracker(shm_daemon: Daemon) -> None:
    """Cancelled while the daemon is stopped, so that its answer comes much later. Each tracker that remained
    would report the key once."""
    async with await Cmap.initialize() as cmap:
        with shm_daemon.frozen():
            for _ in range(3):
                with move_on_after(0.02) as scope:
                    await cmap.track_add("example.", ALL | TrackType.PREFIX)
                assert scope.cancelled_caught
        kept = await cmap.track_add("example.", ALL | TrackType.PREFIX)
        # Requests to delete the trackers are sent once their numbers are known.
        await cmap.keys("quorum.provider")
        await cmap.set("example.key", 1, ValueType.UINT8)
        await cmap.delete("example.key")
        with fail_after(DEADLINE):
            changes = [await cmap.next_event() for _ in range(2)]
        assert [(change.track, change.change) for change in changes] == [
            (kept, TrackType.ADD),
            (kept, TrackType.DELETE),
        ]
        await cmap.get("quorum.provider")
        assert cmap.connection.queued_events() == 0


# --- lying servers: under trio, whose loop runs the simulated cluster ---


async def test_keys_that_never_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmap_module, "MAX_LISTED_KEYS", 5)
    async with (
        simulated_cluster(nodes=1) as cluster,
        await Cmap.initialize(address=cluster.address(1)) as cmap,
    ):
        with pytest.raises(MessageError, match="more than 5 keys"):
            await cmap.keys()
        # The iterator was released.
        assert len(await cmap.keys("quorum.provider")) == 1


async def test_a_key_outside_the_prefix_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        simulated_cluster(nodes=1) as cluster,
        await Cmap.initialize(address=cluster.address(1)) as cmap,
    ):
        other = wire.ITER_NEXT_RESPONSE.encode(key_name="other", value_len=1, type=2)
        request_all = cmap.connection.request_all

        async def lying(messages: Iterable[bytes], **options: int | None) -> list[bytes | CsError]:
            asked = list(messages)
            answers = await request_all(asked, **options)
            return [other if q[:4] == b"\x05\0\0\0" else a for q, a in zip(asked, answers, strict=True)]

        monkeypatch.setattr(cmap.connection, "request_all", lying)
        with pytest.raises(MessageError, match="'other', where all keys begin with 'quorum'"):
            await cmap.keys("quorum")


@every_way()
async def test_the_names_of_keys_are_complete_whatever_their_number(shm_daemon: Daemon) -> None:
    # Names are requested 32 at a time, so one more request follows, or a read past the last name.
    for count in (31, 32, 33):
        names = [f"example.{number:03}" for number in range(count)]
        async with await Cmap.initialize() as cmap:
            for name in names:
                await cmap.set(name, "x")
            assert await cmap.keys("example.") == names
            for name in names:
                await cmap.delete(name)
            assert await cmap.keys("example.") == []


@every_way()
async def test_several_keys_are_read_together_and_missing_ones_are_left_out(
    shm_daemon: Daemon,
) -> None:
    async with await Cmap.initialize() as cmap:
        await cmap.set("example.long", "x" * 5000)
        got = await cmap.get_all(["totem.version", "example.missing", "example.long", "quorum.provider"])
        one_by_one = await cmap.items()
        assert got == {key: one_by_one[key] for key in got}
        assert "example.missing" not in got
        assert got["example.long"] == "x" * 5000
        assert (await cmap.get_all(list(one_by_one))).keys() == one_by_one.keys()
        await cmap.delete("example.long")
