"""`monitor --exec`: a command runs for each change, and receives the state at the moment it starts."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.text import Text

from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import QuorumView, cluster_status
from votequorum_ipc.cli import following, hook
from votequorum_ipc.cli.following import Notice
from votequorum_ipc.cli.monitor import _Printer, monitor
from votequorum_ipc.follow import Follower
from votequorum_ipc.sessions import Outcome, SessionCommand
from votequorum_ipc.testing import DeviceConfig, SimulatedCluster, simulated_cluster

from .command import COMMAND, ENVIRONMENT, without_daemon

EXAMPLES = ROOT / "examples" / "monitor"
LOG = 'echo "$QUORUM_CHANGE: $QUORUM_STATE" >> "$LOG"'
PATIENCE = 20.0


@dataclass
class Recorded(_Printer):
    """Records what monitor would have printed."""

    reports: list[Notice] = field(default_factory=list)
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)

    def print(self, notice: Notice) -> None:
        self.reports.append(notice)

    def ran(self, notice: Notice, outcome: Outcome) -> None:
        self.outcomes.append((notice.event, outcome))


@contextlib.asynccontextmanager
async def monitoring(
    cluster: SimulatedCluster, text: str, *kinds: str, seconds: float = DEADLINE
) -> AsyncIterator[Recorded]:
    """A monitor of node 1 with a shell command, in the test's event loop; it has already reported the first
    state.
    """
    on = frozenset().union(*(hook.KINDS[kind] for kind in kinds or hook.KINDS))
    printer = Recorded()
    make = partial(hook.Hook, SessionCommand(text, shell=True), on, seconds, report=printer.ran)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor, cluster.address(1), PATIENCE, printer, make)
        await eventually_async(lambda: printer.reports)
        yield printer
        nursery.cancel_scope.cancel()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the commands write to, as `$LOG`."""
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv("LOG", str(path))
    return path


async def logged(log: Path, *lines: str) -> None:
    """Wait until the log has exactly these lines."""
    await eventually_async(lambda: log.read_text().splitlines() == [*lines], otherwise=log.read_text)


async def test_the_command_runs_at_the_start_for_each_change_and_at_the_end(log: Path) -> None:
    async with simulated_cluster(nodes=3) as cluster:
        async with monitoring(cluster, LOG, "quorum", "membership"):
            await logged(log, "status: quorate")
            cluster.kill(2)
            await logged(log, "status: quorate", "membership: quorate")
            cluster.kill(3)
            lines = [
                "status: quorate",
                "membership: quorate",
                "membership: not quorate",
                "quorum: not quorate",
            ]
            await logged(log, *lines)
        assert log.read_text().splitlines() == [*lines, "stopped: unknown"]


async def test_losing_and_regaining_the_daemon_are_changes_of_quorum(log: Path) -> None:
    async with simulated_cluster(nodes=3) as cluster, monitoring(cluster, LOG, "quorum"):
        await logged(log, "status: quorate")
        cluster.kill(1)
        await logged(log, "status: quorate", "lost: unknown")
        cluster.up(1)
        await logged(log, "status: quorate", "lost: unknown", "status: quorate")


async def test_a_daemon_that_never_answers_is_unknown_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    device = DeviceConfig(votes=1, timeout=100_000, sync_timeout=100_000)
    notices: list[Notice] = []
    async with simulated_cluster(nodes=3, device=device) as cluster:
        handle = await cluster.connect(1)
        await handle.qdevice_register("slow")
        await handle.qdevice_poll("slow", True, (await cluster_status(cluster.address(1))).ring_id)
        connect = Follower.connect

        async def connect_before_a_membership_change(*arguments: Any) -> Follower:
            follower = await connect(*arguments)
            cluster.kill(2)  # node 1 now waits for its device
            return follower

        monkeypatch.setattr(Follower, "connect", connect_before_a_membership_change)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.Following(cluster.address(1), 0.2, notices.append).run)
            await eventually_async(lambda: notices)
            nursery.cancel_scope.cancel()
    assert notices[0].event == "unknown"


