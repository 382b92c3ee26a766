"""`votequorum-ipc serve`: a process that clients take for corosync, controlled by typed commands."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

import pytest
import trio
import trio.testing

from tests.conftest import StartDaemon
from tests.daemon.subjects import comparable
from tests.real.config import Config, Device, Node
from tests.real.host import Host
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import RingId, Votequorum
from votequorum_ipc.blocking import Cmap
from votequorum_ipc.blocking import Votequorum as BlockingVotequorum
from votequorum_ipc.cli import serve
from votequorum_ipc.cli.serve_words import SIMULATED_DEVICE, Script
from votequorum_ipc.testing import simulated_cluster

if TYPE_CHECKING:
    from votequorum_ipc.cli.line_input import LineInput

from .command import AS_NOBODY, COMMAND, ENVIRONMENT, without_daemon


@dataclass
class Screen:
    """The last output for each node."""

    lines: Sequence[str] = ("",) * 3

    def show(self, lines: Sequence[str]) -> None:
        self.lines = lines


CONF = """
totem {
    cluster_name: from-a-file
    token: 3000
}
nodelist {
    node {
        nodeid: 4
        name: four
        quorum_votes: 2
    }
    node {
        nodeid: 7
        name: seven
    }
}
quorum {
    provider: corosync_votequorum
    wait_for_all: 1
}
"""


class Served:
    """A running `serve`; the test writes its standard input."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        self._output = directory / "serve.out"
        self._errors = directory / "serve.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=output, stderr=errors, env=ENVIRONMENT, text=True
            )

    def __enter__(self) -> Self:
        try:
            eventually(self._all_shown, otherwise=self.errors)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def say(self, line: str) -> list[str]:
        """Type a line; return the lines printed for the nodes after it was carried out."""
        before = len(self._shown())
        assert self._stdin.write(line + "\n")
        self._stdin.flush()
        nodes = len({shown.split()[1] for shown in self._shown()})
        eventually(
            lambda: len(self._shown()) >= before + nodes, otherwise=lambda: self.output() + self.errors()
        )
        return self._shown()[-nodes:]

    def complain(self, line: str) -> str:
        """Type a line that makes no sense; return the complaint."""
        before = self.errors().count("\n")
        self._stdin.write(line + "\n")
        self._stdin.flush()
        eventually(lambda: self.errors().count("\n") > before, otherwise=self.output)
        return self.errors().splitlines()[-1]

    def wait(self) -> int:
        """Block until it exits; return the exit code."""
        return self.process.wait(DEADLINE)

    def close_input(self) -> None:
        """Close its standard input."""
        self._stdin.close()

    def output(self) -> str:
        return self._output.read_text()

    def errors(self) -> str:
        return self._errors.read_text()

    def _all_shown(self) -> bool:
        serving = re.search(r"serving (\d+) node", self.output())
        return serving is not None and len(self._shown()) >= int(serving[1])

    def _shown(self) -> list[str]:
        return [line for line in self.output().splitlines() if "  partition " in line]

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin
        return self.process.stdin

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            self._stdin.close()


@pytest.fixture
def prefix(tmp_path: Path, worker_id: str) -> str:
    """A prefix that no other test uses."""
    return f"test-{worker_id}-{tmp_path.name}"


@pytest.fixture
def served(tmp_path: Path, prefix: str) -> Iterator[Served]:
    """Three nodes at addresses with that prefix."""
    with Served([*COMMAND, "serve", "--prefix", prefix], tmp_path) as served:
        yield served


def status(prefix: str, node: str = "") -> dict[str, Any]:
    result = without_daemon("status", "--json", "--address", f"@{prefix}{node}-{{service}}")
    shape: dict[str, Any] = json.loads(result.stdout)
    return shape


def quorate(lines: list[str]) -> list[bool | None]:
    return [None if line.endswith("down") else "NOT QUORATE" not in line for line in lines]


def test_typed_commands_are_carried_out_and_their_result_is_shown(served: Served) -> None:
    assert quorate(served.say("show")) == [True, True, True]
    assert quorate(served.say("down 3")) == [True, True, None]
    assert quorate(served.say("down 2")) == [False, None, None]
    assert quorate(served.say("up 2,3")) == [True, True, True]
    assert quorate(served.say("split 1:1")) == [False, True, True]
    assert quorate(served.say("move 1:2")) == [True, True, False]
    assert quorate(served.say("join 0 1   # a comment")) == [True, True, True]
    assert quorate(served.say("down 1,3")) == [None, False, None]
    assert quorate(served.say("up 2:1 3")) == [False, True, True]
    lines = served.say("SHOW")
    assert [line.split()[3] for line in lines] == ["2", "0", "0"]
    assert lines[1].endswith("members 2 3")
    assert "votes 2/3, quorum 2" in lines[1]


