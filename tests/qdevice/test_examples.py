"""The ready-made decisions with real witnesses; and the trap, with the decisions that avoid it and those that
do not."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from examples.qdevice.http_endpoint import Endpoint
from examples.qdevice.lease_file import LeaseFile
from examples.qdevice.ping_gateway import ping_gateway
from examples.qdevice.redis_lease import RedisLease
from examples.qdevice.shared_lock import SharedLock
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import InfoFlags, RingId
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.qdevice import View, Vote, run_qdevice
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

from .support import ALIVE, CAST, REGISTERED, need

SECONDS = 0.3
"""The leases of these tests are this short, since their holders are known to be gone."""


def view(node: int, *members: int, time_left: float = 0.0) -> View:
    return View(RingId(1, 4), members or (node,), node, True, 3, 2, trio.current_time() + time_left)


# --- witnesses ---


class Witness(http.server.BaseHTTPRequestHandler):
    """Answers as the test wants."""

    answers: list[int]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.answers[-1])
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Service:
    url: str
    answers: list[int]
    asked: list[str]


@pytest.fixture
def witness() -> Iterator[Service]:
    answers, asked = [200], list[str]()
    handler = type("Handler", (Witness,), {"answers": answers, "asked": asked})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Service(f"http://127.0.0.1:{server.server_port}/alive", answers, asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis server."""
    need("redis-server", "redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
            return False

        try:
            eventually(answers, otherwise="redis-server answers")
            yield port
        finally:
            server.kill()


async def until(decision: Vote, about: Callable[[], View], answer: bool) -> None:
    with trio.fail_after(DEADLINE):
        while await decision(about()) is not answer:
            await trio.sleep(0.01)


# --- each alone ---


async def test_only_a_gateway_that_answers_is_a_vote() -> None:
    need("ping", "iputils-ping")
    assert await ping_gateway("127.0.0.1", view(1))
    assert not await ping_gateway("no-such-host.invalid", view(1))


async def test_only_a_service_that_answers_200_is_a_vote(witness: Service) -> None:
    decision = Endpoint(witness.url)
    assert await decision(view(2, 1, 2))
    assert witness.asked == ["/alive?node=2&members=1%2C2"]
    for status in (503, 404, 204):
        witness.answers.append(status)
        assert not await decision(view(2))


async def test_a_service_that_is_not_there_raises() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        await Endpoint(f"http://127.0.0.1:{port}/")(view(1))
    with pytest.raises(ValueError, match="no http address"):
        Endpoint("file:///etc/passwd")


async def test_a_lock_belongs_to_one_node_until_its_process_ends(tmp_path: Path) -> None:
    first, second = (SharedLock(tmp_path / "lock") for _ in range(2))
    assert await first(view(1))
    assert not await second(view(2))
    assert await first(view(1))
    first.close()
    assert await second(view(2))
    assert not await first(view(1))
    second.close()
    first.close()


async def test_the_lock_of_a_file_that_was_replaced_does_not_count(tmp_path: Path) -> None:
    first, second = (SharedLock(tmp_path / "lock") for _ in range(2))
    assert await first(view(1))
    (tmp_path / "lock").unlink()
    assert await second(view(2))
    assert not await first(view(1))
    second.close()
    first.close()


async def test_a_lease_file_is_for_the_part_that_its_holder_is_in(tmp_path: Path) -> None:
    first, second, third = (LeaseFile(tmp_path) for _ in range(3))
    assert await first(view(1, 1, 2))
    assert await second(view(2, 1, 2))
    assert not await second(view(2, 2, 3))
    assert not await third(view(3, 2, 3))
    assert await first(view(1))


async def test_a_silent_holder_loses_its_lease_file_and_notices(tmp_path: Path) -> None:
    first = LeaseFile(tmp_path, lease=SECONDS, settled=SECONDS)
    second = LeaseFile(tmp_path, lease=SECONDS, settled=SECONDS)
    assert await first(view(1))
    await until(second, lambda: view(2), True)
    assert not await first(view(1))
    assert json.loads((tmp_path / "lease.2").read_text())["holder"] == 2
    # Now the first node waits, and gets the lease back in a third generation.
    await until(first, lambda: view(1), True)
    assert not await second(view(2))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["lease.2", "lease.3"]


async def test_a_new_generation_has_no_vote_until_the_old_ones_votes_have_expired(tmp_path: Path) -> None:
    first, second = LeaseFile(tmp_path), LeaseFile(tmp_path, lease=0.0)
    assert await first(view(1))
    assert not await second(view(2))
    await until(second, lambda: view(2), False)
    assert not await second(view(2))
    assert (tmp_path / "lease.2").exists()
    assert not await first(view(1))


async def test_of_many_nodes_that_take_a_lease_file_at_once_one_gets_it(tmp_path: Path) -> None:
    """Each is alone in its part, and the lease is free: for three generations all try to take it."""
    nodes = range(1, 9)
    answers: dict[int, bool] = {}
    decisions = {node: LeaseFile(tmp_path, lease=SECONDS, settled=0.0) for node in nodes}

    async def ask(node: int) -> None:
        answers[node] = await decisions[node](view(node))

    for generation in (1, 2, 3):
        with trio.fail_after(DEADLINE):
            while not (tmp_path / f"lease.{generation}").exists():
                async with trio.open_nursery() as nursery:
                    for node in decisions:
                        nursery.start_soon(ask, node)
        winners = [node for node in decisions if answers[node]]
        holder = json.loads((tmp_path / f"lease.{generation}").read_text())["holder"]
        assert winners in ([holder], [])
        del decisions[holder]


async def test_a_lease_file_that_cannot_be_read_raises(tmp_path: Path) -> None:
    (tmp_path / "lease.7").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        await LeaseFile(tmp_path)(view(1))
    with pytest.raises(FileNotFoundError):
        await LeaseFile(tmp_path / "gone")(view(1))


async def test_a_lease_in_redis_is_for_the_part_that_its_holder_is_in(redis: int) -> None:
    first, second = (RedisLease("127.0.0.1", redis) for _ in range(2))
    assert await first(view(1, 1, 2))
    assert await second(view(2, 1, 2))
    assert not await second(view(2, 2, 3))
    assert await first(view(1))


async def test_a_silent_holder_loses_its_lease_in_redis(redis: int) -> None:
    first = RedisLease("127.0.0.1", redis, lease=SECONDS, vote_life=0.0)
    second = RedisLease("127.0.0.1", redis, lease=SECONDS, vote_life=0.0)
    assert await first(view(1))
    assert not await second(view(2))
    await until(second, lambda: view(2), True)
    assert not await first(view(1))


async def test_no_node_votes_on_a_redis_lease_that_its_vote_could_outlive(redis: int) -> None:
    decision = RedisLease("127.0.0.1", redis, lease=60.0, vote_life=40.0)
    assert await decision(view(1, time_left=10.0))
    assert not await decision(view(1, time_left=30.0))


@pytest.mark.parametrize(
    "reply", [b"", b"-NOAUTH no\r\n", b"*1\r\n", b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n", b"x" * 4096]
)
async def test_an_invalid_answer_from_redis_raises(reply: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(reply)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        with pytest.raises(OSError, match="Redis answers"):
            await RedisLease("127.0.0.1", listener.socket.getsockname()[1])(view(1))
        nursery.cancel_scope.cancel()


# --- the trap ---

Decisions = Callable[[int], Vote]


@pytest.fixture
async def decisions(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Decisions]:
    """The decision of each node, for the example of this name."""
    match request.param:
        case "ping_gateway":
            need("ping", "iputils-ping")
            yield lambda _: partial(ping_gateway, "127.0.0.1")
        case "http_endpoint":
            service = request.getfixturevalue("witness")
            yield lambda _: Endpoint(service.url)
        case "shared_lock":
            locks = {node: SharedLock(tmp_path / "lock") for node in (1, 2)}
            yield locks.__getitem__
            for lock in locks.values():
                lock.close()
        case "lease_file":
            yield lambda _: LeaseFile(tmp_path)
        case "redis_lease":
            port = request.getfixturevalue("redis")
            yield lambda _: RedisLease("127.0.0.1", port)


async def quorate(cluster: SimulatedCluster) -> list[int]:
    """The nodes that are quorate once both their devices have decided."""
    await eventually_async(lambda: not any(map(cluster.model.is_synchronising, (1, 2))))
    return [node for node in (1, 2) if cluster.model.node(node).quorate]


@pytest.mark.parametrize(
    ("decisions", "go_on"),
    [
        ("ping_gateway", 2),
        ("http_endpoint", 2),
        ("shared_lock", 1),
        ("lease_file", 1),
        ("redis_lease", 1),
    ],
    indirect=["decisions"],
)
async def test_the_number_of_sides_that_survive_a_two_node_split(decisions: Decisions, go_on: int) -> None:
    async with (
        simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster,
        trio.open_nursery() as nursery,
    ):
        for node in (1, 2):
            run: Any = partial(run_qdevice, "device", decisions(node), 0.05, address=cluster.address(node))
            await nursery.start(run)
        async with await cluster.connect(1) as handle:
            with trio.fail_after(DEADLINE):
                while CAST not in (await handle.getinfo()).flags:
                    await trio.sleep(0.005)
        cluster.partition({1}, {2})
        # The second node's device may cast its first vote only now.
        with trio.fail_after(DEADLINE):
            while len(await quorate(cluster)) != go_on:
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


# --- as programs ---

NAMES = ["ping_gateway", "http_endpoint", "shared_lock", "lease_file", "redis_lease"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def program(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / "qdevice" / f"{name}.py"), *arguments]


@contextlib.asynccontextmanager
async def started(command: list[str]) -> AsyncIterator[trio.Process]:
    """A process with readable stderr, which has ended with the block."""
    process = await trio.lowlevel.open_process(command, env=ENVIRONMENT, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stderr
            await process.stderr.aclose()


async def until_flags(cluster: SimulatedCluster, process: trio.Process, wanted: InfoFlags) -> None:
    """Wait until node 1 has these flags."""
    async with await cluster.connect(1) as handle:
        with trio.fail_after(DEADLINE):
            while wanted not in (await handle.getinfo()).flags:
                assert process.poll() is None
                await trio.sleep(0.01)


@pytest.mark.parametrize("name", NAMES)
async def test_each_program_votes_and_withdraws_when_it_is_stopped(
    name: str, witness: Service, redis: int, tmp_path: Path
) -> None:
    argument = {
        "ping_gateway": "127.0.0.1",
        "http_endpoint": witness.url,
        "shared_lock": str(tmp_path / "lock"),
        "lease_file": str(tmp_path),
        "redis_lease": f"127.0.0.1:{redis}",
    }[name]
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        command = program(name, argument, "--address", cluster.address(1))
        async with started(command) as process:
            await until_flags(cluster, process, CAST)
            process.terminate()
            with trio.fail_after(DEADLINE):
                assert await process.wait() == 0
            async with await cluster.connect(1) as handle:
                assert not (await handle.getinfo()).flags & (REGISTERED | ALIVE | CAST)


async def test_a_failing_decision_casts_no_vote_and_prints_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        command = program("lease_file", str(directory), "--address", cluster.address(1))
        async with started(command) as process:
            await until_flags(cluster, process, REGISTERED | ALIVE)
            directory.mkdir()
            await until_flags(cluster, process, CAST)
            process.terminate()
            assert process.stderr
            with trio.fail_after(DEADLINE):
                told = b"".join([part async for part in process.stderr]).decode()
    assert told.splitlines() == [
        f"no vote: [Errno 2] No such file or directory: '{directory}'",
        "quorum device lease does not vote: the decision said no",
        "quorum device lease votes: the decision said yes",
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, r"usage: .*arguments are required"),
        (["http://127.0.0.1", "--address", "@no-votequorum"], 1, r"nothing listens on [^\n]*\n"),
    ],
    ids=["no argument", "no daemon"],
)
def test_each_program_reports_what_is_missing(name: str, arguments: list[str], code: int, told: str) -> None:
    if name == "redis_lease":
        arguments = [argument.replace("http://", "") for argument in arguments]
    done = subprocess.run(
        program(name, *arguments),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == code
    assert re.match(told, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr


def test_each_program_says_what_it_protects_from_and_what_not() -> None:
    # in_asyncio.py shows how to run a device, and leaves the decision to the reader.
    examples = sorted((ROOT / "examples" / "qdevice").glob("[!_]*.py"))
    examples.remove(ROOT / "examples" / "qdevice" / "in_asyncio.py")
    assert len(examples) == 5
    for example in examples:
        text = example.read_text()
        assert re.search(r"^Protects from: ", text, re.MULTILINE), example
        assert re.search(r"^Does not protect from: ", text, re.MULTILINE), example