async def test_a_change_whose_command_had_not_started_at_the_end_counts_as_dropped(log: Path) -> None:
    asked = trio.Event()

    async def never() -> QuorumView:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    command = SessionCommand(LOG.replace("$QUORUM_STATE", "$QUORUM_DROPPED"), shell=True)
    told = hook.Hook(command, hook.KINDS["quorum"], DEADLINE, never, Recorded().ran)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        told.offer(Notice({"event": "quorum", "quorate": False}, lambda: Text("no quorum")))
        await asked.wait()
        nursery.cancel_scope.cancel()
    await told.stop()
    assert log.read_text().splitlines() == ["stopped: 1"]


async def test_a_daemon_without_a_provider_is_unknown_whatever_it_reports(log: Path) -> None:
    async with simulated_cluster(nodes=1, provider="") as cluster, monitoring(cluster, LOG):
        await logged(log, "status: unknown")


HELD = f'{LOG}; while [ ! -e "$LOG.go" ]; do sleep 0.01; done'


async def test_no_change_is_lost_while_the_command_runs_and_the_state_is_that_of_its_start(log: Path) -> None:
    async with simulated_cluster(nodes=3) as cluster, monitoring(cluster, HELD, "quorum") as printer:
        await logged(log, "status: quorate")
        for _ in range(3):
            cluster.kill(2, 3)
            cluster.up(2, 3)
        cluster.kill(2, 3)
        await eventually_async(lambda: [r.event for r in printer.reports].count("quorum") == 7)
        assert log.read_text().splitlines() == ["status: quorate"]
        log.with_name("log.go").touch()
        # Quorum was gained three times meanwhile, and that is reported; but the node is not quorate now.
        await logged(log, "status: quorate", *["quorum: not quorate"] * 7)
        await eventually_async(lambda: len(printer.outcomes) == 8)


async def test_a_full_queue_drops_the_oldest_changes_and_counts_them(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "QUEUE_LIMIT", 2)
    text = HELD.replace("$QUORUM_STATE", "$QUORUM_DROPPED")
    async with simulated_cluster(nodes=3) as cluster, monitoring(cluster, text, "quorum") as printer:
        await logged(log, "status: 0")
        for _ in range(3):
            cluster.kill(2, 3)
            cluster.up(2, 3)
        await eventually_async(lambda: [r.event for r in printer.reports].count("quorum") == 6)
        log.with_name("log.go").touch()
        await logged(log, "status: 0", "quorum: 4", "quorum: 0")


async def test_a_command_that_takes_too_long_is_killed_and_the_next_one_runs(log: Path) -> None:
    async with (
        simulated_cluster(nodes=3) as cluster,
        monitoring(cluster, f"{LOG}; exec sleep 1000", "quorum", seconds=0.05) as printer,
    ):
        cluster.kill(2, 3)
        await eventually_async(lambda: len(printer.outcomes) == 2, otherwise=lambda: str(printer))
    assert [outcome.detail for _, outcome in printer.outcomes[:2]] == ["late, so it was killed"] * 2


async def test_the_exit_status_is_reported(log: Path) -> None:
    async with simulated_cluster(nodes=1) as cluster, monitoring(cluster, "exit 3", "quorum") as printer:
        await eventually_async(lambda: printer.outcomes)
    assert printer.outcomes[0] == ("status", Outcome("exit 3", False, "exit status 3"))


def links_of(printer: Recorded) -> list[bool]:
    """Whether the link was connected, for each report of it."""
    return [bool(notice.shape["connected"]) for notice in printer.reports if notice.event == "link"]