def test_links_go_down_and_up_and_are_slow(served: Served, prefix: str) -> None:
    assert quorate(served.say("link down 1 2")) == [True, False, True]
    assert quorate(served.say("link up 1 2 0")) == [True, True, True]
    assert quorate(served.say("link down 1 2")) == [True, False, True]
    assert quorate(served.say("heal")) == [True, True, True]
    assert quorate(served.say("leave 2")) == [True, None, True]
    served.say("up 2")
    served.say("latency 1 2 0.1")
    served.say("link latency 1 3 0.2")
    with Cmap.initialize(map="stats", address=f"@{prefix}-{{service}}") as stats:
        assert stats.get("stats.knet.node3.link0.latency_max") == 200_000
        assert stats.get("stats.knet.node2.link0.latency_max") == 100_000


@pytest.mark.parametrize(
    "line",
    [
        "link",
        "link 1 2",
        "link down 1",
        "link down 1 9",
        "link down 1 2 3",
        "link loss 1 2",
        "link loss 1 2 x",
    ],
)
def test_a_link_that_makes_no_sense_is_refused(served: Served, line: str) -> None:
    assert re.search(
        "such as|there is no|no such node|have links 0 to|is not a number", served.complain(line)
    )


def test_clients_see_the_effect_of_typed_commands_at_the_printed_addresses(
    served: Served, prefix: str
) -> None:
    assert f"node 1: --address '@{prefix}-{{service}}'" in served.output()
    assert f"node 3: --address '@{prefix}-3-{{service}}'" in served.output()
    assert [member["name"] for member in status(prefix)["members"]] == ["node1", "node2", "node3"]
    served.say("split 1:1")
    assert status(prefix)["quorate"] is False
    assert status(prefix, "-2")["quorate"] is True
    assert without_daemon("status", "--address", f"@{prefix}-{{service}}").returncode == 2
    served.say("down 1")
    assert without_daemon("status", "--address", f"@{prefix}-{{service}}").returncode == 1


def test_a_quorum_device_is_started_and_stopped(tmp_path: Path, prefix: str) -> None:
    conf = tmp_path / "corosync.conf"
    text = CONF.replace("wait_for_all: 1", "device {\n model: net\n votes: 2\n }")
    conf.write_text(text)
    argv = [*COMMAND, "serve", "--prefix", prefix, "--config", str(conf)]
    with Served(argv, tmp_path) as served:
        served.say("down 7")
        assert status(prefix)["quorate"] is False
        assert quorate(served.say("qdevice on 4")) == [True, None]
        shape = status(prefix)
        assert shape["quorate"] is True
        assert shape["qdevice"]["name"] == "simulated"
        assert quorate(served.say("qdevice off 4")) == [False, None]
        assert status(prefix)["qdevice"] is None
        assert "node 7 is down" in served.complain("qdevice on 7")


def test_a_device_that_may_not_vote_says_why_and_the_rest_keeps_running(served: Served) -> None:
    for _ in range(2):
        assert "node 1: quorum.device.model is not set" in served.complain("qdevice on 1")
    assert quorate(served.say("show")) == [True, True, True]


@pytest.mark.parametrize(("votes", "alone"), [(2, True), (3, False)])
def test_a_device_whose_votes_the_nodes_need_for_quorum_gets_a_warning(
    tmp_path: Path, prefix: str, votes: int, alone: bool
) -> None:
    with Served([*COMMAND, "serve", "--prefix", prefix, "--device", str(votes)], tmp_path) as served:
        assert quorate(served.say("show")) == [alone] * 3
        warning = "warning: the quorum device has 3 of 6 votes, so the nodes have no quorum without it: "
        assert served.errors() == ("" if alone else f"{warning}give it fewer votes than the nodes have\n")


