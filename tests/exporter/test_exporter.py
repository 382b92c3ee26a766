"""The exporter's answers: by HTTP, in a file, once; what is known and what is not."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import trio
from prometheus_client import generate_latest

from tests.cli.command import COMMAND, ENVIRONMENT, without_daemon
from tests.conftest import StartCluster
from tests.real.config import Config, Node
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc import TryAgain
from votequorum_ipc.exporter.collector import CorosyncCollector, registry_of
from votequorum_ipc.overview import Observer, Overview
from votequorum_ipc.testing import DeviceConfig, simulated_cluster

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


async def test_the_label_ring_id_comes_back_when_it_is_asked_for() -> None:
    async with simulated_cluster(nodes=2) as cluster:
        arguments = ("exporter", "--once", "--ring-id", "--address", cluster.address(1))
        scrape = parsed((await in_thread(partial(without_daemon, *arguments))).stdout)
    assert [labels for name, labels in scrape if name.endswith("_rings") and "ring_id" in dict(labels)]


async def test_not_quorate_and_cannot_tell_differ() -> None:
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


@pytest.mark.parametrize("seed", range(3))
async def test_it_never_says_quorate_where_the_model_is_not(seed: int) -> None:
    choose = random.Random(seed)
    told = set()
    async with (
        simulated_cluster(nodes=4, wait_for_all=bool(seed % 2)) as cluster,
        Observer(cluster.address(1)) as observer,
    ):
        for _ in range(60):
            node = choose.choice([1, 2, 3, 4])
            group = [n for n in (1, 2, 3, 4) if choose.random() < 0.5]
            changes: list[Callable[[], None]] = [
                partial(cluster.kill, node),
                partial(cluster.up, node),
                partial(cluster.up, 1, 2, 3, 4),
                partial(cluster.partition, group),
                cluster.heal,
            ]
            choose.choice(changes)()
            said = value(_metrics_of(await observer.read()), "quorate")
            runs = cluster.model.nodes.get(1)
            assert said == (None if runs is None else float(runs.votequorum.quorate))
            told.add(said)
    assert told == {None, 0, 1}


def test_a_frozen_daemon_costs_a_scrape_its_deadline_and_links_are_told(
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

    with exporter("--timeout", "2", prefix=node.host.command([])) as url:
        scrape = ask(url)
        assert value(scrape, "quorate") == 1
        for link in ("0", "1"):
            labels = {"node_id": "2", "node": "node2", "link": link}
            assert value(scrape, "link_connected", **labels) == 1
            assert (value(scrape, "link_pings_sent_total", **labels) or 0) > 0
            assert (value(scrape, "link_down_total", **labels) or 0) == 1
        assert value(scrape, "token_losses_total", state="operational") == 0
        assert value(scrape, "margin_nodes") == 1
        with node.frozen():
            frozen = ask(url)
        assert value(frozen, "quorate") is None
        assert value(frozen, "service_up", service="quorum") == 0
        pair[2].run(["ip", "address", "del", "198.51.100.2/24", "dev", "eth0"], check=True)
        after = eventually(
            lambda: s if value(s := ask(url), "ring_errors") == 1 else None, otherwise=lambda: "a ring error"
        )
        assert after
        assert value(after, "quorate") == 1
        assert value(after, "link_connected", node_id="2", node="node2", link="1") == 0
        assert value(after, "rings", node_id="1", number="1", address="198.51.100.1") == 0


async def test_the_file_is_written_and_taken_away_at_the_end(tmp_path: Path) -> None:
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


def test_a_port_that_is_taken_is_one_line_and_exit_code_1() -> None:
    with exporter("--address", "@nothing-here-{service}") as url:
        port = url.split(":")[2].split("/")[0]
        result = without_daemon("exporter", "--listen", f"127.0.0.1:{port}")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool, of Debian's prometheus, is not installed"
)
async def test_promtool_has_nothing_to_say_against_the_metrics() -> None:
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


async def test_without_cfg_no_link_is_said_to_be_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: object) -> NoReturn:
        raise TryAgain("not now")

    async with simulated_cluster(nodes=2) as cluster, Observer(cluster.address(1)) as observer:
        assert value(_metrics_of(await observer.read()), "ring_errors") == 0
        monkeypatch.setattr("votequorum_ipc.overview.read_links", refuses)
        scrape = _metrics_of(await observer.read())
    assert value(scrape, "ring_errors") is None
    assert value(scrape, "service_up", service="cfg") == 0
    assert value(scrape, "quorate") == 1
