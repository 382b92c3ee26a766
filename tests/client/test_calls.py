"""Each call returns what the C library returns for the same daemon at the same moment."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.client.support import as_c, code_of, events_here
from tests.real.config import MANY_VOTES
from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum
from tests.real.cref.votequorum import knows_extra_info
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from tests.ways import Recipe, every_way
from votequorum_ipc import (
    BadHandle,
    Cmap,
    CsErrorCode,
    InvalidParam,
    NodelistNotification,
    NotExist,
    Quorum,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumType,
    QuorumV0Notification,
    QuorumV1Notification,
    RingId,
    TrackFlags,
    TryAgain,
    Votequorum,
)
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.cmap import TrackType
from votequorum_ipc.wire import reply_error
from votequorum_ipc.wire.cmap import GET_RESPONSE

LONGEST = "n" * 254


@contextlib.asynccontextmanager
async def _both() -> AsyncIterator[tuple[Votequorum, CVotequorum]]:
    with CVotequorum() as theirs:
        async with await Votequorum.initialize() as ours:
            yield ours, theirs


@pytest.fixture
def both(daemon: Daemon) -> Recipe:
    """Our handle and the C library's, on the same daemon."""
    return Recipe(_both)


@pytest.fixture
def both_of_many_votes(many_votes_daemon: Daemon) -> Recipe:
    """The same on a daemon whose expected votes can be changed."""
    return Recipe(_both)


@pytest.mark.parametrize("nodeid", [0, 1])
@every_way()
async def test_getinfo_gives_what_the_c_library_gives(
    both: tuple[Votequorum, CVotequorum], nodeid: int
) -> None:
    ours, theirs = both
    assert (CS_OK, as_c(await ours.getinfo(nodeid))) == theirs.getinfo(nodeid)


@every_way()
async def test_getinfo_of_an_unknown_node_does_not_exist(both: tuple[Votequorum, CVotequorum]) -> None:
    ours, theirs = both
    with pytest.raises(NotExist, match="4294967295"):
        await ours.getinfo(0xFFFFFFFF)
    assert theirs.getinfo(0xFFFFFFFF)[0] == CsErrorCode.NOT_EXIST