async def test_a_device_that_another_client_withdraws_is_reported_and_can_be_started_again(
    tmp_path: Path, prefix: str
) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text(CONF.replace("wait_for_all: 1", "device {\n model: net\n votes: 2\n }"))
    argv = [*COMMAND, "serve", "--prefix", prefix, "--config", str(conf)]
    with Served(argv, tmp_path) as served:
        served.say("qdevice on 4")
        async with await Votequorum.initialize(address=f"@{prefix}-{{service}}") as vq:
            await vq.qdevice_unregister(SIMULATED_DEVICE)
        eventually(lambda: "quorum device of node 4: " in served.errors(), otherwise=served.errors)
        assert quorate(served.say("qdevice on 4")) == [True, True]
        assert status(prefix)["qdevice"]["name"] == SIMULATED_DEVICE


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("fly 1", "'fly' is not a known word; type help to see them"),
        ("up", "which nodes?"),
        ("up 9", "there is no node 9; there are 1, 2, 3"),
        ("down one", "'one' is not the number of a node"),
        ("split 1", "split takes PARTITION:NODE"),
        ("split a:1", "'a' is not the number of a partition"),
        ("join 0", "join takes two or more partitions"),
        ("join 0 5", "there is no partition 5"),
        ("qdevice maybe 1", "qdevice takes on or off"),
        ("qdevice on", "which nodes?"),
        ("\x1b[31m", "'\\x1b[31m' is not a known word"),
    ],
)
def test_a_line_that_makes_no_sense_says_so_and_changes_nothing(
    served: Served, line: str, complaint: str
) -> None:
    before = served.say("show")
    assert complaint.replace("\\\\", "\\") in served.complain(line).replace("\\\\", "\\")
    assert served.say("show") == before


def test_help_shows_every_word(served: Served) -> None:
    served.process.stdin.write("Help\n")  # type: ignore[union-attr]
    served.say("show")
    for word in (
        "up",
        "down",
        "leave",
        "split",
        "join",
        "heal",
        "qdevice",
        "link",
        "latency",
        "show",
        "exit",
    ):
        assert f"\n  {word} " in served.output()


def test_changes_made_by_clients_are_shown(tmp_path: Path, prefix: str) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text(CONF.replace("wait_for_all: 1", "device {\n model: net\n votes: 2\n }"))
    argv = [*COMMAND, "serve", "--prefix", prefix, "--config", str(conf)]
    with Served(argv, tmp_path) as served:
        served.say("down 7")

        def shown() -> str:
            return served.output().rstrip().splitlines()[-2]

        assert "NOT QUORATE  votes 2/5" in shown()
        with BlockingVotequorum.initialize(address=f"@{prefix}-{{service}}") as device:
            device.qdevice_register("mine")
            for vote, line in ((1, "quorate      votes 4/5"), (0, "NOT QUORATE  votes 2/5")):
                ring = status(prefix)["ring_id"]
                device.qdevice_poll("mine", vote, RingId(ring["nodeid"], ring["seq"]))
                eventually(lambda line=line: line in shown(), otherwise=served.output)  # type: ignore[misc]
        assert without_daemon("setvotes", "4", "3", "--address", f"@{prefix}-{{service}}").returncode == 0
        eventually(lambda: "votes 3/" in shown(), otherwise=served.output)


async def test_a_change_right_after_another_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_SHOW_SECONDS", 0.3)
    screen = Screen()
    async with simulated_cluster(nodes=3) as cluster, trio.open_nursery() as nursery:
        nursery.start_soon(cluster.keep_time)
        display = serve._Display(cluster, Script(cluster, nursery, print), cast("LineInput", screen))
        nursery.start_soon(display.follow)
        for nodeid in (2, 3):
            await trio.testing.wait_all_tasks_blocked()
            cluster.kill(nodeid)
            await eventually_async(lambda nodeid=nodeid: screen.lines[nodeid - 1].endswith("down"))  # type: ignore[misc]
        nursery.cancel_scope.cancel()


def test_cfgtool_reloads_the_changed_file(host_for_serve: Host, tmp_path: Path) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text(CONF)
    with Served(host_for_serve.command([*COMMAND, "serve", "--config", str(conf)]), tmp_path) as served:
        assert "votes 3/3" in served.say("show")[0]
        conf.write_text(CONF.replace("quorum_votes: 2", "quorum_votes: 4"))
        done = host_for_serve.run(["corosync-cfgtool", "-R"])
        assert (done.returncode, done.stderr) == (0, "")
        eventually(lambda: "votes 5/5" in served.output(), otherwise=served.output)
        conf.write_text("nonsense\n")
        assert host_for_serve.run(["corosync-cfgtool", "-R"]).returncode != 0
        assert "votes 5/5" in served.say("show")[0]


