"""Which server a client trusts: the kernel decides, not the name that the server listens on.

The impostors here are processes of another user, on corosync's own names, in a separate network namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import votequorum_ipc.ipc.identity as identity
from tests.cli.command import AS_NOBODY, COMMAND, ENVIRONMENT, NOBODY
from tests.cli.test_serve import Served
from tests.client.support import nothing_left
from tests.real.host import Host
from votequorum_ipc import Cmap, Library, NotSupported, Quorum, Security, Votequorum, cluster_status
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.ipc import Connection, connect
from votequorum_ipc.ipc.identity import ServerProcess, check_listener, check_server
from votequorum_ipc.sockets import abstract
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.wire.setup import CONNECTION_RESPONSE

WHERE = "the abstract socket 'votequorum'"


@pytest.fixture
def host(real_corosync: None, tmp_path: Path) -> Iterator[Host]:
    """A separate network, where corosync's names are free."""
    host = Host(tmp_path)
    yield host
    host.close()


@pytest.fixture(params=["shm", "socket"])
def impostor(request: pytest.FixtureRequest, host: Host, tmp_path: Path) -> Iterator[Served]:
    """`serve` on corosync's own names, as uid 65534; the test runs in its network."""
    argv = host.command([*AS_NOBODY, "serve", "--ipc", request.param])
    with Served(argv, tmp_path) as served, host.namespace():
        yield served


@pytest.mark.parametrize(
    "ask",
    [Votequorum.initialize, Quorum.initialize, Cmap.initialize, Cfg.initialize, cluster_status],
    ids=lambda ask: getattr(ask, "__qualname__", ""),
)
async def test_another_users_server_on_corosyncs_name_is_not_trusted(
    impostor: Served, ask: Callable[[], Awaitable[Any]]
) -> None:
    with nothing_left(), pytest.raises(Security) as caught:
        await ask()
    pid = re.search(r"uid 65534 \(nobody\), pid (\d+), answers on the abstract socket", str(caught.value))
    assert pid
    assert Path(f"/proc/{pid[1]}").stat().st_uid == NOBODY
    assert "server_uids={65534}" in str(caught.value)


async def test_another_users_server_is_trusted_if_the_caller_allows_it(impostor: Served) -> None:
    async with await Votequorum.initialize(server_uids={NOBODY}) as handle:
        assert handle.connection.server_uid == NOBODY
        assert (await handle.getinfo()).node_id == 1
    status = await cluster_status(server_uids={0, NOBODY})
    assert status.quorate


async def test_a_server_at_an_address_that_the_caller_gives_is_the_callers_choice(impostor: Served) -> None:
    async with await Votequorum.initialize(address="@{service}") as handle:
        assert handle.connection.server_uid == NOBODY
        assert (await handle.getinfo()).node_id == 1


async def test_only_server_uids_are_trusted_at_any_address() -> None:
    async with simulated_cluster(1) as cluster:
        with pytest.raises(Security, match=r"server_uids: 1, 2$"):
            await Votequorum.initialize(address=cluster.address(1), server_uids={1, 2})
        async with await Votequorum.initialize(
            address=cluster.address(1), server_uids={os.getuid()}
        ) as handle:
            assert (handle.connection.server_uid, handle.connection.server_pid) == (os.getuid(), os.getpid())


def test_a_user_without_privileges_trusts_its_own_server(host: Host, tmp_path: Path) -> None:
    with Served(host.command([*AS_NOBODY, "serve"]), tmp_path):
        done = host.run([*AS_NOBODY, "status"], env=ENVIRONMENT)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_command_says_who_answers_in_corosyncs_place(impostor: Served, host: Host) -> None:
    done = host.run([*COMMAND, "status"], env=ENVIRONMENT)
    assert done.returncode == 1
    assert "uid 65534 (nobody)" in done.stderr