async def test_a_link_and_a_device_are_reported_with_their_values(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LINK_SECONDS", 0.01)
    text = 'echo "$QUORUM_CHANGE $QUORUM_CHANGE_NODE_ID $QUORUM_CHANGE_LINK$QUORUM_CHANGE_FLAGS" >> "$LOG"'
    async with (
        simulated_cluster(nodes=3, device=DeviceConfig(votes=1)) as cluster,
        monitoring(cluster, text, "device", "link") as printer,
    ):
        # If monitor first sees a link before it is up, it reports the link once more at the start.
        cluster.link(1, 2, connected=False, one_way=True)
        await eventually_async(lambda: links_of(printer)[-1:] == [False], otherwise=log.read_text)
        await eventually_async(lambda: "link 2 0" in log.read_text(), otherwise=log.read_text)
        cluster.link(1, 2, connected=True, one_way=True)
        await eventually_async(lambda: links_of(printer)[-1:] == [True], otherwise=log.read_text)
        *_, down, up = (notice.shape for notice in printer.reports if notice.event == "link")
        device = await cluster.connect(1)
        await device.qdevice_register("witness")
        cluster.kill(3)
        await eventually_async(
            lambda: "qdevice 1 QDEVICE_REGISTERED" in log.read_text(), otherwise=log.read_text
        )
    assert down.pop("times_down") in (0, 1)  # 0 if monitor first looked at the links afterwards
    assert down == {"event": "link", "node_id": 2, "name": "node2", "link": 0, "connected": False}
    assert (up["connected"], up["times_down"]) == (True, 0)


async def test_the_command_reads_the_change_and_the_state_as_json_from_standard_input(log: Path) -> None:
    async with simulated_cluster(nodes=3) as cluster, monitoring(cluster, 'cat >> "$LOG"', "quorum"):
        await eventually_async(lambda: log.read_text().count("\n") == 1)
        cluster.kill(2, 3)
        await eventually_async(lambda: log.read_text().count("\n") == 2)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["state"] for line in lines] == ["quorate", "not quorate", "unknown"]
    lost = lines[1]
    assert lost["change"].pop("time")
    assert lost["change"] == {"event": "quorum", "quorate": False}
    assert (lost["members"], lost["node_id"], lost["dropped"]) == ([1], 1, 0)
    assert lost["reason"] == "1 of 3 votes is present; 2 are needed; node2, node3 are missing"
    assert lines[0]["change"]["votequorum"]["total_votes"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_monitor_and_a_last_command_runs(log: Path, number: signal.Signals) -> None:
    async with simulated_cluster(nodes=1) as cluster:
        argv = [*COMMAND, "monitor", "--json", "--exec", LOG, "--shell", "--on", "quorum"]
        process = await trio.lowlevel.open_process(
            [*argv, "--address", cluster.address(1)],
            stdout=subprocess.DEVNULL,
            env={**ENVIRONMENT, "LOG": str(log)},
        )
        try:
            await logged(log, "status: quorate")
            process.send_signal(number)
            assert await process.wait() == 0
        finally:
            process.kill()
            await process.wait()
    assert log.read_text().splitlines() == ["status: quorate", "stopped: unknown"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--on", "quorum"], "--on and --shell are for --exec COMMAND"),
        (["--exec", "true", "--on", "weather"], "'weather' is not one of quorum, membership"),
        (["--exec", ""], "--exec: an empty command"),
        (["--exec", "'"], "--exec: No closing quotation"),
    ],
)
def test_wrong_usage_is_reported(arguments: list[str], complaint: str) -> None:
    result = without_daemon("monitor", *arguments)
    assert result.returncode == 64
    assert complaint in " ".join(result.stderr.split())


# --- the examples ---


def test_the_floating_address_is_present_only_with_quorum(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(Config())

    def has_address() -> bool:
        return "192.0.2.77/32" in daemon.run(["ip", "address", "show", "dev", "lo"], check=True).stdout

    example = f"{EXAMPLES / 'floating-address'} 192.0.2.77/32 lo"
    argv = [*COMMAND, "monitor", "--on", "quorum,membership", "--exec", example]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(daemon.host.command(argv), stdout=output, stderr=output, env=ENVIRONMENT)
    try:
        eventually(has_address, otherwise=(tmp_path / "output").read_text)
        daemon.kill()
        eventually(lambda: not has_address(), otherwise=(tmp_path / "output").read_text)
        daemon.start()
        daemon.wait_ready()
        eventually(has_address, otherwise=(tmp_path / "output").read_text)
        process.terminate()
        assert process.wait(DEADLINE) == 0
        assert not has_address()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def fake_ip(tmp_path: Path, log: Path) -> dict[str, str]:
    """An environment with an `ip` that logs its arguments and shows the content of `log.has`."""
    program = tmp_path / "bin" / "ip"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$*" in\n*show*) [ ! -e "$LOG.broken" ] && cat "$LOG.has" ;;\n'
        '*) echo "$*" >> "$LOG" ;;\nesac\n'
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("state", "members", "has", "done"),
    [
        ("quorate", "1 2 3", False, "address add"),
        ("quorate", "1 2 3", True, ""),
        ("quorate", "10 1", False, "address add"),
        ("quorate", "2 3", True, "address del"),
        ("not quorate", "1", True, "address del"),
        ("unknown", "", True, "address del"),
        ("", "1", True, "address del"),
        ("unknown", "", False, ""),
    ],
)
def test_only_the_first_node_of_a_quorate_partition_has_the_floating_address(
    fake_ip: dict[str, str], log: Path, state: str, members: str, has: bool, done: str
) -> None:
    log.with_name("log.has").write_text("2: eth0    inet 192.0.2.10/24 scope global eth0\n" if has else "")
    told = {"QUORUM_STATE": state, "QUORUM_MEMBERS": members, "QUORUM_NODE_ID": "1"}
    argv = [str(EXAMPLES / "floating-address"), "192.0.2.10/24", "eth0"]
    subprocess.run(argv, env={**fake_ip, **told}, check=True)
    assert log.read_text() == (f"{done} 192.0.2.10/24 dev eth0\n" if done else "")