class Typist:
    """A person at a terminal."""

    def __init__(self, argv: Sequence[str], home: Path) -> None:
        self._end, terminal = pty.openpty()
        environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(home), "TERM": "xterm"}
        self._process = subprocess.Popen(
            argv, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
        )
        os.close(terminal)
        self._seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def type(self, keys: str, *, until: str) -> None:
        """Press keys, and wait for the response."""
        self._seen = ""
        os.write(self._end, keys.encode())
        eventually(lambda: until in self._read(), otherwise=lambda: self._seen)

    def wait(self) -> int:
        return self._process.wait(DEADLINE)

    def _read(self) -> str:
        while select.select([self._end], [], [], 0)[0]:
            self._seen += os.read(self._end, 4096).decode()
        return self._seen


def test_a_terminal_has_completion_and_the_history_of_earlier_runs(tmp_path: Path, prefix: str) -> None:
    argv = [*COMMAND, "serve", "--prefix", prefix]
    with Typist(argv, tmp_path) as typist:
        typist.type("", until="> ")
        typist.type("lea\t3\n", until="node 3  partition 0  down")
        typist.type("link do\t1 2\n", until="NOT QUORATE")
        typist.type("exit\n", until="")
        assert typist.wait() == 0
    with Typist(argv, tmp_path) as typist:
        typist.type("", until="> ")
        # Wait for the next prompt: before it, the kernel handles the end of input.
        typist.type("\x1b[A\x1b[A\x1b[A\n", until="node 3  partition 0  down\r\n> ")
        typist.type("\x04", until="")
        assert typist.wait() == 0


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ([], {"up", "heal", "device", "latency", "help", "leave", "link"}),
        (["link"], {"down", "up", "latency", "loss"}),
        (["device"], {"on", "off"}),
        (["down"], {"1", "2", "3"}),
        (["link", "down"], {"1", "2", "3"}),
        (["heal"], set[str]()),
    ],
)
async def test_a_word_is_completed_by_what_may_follow(before: list[str], words: set[str]) -> None:
    async with simulated_cluster(nodes=3) as cluster, trio.open_nursery() as nursery:
        found = Script(cluster, nursery, print).completions(before)
    assert words <= {*found}
    assert bool(words) is bool(found)


