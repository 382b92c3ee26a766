"""The exporter's output by HTTP, in a file and once: what is known, and what is not."""

from __future__ import annotations

import collections
import contextlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import trio
from prometheus_client import generate_latest

from tests.cli.command import AS_NOBODY, COMMAND, ENVIRONMENT, NOBODY, without_daemon
from tests.conftest import StartCluster, StartDaemon
from tests.real.config import Config, Node
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc import CsError, RingId, TryAgain
from votequorum_ipc.exporter.collector import CorosyncCollector, registry_of
from votequorum_ipc.overview import Observer, Overview
from votequorum_ipc.testing import DeviceConfig, Latency, SimulatedCluster, simulated_cluster

from .scraping import Scrape, exporter, parsed, scraped, text_of, value

in_thread = trio.to_thread.run_sync


async def test_a_scrape_has_the_metrics_that_ha_cluster_exporter_has() -> None:
    async with simulated_cluster(nodes=3, device=DeviceConfig(votes=1), expected_votes=4) as cluster:
        device = await cluster.connect(1)
        await device.qdevice_register("witness")
        info = await device.getinfo()
        result = await in_thread(
            partial(without_daemon, "exporter", "--once", "--address", cluster.address(1))
        )
        scrape = parsed(result.stdout)
    assert result.returncode == 0
    assert value(scrape, "quorate") == 1
    for kind, expected in (
        ("expected_votes", info.node_expected_votes),
        ("highest_expected", info.highest_expected),
        ("total_votes", info.total_votes),
        ("quorum", info.quorum),
    ):
        assert value(scrape, "quorum_votes", type=kind) == expected
    assert value(scrape, "member_votes", node_id="2", node="node2", local="false") == 1
    assert value(scrape, "member_votes", node_id="1", node="node1", local="true") == 1
    assert value(scrape, "member_votes", node_id="0", node="witness", local="false") == 0
    assert value(scrape, "rings", node_id="1", number="0", address="127.0.0.1") == 1
    assert value(scrape, "ring_errors") == 0
    assert value(scrape, "ha_cluster_scrape_success", collector="corosync") == 1


async def test_the_label_ring_id_is_back_on_request() -> None:
    async with simulated_cluster(nodes=2) as cluster:
        arguments = ("exporter", "--once", "--ring-id", "--address", cluster.address(1))
        scrape = parsed((await in_thread(partial(without_daemon, *arguments))).stdout)
    assert [labels for name, labels in scrape if name.endswith("_rings") and "ring_id" in dict(labels)]


async def test_not_quorate_and_unknown_differ() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        changes: list[Callable[[], None]] = [
            lambda: None,
            lambda: cluster.kill(2, 3),
            lambda: cluster.kill(1),
            lambda: cluster.up(1, 2),
        ]
        quorate, alone, gone, back = await in_thread(_scraped_after, changes, cluster.address(1))

    def success(scrape: Scrape) -> float | None:
        return value(scrape, "ha_cluster_scrape_success", collector="corosync")

    assert (value(quorate, "quorate"), success(quorate)) == (1, 1)
    assert (value(alone, "quorate"), success(alone)) == (0, 1)
    assert (value(gone, "quorate"), success(gone)) == (None, 0)
    assert value(gone, "scrape_errors_total", service="quorum") == 1
    assert (value(back, "quorate"), success(back)) == (1, 1)


def _scraped_after(changes: list[Callable[[], None]], address: str) -> list[Scrape]:
    """One exporter's scrape after each of the changes."""
    scrapes = []
    with exporter("--address", address) as url:
        for change in changes:
            trio.from_thread.run_sync(change)
            scrapes.append(scraped(url))
    return scrapes


def _metrics_of(overview: Overview) -> Scrape:
    return parsed(generate_latest(registry_of(CorosyncCollector(lambda: overview))).decode())


DAY = 86_400.0


