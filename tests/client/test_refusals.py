"""A refused connection says what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import votequorum_ipc
from tests.client.support import nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.ways import every_way
from votequorum_ipc import (
    Cmap,
    InvalidParam,
    Library,
    NotSupported,
    Quorum,
    QuorumType,
    Votequorum,
)

NOBODY = 65534

ASK = """
import sys, trio
from votequorum_ipc import CsError, Votequorum
async def main():
    try:
        async with await Votequorum.initialize() as handle:
            print("node", (await handle.getinfo()).node_id)
    except CsError as error:
        print(type(error).__name__, error)
trio.run(main)
"""


def ask_as(daemon: Daemon, uid: int, gid: int) -> str:
    """The output of a program that connects as this user."""
    package = Path(votequorum_ipc.__file__).parents[1]
    script = f"import sys; sys.path[:0] = {[str(package), *sys.path]!r}\n{ASK}"
    command = daemon.host.command([sys.executable, "-c", script], uid=uid, gid=gid)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_user_without_the_right_is_refused_with_access_and_advice(daemon: Daemon) -> None:
    said = ask_as(daemon, NOBODY, NOBODY)
    assert said.startswith("Access the abstract socket 'votequorum' refuses uid 65534, gid 65534.")
    assert "'uidgid {', 'uid: 65534' and '}', each on its own line" in said


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_user_listed_in_the_configuration_is_accepted(start_daemon: StartDaemon, transport: str) -> None:
    daemon = start_daemon(Config(transport=transport, uids=(NOBODY,)))  # type: ignore[arg-type]
    assert ask_as(daemon, NOBODY, NOBODY) == "node 1"


@every_way()
async def test_if_nothing_listens_the_error_names_the_service_and_the_next_step(daemon: Daemon) -> None:
    with nothing_left():
        with pytest.raises(
            Library, match=r"nothing listens on the abstract socket 'nobody-is-here'.*\{service\}"
        ):
            await Votequorum.initialize(address="@nobody-is-here")
        with pytest.raises(Library, match=r"nothing listens on the socket /no/such/socket"):
            await Votequorum.initialize(address="/no/such/socket")


@every_way()
async def test_without_a_provider_there_is_no_votequorum_and_quorum_is_free(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(provider=None))
    with daemon.namespace():
        with pytest.raises(Library, match="corosync runs, but without votequorum"):
            await Votequorum.initialize()
        async with await Quorum.initialize() as quorum:
            assert quorum.quorum_type == QuorumType.FREE
            assert await quorum.getquorate() is True


@pytest.mark.parametrize("address", ["", "@", "@" + "n" * 108, "/" + "n" * 108, "with\0nul"])
@every_way()
async def test_an_invalid_address_is_an_invalid_parameter(address: str) -> None:
    with pytest.raises(InvalidParam):
        await Votequorum.initialize(address=address)


@every_way()
async def test_every_form_of_address_leads_to_the_daemon(daemon: Daemon) -> None:
    addresses = (None, "@cmap", "@{service}", Path("@cmap"), daemon.connect("cmap"))
    for address in addresses:
        async with await Cmap.initialize(address=address) as cmap:
            assert await cmap.get("runtime.votequorum.this_node_id") == 1


@pytest.mark.parametrize("transport", ["shm", "socket"])
@every_way()
async def test_filesystem_sockets_are_reached_by_their_path(
    start_daemon: StartDaemon, transport: str
) -> None:
    daemon = start_daemon(Config(transport=transport, filesystem_sockets=True))  # type: ignore[arg-type]
    with daemon.namespace():
        template = str(daemon.socket_path("votequorum")).replace("votequorum", "{service}")
        async with await Votequorum.initialize(address=template) as handle:
            assert handle.connection.transport == transport
            assert (await handle.getinfo()).node_id == 1
            await handle.trackstart()
            await handle.next_event()
        async with await Quorum.initialize(address=Path(template)) as quorum:
            assert await quorum.getquorate()


@every_way()
async def test_an_unknown_transport_is_not_supported(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every libqb server uses a known transport, so the known ones get other numbers here.
    monkeypatch.setattr(votequorum_ipc.ipc.connection, "TRANSPORT_SHM", 7)
    monkeypatch.setattr(votequorum_ipc.ipc.connection, "TRANSPORT_SOCKET", 8)
    with nothing_left(), pytest.raises(NotSupported, match="uses transport"):
        await Votequorum.initialize()