def test_the_floating_address_is_removed_even_if_ip_cannot_show_it(
    fake_ip: dict[str, str], log: Path
) -> None:
    log.with_name("log.broken").touch()
    told = {"QUORUM_STATE": "unknown", "QUORUM_MEMBERS": "", "QUORUM_NODE_ID": ""}
    argv = [str(EXAMPLES / "floating-address"), "192.0.2.10/24", "eth0"]
    assert subprocess.run(argv, env={**fake_ip, **told}, check=False).returncode == 1
    assert log.read_text() == "address del 192.0.2.10/24 dev eth0\n"


async def test_the_mail_has_the_change_and_the_current_state(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendmail = tmp_path / "sendmail"
    sendmail.write_text('#!/bin/sh\n[ "$*" = "-t -oi" ] && cat >> "$LOG"\n')
    sendmail.chmod(0o755)
    monkeypatch.setenv("SENDMAIL", str(sendmail))
    async with (
        simulated_cluster(nodes=3) as cluster,
        monitoring(cluster, f"{EXAMPLES / 'mail'} root@example.org", "quorum"),
    ):
        cluster.kill(2, 3)
        await eventually_async(lambda: "quorum lost" in log.read_text(), otherwise=log.read_text)
    mails = log.read_text().split("To: root@example.org\n")
    mail = next(mail for mail in mails if "quorum lost" in mail)
    head, _, body = mail.partition("\n\n")
    assert head.splitlines()[0].endswith("] quorum lost, activity blocked")
    assert "Quorum now: not quorate\nWhy: 1 of 3 votes is present; 2 are needed" in body


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL, and the requests posted to it."""
    posted: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", posted
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_the_webhook_posts_each_change(received: tuple[str, list[dict[str, Any]]], log: Path) -> None:
    url, posted = received
    async with (
        simulated_cluster(nodes=3) as cluster,
        monitoring(cluster, f"{EXAMPLES / 'webhook'} {url}", "quorum") as printer,
    ):
        await eventually_async(lambda: len(posted) == 1)
        cluster.kill(2, 3)
        await eventually_async(lambda: len(posted) == 2, otherwise=lambda: str(printer.outcomes))
    assert [each["state"] for each in posted] == ["quorate", "not quorate", "unknown"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = (ROOT / "contrib" / "votequorum-monitor@.service").read_text()
    copy = tmp_path / "votequorum-monitor@test.service"
    copy.write_text(unit.replace("ExecStart=votequorum-ipc", "ExecStart=/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_after_a_killed_monitor_the_unit_runs_the_command_as_the_monitor_would() -> None:
    unit = (ROOT / "contrib" / "votequorum-monitor@.service").read_text()
    told = dict(re.findall(r"(QUORUM_\w+)=(\S*)", unit))
    variables = hook._variables(hook._told(Notice({"event": "stopped"}, hook._stopped_text), None, 0))
    # The unit has no clock for the time of the event, and the event is QUORUM_CHANGE already.
    expected = variables.keys() - {"QUORUM_TIME", "QUORUM_CHANGE_EVENT", "QUORUM_CHANGE_TIME"}
    assert told.keys() == expected
    # The text for people is shorter.
    for name in expected - {"QUORUM_TEXT", "QUORUM_REASON"}:
        assert told[name] == variables[name]