@pytest.mark.parametrize("seed", range(2))
async def test_through_a_day_of_changes_it_never_reports_quorate_if_the_model_is_not(seed: int) -> None:
    choose = random.Random(seed)
    told: collections.Counter[float | None] = collections.Counter()
    async with (
        simulated_cluster(
            nodes=4,
            device=DeviceConfig(votes=1),
            wait_for_all=bool(seed % 2),
            expected_votes=5,
            latency=Latency(seed=seed),
        ) as cluster,
        Observer(cluster.address(1), seconds=2 * DEADLINE) as patient,
        Observer(cluster.address(1), seconds=_SHORT) as hasty,
    ):
        while cluster.model.now < DAY:
            _change_something(cluster, choose)
            if choose.random() < 0.3:
                await _vote(cluster, bool(choose.getrandbits(1)))
            if choose.random() < 0.9:
                cluster.advance(choose.uniform(1, 2400))
                cluster.settle()
            runs = cluster.model.nodes.get(1)
            # Synchronising nodes do not answer, and virtual time stands still during a query.
            answers = runs is None or not cluster.model.is_synchronising(1)
            said = value(_metrics_of(await (patient if answers else hasty).read()), "quorate")
            truth = None if runs is None else float(runs.votequorum.quorate)
            assert said in ({truth} if answers else {truth, None})
            told[said] += 1
    assert min(told[0], told[1], told[None]) >= 3, told


_SHORT = 0.1
"""Seconds to wait for an answer that is not expected."""


def _change_something(cluster: SimulatedCluster, choose: random.Random) -> None:
    node = choose.choice([1, 2, 3, 4])
    group = [n for n in (1, 2, 3, 4) if choose.random() < 0.5]
    changes: list[Callable[[], None]] = [
        partial(cluster.kill, node),
        partial(cluster.up, node),
        partial(cluster.up, 1, 2, 3, 4),
        partial(cluster.up, 1, 2, 3, 4),
        partial(cluster.partition, group),
        partial(cluster.link, 1, 2, connected=False),
        cluster.heal,
    ]
    choose.choice(changes)()


async def _vote(cluster: SimulatedCluster, vote: bool) -> None:
    """A device on node 1 votes once, if the node accepts it. Waits only briefly."""
    with contextlib.suppress(CsError), trio.move_on_after(_SHORT):
        async with await cluster.connect(1) as device:
            with contextlib.suppress(CsError):
                await device.qdevice_register("witness")
            ring_id = cluster.model.nodes[1].ring_id
            await device.qdevice_poll("witness", int(vote), RingId(ring_id.nodeid, ring_id.seq))


def test_a_frozen_daemon_costs_a_scrape_its_deadline_and_links_are_reported(
    start_cluster: StartCluster,
) -> None:
    nodes = (Node(1, second_link=True), Node(2, second_link=True))
    pair = start_cluster(Config(nodes=nodes, totem={"token": 20000}, quorum={"two_node": 1}))
    node = pair[1]

    def ask(url: str) -> Scrape:
        done = node.run(
            ["python3", "-c", f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"]
        )
        return parsed(done.stdout)

    def once(what: str, *samples: tuple[str, dict[str, str], float]) -> Scrape:
        """The first scrape with all of these samples: on a busy machine a scrape may be late."""

        def found() -> Scrape | None:
            scrape = ask(url)
            return scrape if all(value(scrape, name, **labels) == n for name, labels, n in samples) else None

        scrape = eventually(found, otherwise=lambda: what)
        assert scrape
        return scrape

    second = {"node_id": "2", "node": "node2", "link": "1"}
    with exporter("--timeout", "2", prefix=node.host.command([])) as url:
        first = second | {"link": "0"}
        scrape = once(
            "quorate with both links",
            ("quorate", {}, 1),
            ("link_connected", first, 1),
            ("link_connected", second, 1),
            ("service_up", {"service": "stats"}, 1),
        )
        for labels in (first, second):
            assert (value(scrape, "link_pings_sent_total", **labels) or 0) > 0
            assert (value(scrape, "link_down_total", **labels) or 0) == 1
        assert value(scrape, "token_losses_total", state="operational") == 0
        assert value(scrape, "margin_nodes") == 1
        with node.frozen():
            frozen = ask(url)
        assert value(frozen, "quorate") is None
        assert value(frozen, "service_up", service="quorum") == 0
        pair[2].run(["ip", "address", "del", "198.51.100.2/24", "dev", "eth0"], check=True)
        after = once(
            "quorate with a link that is down",
            ("quorate", {}, 1),
            ("ring_errors", {}, 1),
            ("link_connected", second, 0),
        )
        assert value(after, "rings", node_id="1", number="1", address="198.51.100.1") == 0


async def test_the_file_is_written_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "corosync.prom"
    async with simulated_cluster(nodes=1) as cluster:
        await in_thread(_write_until_terminated, path, cluster.address(1))
    assert not path.exists()


def _write_until_terminated(path: Path, address: str) -> None:
    command = [*COMMAND, "exporter", "--textfile", str(path), "--address", address]
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        try:
            eventually(path.exists)
            assert value(parsed(path.read_text()), "quorate") == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()


def test_a_port_in_use_is_one_line_and_exit_code_1() -> None:
    with exporter("--address", "@nothing-here-{service}") as url:
        port = url.split(":")[2].split("/")[0]
        result = without_daemon("exporter", "--listen", f"127.0.0.1:{port}")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool, of Debian's prometheus, is not installed"
)
async def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        text = await in_thread(_served, cluster.address(1))
    await in_thread(_check_metrics, text)