@pytest.fixture
async def eager() -> AsyncIterator[tuple[socket.socket, Callable[[], Awaitable[Connection]]]]:
    """A server's end whose messages the kernel sends without credentials, and how to connect to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        yield theirs, lambda: connect("votequorum", address=ours, server_uids={os.getuid()})


async def test_a_server_that_answers_before_credentials_are_enabled_is_unknown(
    eager: tuple[socket.socket, Callable[[], Awaitable[Connection]]],
) -> None:
    theirs, connect_to_it = eager
    theirs.send(
        CONNECTION_RESPONSE.encode(
            error=-1, connection_type=0, max_msg_size=0, connection=0, request="", response="", event=""
        )
    )
    with pytest.raises(Security, match="uid 65534"):
        await connect_to_it()


async def test_credentials_are_enabled_before_the_server_can_send(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Watched(socket.socket):
        def connect(self, address: Any) -> None:
            asked.append(self.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Watched)
    with pytest.raises(Library):
        await connect("votequorum", address="@nobody-is-here")
    assert asked == [1]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """The sockets made in this block, and the sockets that listen, belong to another user. Root sends on them
    later.
    """
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


REFUSAL = CONNECTION_RESPONSE.encode(
    error=-errno.ENOTSUP, connection_type=0, max_msg_size=0, connection=0, request="", response="", event=""
)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"server_uids": {0}}, {"address": "@votequorum", "server_uids": {0}}],
    ids=["default", "server_uids", "address"],
)
async def test_a_root_program_that_answers_for_another_users_listener_is_not_trusted(
    host: Host, arguments: dict[str, Any]
) -> None:
    """For example a setuid program that another user has started with the accepted socket as its output."""
    with host.namespace(), trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        await listener.bind(abstract("votequorum"))
        with as_nobody():
            listener.listen()

        async def answer() -> None:
            accepted, _ = await listener.accept()
            with accepted:
                await accepted.send(REFUSAL)
                await accepted.recv(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with pytest.raises(Security, match=r"uid 65534 \(nobody\)"):
                await connect("votequorum", **arguments)


@pytest.mark.usefixtures("real_corosync")
async def test_the_creator_of_a_socket_that_the_caller_gives_does_not_matter() -> None:
    with as_nobody():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        theirs.send(REFUSAL)
        with pytest.raises(NotSupported):
            await connect("votequorum", address=ours, server_uids={0})


def test_root_may_listen_for_a_server_of_a_trusted_user() -> None:
    check_listener(ServerProcess(7, 0), WHERE, {1000}, is_default_address=True)
    with pytest.raises(Security):
        check_listener(ServerProcess(7, 1001), WHERE, {1000}, is_default_address=True)


IN_A_USER_NAMESPACE = """
from votequorum_ipc import CsError
from votequorum_ipc.ipc.identity import ServerProcess, check_server
from votequorum_ipc import cluster_status
for arguments in ({}, {"server_uids": {65534}}):
    try:
        check_server(ServerProcess(7, 65534), "it", arguments.get("server_uids"), is_default_address=True)
        print("believed")
    except CsError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("caller", [0, NOBODY])
def test_a_user_that_is_not_mapped_in_a_user_namespace_is_not_identified(caller: int) -> None:
    """There, 65534 is the host's root, or any other user. That the caller is also 65534 does not make them
    the same.
    """
    identity = "--map-root-user" if caller == 0 else "--user"
    done = subprocess.run(
        ["unshare", "--user", identity, sys.executable, "-c", IN_A_USER_NAMESPACE],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    refused, allowed = done.stdout.splitlines()
    assert refused.startswith("Security pid 7 answers on it, and its user is unknown")
    assert "server_uids={65534}" in refused
    assert allowed == "believed"


def test_a_program_with_more_rights_than_its_user_does_not_trust_that_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Security):
        check_server(ServerProcess(7, 1000), WHERE, None, is_default_address=True)


def test_without_proc_the_overflow_uid_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(identity, "proc_text", missing)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert identity.is_unmapped(NOBODY)
    with pytest.raises(Security, match="its user is unknown"):
        check_server(ServerProcess(7, NOBODY), WHERE, None, is_default_address=True)