REFUSED: dict[str, tuple[Callable[[Votequorum], Any], Callable[[CVotequorum], int], CsErrorCode]] = {
    "setexpected below the votes present": (
        lambda ours: ours.setexpected(0),
        lambda theirs: theirs.setexpected(0),
        CsErrorCode.INVALID_PARAM,
    ),
    "setvotes of an unknown node": (
        lambda ours: ours.setvotes(7, 1),
        lambda theirs: theirs.setvotes(7, 1),
        CsErrorCode.NAME_NOT_FOUND,
    ),
    "trackstop without trackstart": (
        lambda ours: ours.trackstop(),
        lambda theirs: theirs.trackstop(),
        CsErrorCode.NOT_EXIST,
    ),
    "poll before register": (
        lambda ours: ours.qdevice_poll("device", True, RingId(1, 1)),
        lambda theirs: theirs.qdevice_poll(b"device", 1, (1, 1)),
        CsErrorCode.NOT_EXIST,
    ),
    "update before register": (
        lambda ours: ours.qdevice_update("device", "other"),
        lambda theirs: theirs.qdevice_update(b"device", b"other"),
        CsErrorCode.NOT_EXIST,
    ),
    "unregister before register": (
        lambda ours: ours.qdevice_unregister("device"),
        lambda theirs: theirs.qdevice_unregister(b"device"),
        CsErrorCode.NOT_EXIST,
    ),
    "master_wins before register": (
        lambda ours: ours.qdevice_master_wins("device", True),
        lambda theirs: theirs.qdevice_master_wins(b"device", 1),
        CsErrorCode.NOT_EXIST,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@every_way()
async def test_a_refused_call_has_the_c_librarys_code(
    both: tuple[Votequorum, CVotequorum], name: str
) -> None:
    ours, theirs = both
    our_call, their_call, code = REFUSED[name]
    assert (await code_of(our_call(ours)), their_call(theirs)) == (code, code)


@every_way()
async def test_setexpected_and_setvotes_change_what_the_c_library_sees(
    both: tuple[Votequorum, CVotequorum],
) -> None:
    ours, theirs = both
    await ours.setvotes(1, 3)
    await ours.setexpected(5)
    await eventually_async(lambda: theirs.getinfo(1)[1]["quorum"] == 3)
    info = await ours.getinfo()
    assert (info.node_votes, info.node_expected_votes, info.quorum) == (3, 5, 3)
    assert theirs.getinfo(1) == (CS_OK, as_c(info))


@every_way()
async def test_extra_info_is_unknown_up_to_3_1_10(both: tuple[Votequorum, CVotequorum]) -> None:
    ours, _ = both
    if knows_extra_info():
        pytest.skip("this corosync knows the calls")
    with pytest.raises(InvalidParam, match=r"newer than corosync 3\.1\.10"):
        await ours.qdevice_set_extra_info(b"data")
    with pytest.raises(InvalidParam, match=r"newer than corosync 3\.1\.10"):
        await ours.qdevice_get_extra_info(1)
    assert (await ours.getinfo()).node_id == 1


@pytest.mark.parametrize("data", [b"12345", b"\0" * 8, bytes(range(256)) * 16, b""], ids=len)
@every_way()
async def test_a_newer_daemon_returns_the_extra_info_that_was_set(
    both: tuple[Votequorum, CVotequorum], data: bytes
) -> None:
    ours, _ = both
    if not knows_extra_info():
        pytest.skip("this corosync does not know the calls")
    await ours.qdevice_register("device")
    await ours.qdevice_set_extra_info(data)
    assert await ours.qdevice_get_extra_info(1) == data


@pytest.mark.parametrize("flags", list(TrackFlags))
@every_way()
async def test_trackstart_sends_the_events_that_the_c_library_gets(
    both_of_many_votes: tuple[Votequorum, CVotequorum], flags: TrackFlags
) -> None:
    ours, theirs = both_of_many_votes
    context = (1 << 64) - 1
    await ours.trackstart(context, flags)
    assert theirs.trackstart(context, int(flags)) == CS_OK
    await ours.setexpected(MANY_VOTES + 1)
    count = {TrackFlags.CURRENT: 2, TrackFlags.CHANGES: 3, TrackFlags.CHANGES_ONLY: 1}[flags]
    await events_here(ours, count)
    await eventually_async(lambda: theirs.dispatch() == CS_OK and len(theirs.events) == count)
    received = [_as_c_event(await ours.next_event()) for _ in range(count)]
    assert received == theirs.events
    assert ours.connection.queued_events() == 0


def _as_c_event(event: Any) -> tuple[Any, ...]:
    match event:
        case QuorumNotification():
            return ("quorum", event.context, int(event.quorate), tuple((n, int(s)) for n, s in event.nodes))
        case NodelistNotification():
            return ("nodelist", event.context, tuple(event.ring_id), event.members)
        case QuorumV0Notification():
            return ("quorum", int(event.quorate), event.ring_seq, event.members)
        case QuorumV1Notification():
            return ("quorum", tuple(event.ring_id), int(event.quorate), event.members)
        case QuorumNodelistNotification():
            return ("nodelist", tuple(event.ring_id), event.members, event.joined, event.left)
        case _:
            return ("expectedvotes", event.context, event.expected_votes)


@every_way()
async def test_a_second_trackstart_exists_and_sends_the_state_again(
    both: tuple[Votequorum, CVotequorum],
) -> None:
    ours, theirs = both
    await ours.trackstart()
    assert theirs.trackstart() == CS_OK
    assert (await code_of(ours.trackstart()), theirs.trackstart()) == (CsErrorCode.EXIST, CsErrorCode.EXIST)
    expected = theirs.take()
    assert [_as_c_event(await ours.next_event()) for _ in expected] == expected
    assert len(expected) == 4


@every_way()
async def test_after_trackstop_no_event_comes(both: tuple[Votequorum, CVotequorum]) -> None:
    ours, theirs = both
    await ours.trackstart(flags=TrackFlags.CHANGES_ONLY)
    await ours.trackstop()
    assert theirs.trackstart(flags=4) == CS_OK
    await ours.setvotes(1, 2)
    await eventually_async(lambda: theirs.dispatch() == CS_OK and theirs.events)
    assert ours.connection.queued_events() == 0


@pytest.mark.parametrize("model", [0, 1])
@every_way()
async def test_the_quorum_service_gives_what_the_c_library_gives(daemon: Daemon, model: Any) -> None:
    with CQuorum(model=model) as theirs:
        async with await Quorum.initialize(model=model) as ours:
            assert ours.quorum_type == theirs.quorum_type == QuorumType.SET
            assert (CS_OK, int(await ours.getquorate())) == theirs.getquorate()
            await ours.trackstart()
            assert theirs.trackstart() == CS_OK
            expected = theirs.take()
            assert len(expected) == 1 + model
            assert [_as_c_event(await ours.next_event()) for _ in expected] == expected
            assert (await code_of(ours.trackstart()), theirs.trackstart()) == (CsErrorCode.EXIST,) * 2
            assert (await code_of(ours.trackstop()), theirs.trackstop()) == (CS_OK, CS_OK)
            assert (await code_of(ours.trackstop()), theirs.trackstop()) == (CS_OK, CS_OK)


@every_way()
async def test_an_unknown_model_is_an_invalid_parameter() -> None:
    with pytest.raises(InvalidParam, match="the models are 0 and 1"):
        await Quorum.initialize(model=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "n" * 255, "ä" * 128, "with\0nul"])
@every_way()
async def test_a_devices_name_is_checked_before_anything_is_sent(
    both: tuple[Votequorum, CVotequorum], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = both

    async def send_nothing(*_: object, **__: object) -> bytes:
        raise AssertionError("a request was sent")

    monkeypatch.setattr(ours.connection, "request", send_nothing)
    for call in (
        ours.qdevice_register(name),
        ours.qdevice_unregister(name),
        ours.qdevice_update(name, "good"),
        ours.qdevice_update("good", name),
        ours.qdevice_poll(name, True, RingId(1, 1)),
        ours.qdevice_master_wins(name, True),
    ):
        with pytest.raises(InvalidParam, match="1 to 254 bytes"):
            await call


@pytest.mark.parametrize("name", ["d", LONGEST, "Gerät"])
@every_way()
async def test_a_devices_name_may_have_1_to_254_bytes(
    both: tuple[Votequorum, CVotequorum], name: str
) -> None:
    ours, theirs = both
    await ours.qdevice_register(name)
    assert (await ours.getinfo()).qdevice_name == name
    assert theirs.qdevice_unregister(name.encode()) == CS_OK


@pytest.mark.parametrize("number", [-1, 1 << 32])
@every_way()
async def test_a_number_that_no_field_holds_is_an_invalid_parameter(
    both: tuple[Votequorum, CVotequorum], number: int
) -> None:
    ours, _ = both
    with pytest.raises(InvalidParam, match="nodeid cannot be"):
        await ours.getinfo(number)
    with pytest.raises(InvalidParam, match="expected_votes cannot be"):
        await ours.setexpected(number)
    assert (await ours.getinfo()).node_id == 1


@every_way()
async def test_every_call_of_a_finalized_handle_is_a_bad_handle(daemon: Daemon) -> None:
    votequorum = await Votequorum.initialize()
    await votequorum.finalize()
    for call in (
        votequorum.getinfo(),
        votequorum.setexpected(1),
        votequorum.trackstart(),
        votequorum.next_event(),
        anext(votequorum.events()),
        votequorum.qdevice_register("device"),
        votequorum.finalize(),
    ):
        assert await code_of(call) == CsErrorCode.BAD_HANDLE
    with pytest.raises(BadHandle):
        votequorum.fileno()


@every_way()
async def test_cmap_reads_and_lists_what_the_c_library_does(daemon: Daemon) -> None:
    with CMap() as theirs:
        async with await Cmap.initialize() as ours:
            for prefix in ("", "nodelist.", "runtime.votequorum.", "no such prefix"):
                error, found = theirs.items(prefix)
                assert error == CS_OK
                keys = await ours.keys(prefix)
                if prefix:  # the full map has counters that change with connections, including this one
                    assert keys == list(found)
                for key in keys if prefix else keys[:50]:
                    value = await ours.get_or_none(key)
                    assert (CS_OK, value) == theirs.get(key) or "stats" in key
            with pytest.raises(NotExist, match=r"there is no key 'no\.such\.key'"):
                await ours.get("no.such.key")


@every_way()
async def test_cmap_reads_a_value_longer_than_its_first_buffer(daemon: Daemon) -> None:
    value = "v" * 4000
    with CMap() as theirs:
        assert theirs.set("test.long", value) == CS_OK
        async with await Cmap.initialize() as ours:
            assert await ours.get("test.long") == value


@every_way()
async def test_cmap_reads_a_value_that_grows_between_the_requests_for_its_length_and_its_content(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = ["v" * length for length in range(300, 1000, 100)]
    with CMap() as theirs:
        async with await Cmap.initialize() as ours:

            async def then_grow(message: bytes, **options: Any) -> bytes:
                response = await request(message, **options)
                told_length = reply_error(response) == CS_OK and not GET_RESPONSE.decode(response).value
                if told_length and growing:
                    assert theirs.set("test.growing", growing.pop(0)) == CS_OK
                return response

            request = ours.connection.request
            monkeypatch.setattr(ours.connection, "request", then_grow)
            for times in range(4):
                assert theirs.set("test.growing", values[0]) == CS_OK
                growing = values[1 : 1 + times]
                assert await ours.get("test.growing") == values[times]
            assert theirs.set("test.growing", values[0]) == CS_OK
            growing = values[1:]
            with pytest.raises(TryAgain, match=r"the value of 'test\.growing' had grown each time"):
                await ours.get("test.growing")


@every_way()
async def test_cmap_reads_and_reports_values_of_the_maximum_length(daemon: Daemon) -> None:
    longest = "v" * (16 * 1024 - 1)
    with CMap() as theirs:
        async with await Cmap.initialize() as ours:
            track = await ours.track_add("test.", TrackType.ADD | TrackType.MODIFY | TrackType.PREFIX)
            for first in "ab":
                assert theirs.set("test.longest", first + longest[1:]) == CS_OK
                assert await ours.get("test.longest") == first + longest[1:]
            await ours.next_event()
            change = await ours.next_event()
            assert (change.track, change.old, change.new) == (track, "a" + longest[1:], "b" + longest[1:])


@every_way()
async def test_cfg_knows_this_node_and_its_address(daemon: Daemon) -> None:
    async with await Cfg.initialize() as cfg:
        assert await cfg.local_get() == 1
        assert [str(address) for address in await cfg.get_node_addrs(0)] == ["127.0.0.1"]
        assert await cfg.get_node_addrs(1) == await cfg.get_node_addrs(0)