@pytest.mark.parametrize("word", ["exit", "quit", "q"])
def test_exit_ends_it_and_leaves_nothing(served: Served, word: str) -> None:
    pid = served.process.pid
    served.process.stdin.write(word + "\n")  # type: ignore[union-attr]
    served.process.stdin.flush()  # type: ignore[union-attr]
    assert served.wait() == 0
    assert not list(Path("/dev/shm").glob(f"qb-{pid}-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(served: Served, number: signal.Signals) -> None:
    served.process.send_signal(number)
    assert served.wait() == 0
    assert served.errors() == ""


def test_it_keeps_running_when_its_input_ends(served: Served, prefix: str) -> None:
    served.close_input()
    for _ in range(3):
        assert status(prefix)["quorate"] is True
    assert served.process.poll() is None


def test_two_run_side_by_side_but_not_with_the_same_names(
    served: Served, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "other").mkdir()
    with Served([*COMMAND, "serve", "--nodes", "1", "--prefix", f"{prefix}-b"], tmp_path / "other"):
        assert len(status(prefix)["members"]) == 3
        assert len(status(f"{prefix}-b")["members"]) == 1
    refused = without_daemon("serve", "--prefix", prefix)
    assert refused.returncode == 1
    assert f"the abstract socket '{prefix}-votequorum' is in use: is corosync" in refused.stderr
    assert refused.stderr.endswith("serve --prefix NAME\n")


@pytest.mark.parametrize("ipc", ["shm", "socket"])
def test_root_reaches_a_server_without_privileges_at_an_address_given_by_option(
    host_for_serve: Host, tmp_path: Path, ipc: str
) -> None:
    argv = host_for_serve.command([*AS_NOBODY, "serve", "--ipc", ipc])
    with Served(argv, tmp_path):
        ours = host_for_serve.run([*COMMAND, "status", "--address", "@{service}"], env=ENVIRONMENT)
        assert (ours.returncode, ours.stderr) == (0, "")
        theirs = host_for_serve.run(["corosync-quorumtool", "-s"])
        assert (theirs.returncode, theirs.stderr) == (0, "")


def test_the_names_of_a_real_corosync_cannot_be_taken(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    refused = daemon.run([*COMMAND, "serve"], env=ENVIRONMENT)
    assert refused.returncode == 1
    assert "the abstract socket 'votequorum' is in use: is corosync" in refused.stderr
    assert refused.stderr.endswith("serve --prefix NAME\n")
    assert daemon.answers()


@pytest.mark.parametrize("ipc", ["shm", "socket"])
def test_corosyncs_own_programs_take_it_for_corosync(
    start_daemon: StartDaemon, host_for_serve: Host, tmp_path: Path, ipc: str
) -> None:
    config = Config(nodes=(Node(1),), transport=ipc, device=Device(votes=1))  # type: ignore[arg-type]
    real = start_daemon(config)
    conf = tmp_path / "corosync.conf"
    conf.write_text(config.render(tmp_path))
    argv = host_for_serve.command([*COMMAND, "serve", "--config", str(conf)])
    with Served(argv, tmp_path) as served:
        assert "node 1: corosync's own names" in served.output()
        assert "not simulated: totem.crypto_cipher" in served.errors()
        for tool in (
            ["corosync-quorumtool", "-s"],
            ["corosync-quorumtool", "-l", "-p"],
            ["corosync-quorumtool", "-e", "1"],
            ["corosync-quorumtool", "-n", "1", "-v", "3"],
            ["corosync-quorumtool", "-s"],
            ["corosync-cmapctl", "-g", "quorum.provider"],
        ):
            here, there = (on.run(tool) for on in (host_for_serve, real.host))
            assert here.returncode == there.returncode
            assert comparable(here.stdout.encode()) == comparable(there.stdout.encode())
            assert here.stderr == there.stderr


@pytest.fixture
def host_for_serve(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host without corosync, where the well-known names are free."""
    host = Host(tmp_path_factory.mktemp("host"))
    try:
        yield host
    finally:
        host.close()


def test_a_configuration_file_sets_nodes_votes_and_options_and_the_rest_is_listed(
    tmp_path: Path, prefix: str
) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text(CONF)
    argv = [*COMMAND, "serve", "--prefix", prefix, "--config", str(conf), "--node", "7"]
    with Served(argv, tmp_path) as served:
        assert served.errors() == "not simulated: totem.token\n"
        shape = status(prefix)
        assert shape["node_id"] == 7
        votes = [(member["name"], member["votes"]) for member in shape["members"]]
        assert votes == [("four", 2), ("seven", 1)]
        assert "WAIT_FOR_ALL" in shape["votequorum"]["flags"]


def test_a_configuration_file_without_a_provider_gets_a_warning(tmp_path: Path, prefix: str) -> None:
    conf = tmp_path / "corosync.conf"
    conf.write_text(CONF.replace("provider: corosync_votequorum", ""))
    argv = [*COMMAND, "serve", "--prefix", prefix, "--config", str(conf), "--node", "7"]
    with Served(argv, tmp_path) as served:
        warning, rest = served.errors().split("\n", 1)
        assert warning.startswith("warning: quorum.provider is not set: there is no votequorum")
        assert rest == "not simulated: totem.token\n"
        assert status(prefix)["provider"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--nodes", "0"), "0 is not in the range"),
        (("--nodes", "3", "--node", "4"), "--node 4: the cluster has 1, 2, 3"),
        (("--config", "/no/such/file"), "does not exist"),
        (("--nodes", "3", "--config", "FILE"), "--config cannot be combined"),
        (("--device", "1", "--config", "FILE"), "--config cannot be combined"),
        (("--config", "BROKEN"), "line 1: neither a section nor"),
        (("--config", "BINARY"), "BINARY: this is not a text file"),
        (("--device", "0"), "0 is not in the range"),
    ],
)
def test_wrong_usage_is_reported_and_exits_with_64(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "FILE").write_text(CONF)
    (tmp_path / "BROKEN").write_text("nonsense\n")
    (tmp_path / "BINARY").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\xff")
    paths = {name: str(tmp_path / name) for name in ("FILE", "BROKEN", "BINARY")}
    result = without_daemon("serve", *(paths.get(argument, argument) for argument in arguments))
    assert result.returncode == 64
    assert complaint in " ".join(result.stderr.split())