def _check_metrics(text: str) -> None:
    argv = ["promtool", "check", "metrics"]
    checked = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def _served(address: str) -> str:
    with exporter("--address", address) as url:
        return text_of(url)


async def test_without_cfg_no_link_is_reported_as_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: object) -> NoReturn:
        raise TryAgain("not now")

    async with simulated_cluster(nodes=2) as cluster, Observer(cluster.address(1)) as observer:
        assert value(_metrics_of(await observer.read()), "ring_errors") == 0
        monkeypatch.setattr("votequorum_ipc.overview.read_links", refuses)
        scrape = _metrics_of(await observer.read())
    assert value(scrape, "ring_errors") is None
    assert value(scrape, "service_up", service="cfg") == 0
    assert value(scrape, "quorate") == 1


# --- TLS, and users without privileges ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate authority, and a certificate each for a server and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["x509", "-req", "-days", "2", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl(*signed, "-in", f"{name}.csr", "-extfile", "names", "-out", f"{name}.crt")
    return directory


def test_https_requires_a_client_certificate_of_the_authority(certificates: Path) -> None:
    options = {"--tls-cert": "server.crt", "--tls-key": "server.key", "--tls-client-ca": "ca.crt"}
    arguments = [word for option, file in options.items() for word in (option, str(certificates / file))]
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    with exporter("--address", "@nothing-here-{service}", *arguments) as url:
        assert url.startswith("https://127.0.0.1:")
        with pytest.raises(OSError):  # noqa: PT011 the peer's refusal may come as a reset
            urllib.request.urlopen(url, context=context, timeout=DEADLINE).read()
        context.load_cert_chain(certificates / "client.crt", certificates / "client.key")
        with urllib.request.urlopen(url, context=context, timeout=DEADLINE) as answer:
            scrape = parsed(answer.read().decode())
        with pytest.raises(OSError):  # noqa: PT011 HTTP without TLS
            text_of(url.replace("https:", "http:"))
    assert value(scrape, "ha_cluster_scrape_success", collector="corosync") == 0


def test_a_client_that_begins_no_handshake_delays_neither_other_scrapes_nor_the_end(
    certificates: Path,
) -> None:
    files = ["--tls-cert", str(certificates / "server.crt"), "--tls-key", str(certificates / "server.key")]
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    with contextlib.ExitStack() as silent, exporter("--address", "@nothing-here-{service}", *files) as url:
        silent.enter_context(socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(url).port)))
        with urllib.request.urlopen(url, context=context, timeout=DEADLINE) as answer:
            assert "ha_cluster_scrape_success" in answer.read().decode()


@pytest.mark.parametrize("admitted", [True, False])
def test_a_user_without_privileges_needs_a_uidgid_entry(start_daemon: StartDaemon, admitted: bool) -> None:
    daemon = start_daemon(Config(uids=(NOBODY,) if admitted else ()))
    argv = [sys.executable, "-c", f"import votequorum_ipc.exporter.serving\n{AS_NOBODY[2]}"]
    done = daemon.run([*argv, "exporter", "--once"], env=ENVIRONMENT)
    scrape = parsed(done.stdout)
    assert done.returncode == (0 if admitted else 1)
    assert value(scrape, "quorate") == (1 if admitted else None)
    assert value(scrape, "ha_cluster_scrape_success", collector="corosync") == admitted
    for service in ("quorum", "cfg", "stats"):
        assert value(scrape, "service_up", service=service) == admitted
