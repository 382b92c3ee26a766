"""What takes time in corosync takes time in the embedded daemon with a latency: the same tests on both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.conftest import StartDaemon
from tests.daemon.subjects import as_model, served
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE
from votequorum_ipc import CsError, CsErrorCode, Votequorum
from votequorum_ipc.cluster import Latency
from votequorum_ipc.ipc import connect
from votequorum_ipc.wire import votequorum as wire

CONFIG = Config(nodes=(Node(1), Node(2, address="127.0.0.2")), device=Device(votes=1))


@pytest.fixture(params=["corosync", "embedded"])
async def daemon(
    request: pytest.FixtureRequest, start_daemon: StartDaemon, host: object
) -> AsyncIterator[Daemon | None]:
    """Each kind of daemon, at the well-known names; None is the embedded one."""
    if request.param == "corosync":
        real = start_daemon(CONFIG)
        with real.namespace():
            yield real
        return
    async with (
        served(as_model(CONFIG), "shm", up=[1], latency=Latency(0.05, 0.1)) as simulation,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(simulation.keep_time)
        await simulation.settled()
        yield None
        nursery.cancel_scope.cancel()


def name_in(answer: bytes | CsError) -> str:
    assert isinstance(answer, bytes)
    return str(wire.GETINFO_RESPONSE.decode(answer).qdevice_name)


async def together(*requests: bytes) -> list[bytes]:
    """Requests that the daemon finds in its ring together: it answers them before it delivers a multicast."""
    async with await connect("votequorum") as connection:
        answers = await connection.request_all(requests, response_size=_ANSWER_SIZE)
    assert all(isinstance(answer, bytes) for answer in answers)
    return [answer for answer in answers if isinstance(answer, bytes)]


async def until_called(handle: Votequorum, name: str) -> None:
    """Wait until the device has this name."""
    with trio.fail_after(DEADLINE):
        while (await handle.getinfo()).qdevice_name != name:
            await trio.sleep(0.001)


GETINFO = wire.GETINFO.encode(nodeid=0)
_ANSWER_SIZE = 512
"""Bytes: larger than any answer here."""


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (wire.QDEVICE_UPDATE.encode(oldname="one", newname="two"), "two"),
        (wire.QDEVICE_UNREGISTER.encode(name="one"), ""),
    ],
)
async def test_a_devices_old_name_is_still_there_just_after_the_call(
    daemon: Daemon | None, request_: bytes, after: str
) -> None:
    async with await Votequorum.initialize() as handle:
        await handle.qdevice_register("one")
        done, answer = await together(request_, GETINFO)
        assert wire.STATUS_RESPONSE.decode(done).error == CsErrorCode.OK
        assert name_in(answer) == "one"
        await until_called(handle, after)


async def test_of_two_simultaneous_registrations_one_gets_try_again(daemon: Daemon | None) -> None:
    """The one that must wait for the cluster is answered last."""
    answers = await together(*(wire.QDEVICE_REGISTER.encode(name=name) for name in ("one", "two")))
    errors = [wire.STATUS_RESPONSE.decode(answer).error for answer in answers]
    assert errors == [CsErrorCode.TRY_AGAIN, CsErrorCode.OK]
    async with await Votequorum.initialize() as handle:
        assert (await handle.getinfo()).qdevice_name == "one"
