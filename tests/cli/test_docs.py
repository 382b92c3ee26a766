"""docs/cli.md shows what the command prints: every example is reproduced on one sample cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from tests.real.daemon import Daemon
from tests.real.host import ROOT
from votequorum_ipc import Cfg, Cmap, InfoFlags, Library, NodeInfo, NodeState, QuorumType, RingId
from votequorum_ipc.cli import hook, json_values, links, serve, serve_words
from votequorum_ipc.cli.app import COMMANDS
from votequorum_ipc.cli.change_json import change_json, link_change_json
from votequorum_ipc.cli.change_text import change_text, line
from votequorum_ipc.cli.tables import print_status
from votequorum_ipc.links import Statistics
from votequorum_ipc.margin import margin
from votequorum_ipc.overview import Moment
from votequorum_ipc.types import (
    Change,
    ClusterStatus,
    ConfiguredNode,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    Link,
    LinkChanged,
    LinkStatistics,
    LinkStatus,
    Lost,
    Member,
    MembershipChanged,
    NameChanged,
    NodeVotesChanged,
    QuorumChanged,
    SchedulingMiss,
    TotemStatistics,
    VotesChanged,
)

from .command import COMMAND, ENVIRONMENT, status, votequorum_ipc, without_daemon

TEXT = (ROOT / "docs" / "cli.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", TEXT, re.MULTILINE))

DEVICE = InfoFlags.QDEVICE_REGISTERED | InfoFlags.QDEVICE_ALIVE | InfoFlags.QDEVICE_CAST_VOTE
NAMES = {1: "alpha", 2: "beta", 3: "gamma"}


def info(node_id: int, flags: InfoFlags = InfoFlags.QUORATE, **figures: int) -> NodeInfo:
    standard = {
        "node_votes": 1,
        "node_expected_votes": 4,
        "highest_expected": 4,
        "total_votes": 4,
        "quorum": 3,
    }
    return NodeInfo(
        node_id=node_id,
        node_state=NodeState.MEMBER,
        flags=flags,
        qdevice_votes=1,
        qdevice_name="witness",
        **{**standard, **figures},
    )


WITH_DEVICE = info(1, InfoFlags.QUORATE | DEVICE)
MEMBERS = (
    Member(1, "alpha", True, WITH_DEVICE, "192.0.2.1"),
    Member(2, "beta", False, info(2), "192.0.2.2"),
    Member(3, "gamma", False, info(3), "192.0.2.3"),
)
STATUS = ClusterStatus(
    quorum_type=QuorumType.SET,
    provider="corosync_votequorum",
    node_id=1,
    ring_id=RingId(1, 0xD),
    quorate=True,
    members=MEMBERS,
    info=WITH_DEVICE,
    margin=margin({member.node_id: member.info for member in MEMBERS if member.info}, 1),
)
LINKS = [
    Link(
        2,
        0,
        LinkStatus(True, True, False, 1446, "192.0.2.1", "192.0.2.2"),
        LinkStatistics(209, 341, 1, 1, 90, 90, 0),
    ),
    Link(
        2,
        1,
        LinkStatus(True, False, False, 0, "198.51.100.1", "198.51.100.2"),
        LinkStatistics(0, 0, 2, 1, 90, 83, 0),
    ),
]
TOTEM = TotemStatistics(1, 0, 0, 0, 0, 2, 0, 333, 0, 0)
MISSES = (SchedulingMiss(1795091400000, 812.5),)
LISTED_ALL = tuple(ConfiguredNode(node, name, f"192.0.2.{node}") for node, name in NAMES.items())
MOMENT = Moment(replace(STATUS, configured=LISTED_ALL), tuple(LINKS), Statistics(TOTEM, MISSES))
CHANGES: list[Change] = [
    MembershipChanged(RingId(1, 0x11), (1,), (), (2, 3)),
    QuorumChanged(False),
    VotesChanged(info(1, DEVICE, total_votes=2)),
    MembershipChanged(RingId(1, 0x15), (1, 2, 3), (2, 3), ()),
    QuorumChanged(True),
    DeviceChanged(1, "witness", InfoFlags.QDEVICE_REGISTERED),
    VotesChanged(info(1, InfoFlags.QUORATE | InfoFlags.QDEVICE_REGISTERED, total_votes=3)),
    ExpectedVotesChanged(6),
    NodeVotesChanged(2, 3),
    VotesChanged(info(1, node_expected_votes=6, highest_expected=6, total_votes=5, quorum=4)),
]


@pytest.fixture(autouse=True)
def the_samples_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = (2026, 11, 20, 12, 30, 0, 4, 324, 0)
    monkeypatch.setattr(time, "ctime", lambda: time.asctime(moment))
    monkeypatch.setattr(time, "strftime", lambda form, strftime=time.strftime: strftime(form, moment))


def test_the_table_of_status_is_the_documented_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(MOMENT)
    assert capsys.readouterr().out == BLOCKS["votequorum-ipc status"]


def test_the_json_of_status_is_the_documented_one() -> None:
    documented = json.loads(BLOCKS["votequorum-ipc status --json | python3 -m json.tool"])
    assert {"time": documented["time"], **json_values.moment_json(MOMENT)} == documented


LISTED = replace(STATUS, configured=(ConfiguredNode(1, "alpha", ""), ConfiguredNode(2, "beta", "")))


def test_the_table_of_links_is_the_documented_one(capsys: pytest.CaptureFixture[str]) -> None:
    links.print_links(LISTED, LINKS)
    assert capsys.readouterr().out == BLOCKS["votequorum-ipc links"]


def test_the_keys_of_cmap_are_the_documented_ones(shm_daemon: Daemon) -> None:
    words = "cmap get quorum.provider totem.version"
    assert votequorum_ipc(shm_daemon, *words.split()).stdout == BLOCKS[f"votequorum-ipc {words}"]
    words = "cmap get --json totem.version"
    documented = json.loads(BLOCKS[f"votequorum-ipc {words}"])
    assert json.loads(votequorum_ipc(shm_daemon, *words.split()).stdout)["keys"] == documented["keys"]


CMAP_AND_CFG = (ROOT / "docs" / "cmap-and-cfg.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", CMAP_AND_CFG, re.DOTALL)


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_the_programs_for_cmap_and_cfg_print_what_is_documented(
    shm_daemon: Daemon, program: str, printed: str
) -> None:
    result = shm_daemon.run([sys.executable, "-c", program], env=ENVIRONMENT)
    assert (result.stderr, result.stdout) == ("", printed)


def test_every_call_of_cmap_and_cfg_is_documented() -> None:
    calls = {name for client in (Cmap, Cfg) for name in vars(client) if not name.startswith("_")}
    untold = {"initialize", "STARTS_EVENTS", "ring_reenable", "trackstop"}
    assert [name for name in sorted(calls - untold) if f"`{name}" not in CMAP_AND_CFG] == []


def test_the_json_of_links_is_the_documented_one() -> None:
    documented = json.loads(BLOCKS["votequorum-ipc links --json"])
    assert {"time": documented["time"], **links.links_json(LISTED, LINKS)} == documented


def test_the_lines_of_monitor_are_the_documented_ones(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(MOMENT)
    print()
    for change in CHANGES:
        print(line(change_text(change, NAMES)))
    _, _, documented = BLOCKS["votequorum-ipc monitor"].rpartition("...\n\n")
    _, _, printed = capsys.readouterr().out.rpartition("\n\n")
    assert printed == documented


def test_the_json_of_monitor_is_the_documented_one() -> None:
    first, *lines = BLOCKS["votequorum-ipc monitor --json"].splitlines()
    assert first.startswith('{"time": "2026-11-20T12:30:00.000Z", "event": "status", "provider": ')
    documented = [json.loads(line) for line in lines]
    printed = json.loads(json.dumps([change_json(change) for change in CHANGES]))
    assert [{"time": "2026-11-20T12:30:00.000Z", **line} for line in printed] == documented


@pytest.mark.parametrize(
    ("command", "shape", "text"),
    [
        ("setexpected 6", {"expected_votes": 6}, "Expected votes: 6"),
        ("setvotes 2 3", {"node_id": 2, "votes": 3}, "Votes of node 2: 3"),
    ],
)
def test_the_output_for_a_change_is_documented(command: str, shape: dict[str, int], text: str) -> None:
    assert BLOCKS[f"votequorum-ipc {command}"] == f"{text}\n"
    documented = json.loads(BLOCKS[f"votequorum-ipc {command} --json"])
    assert {**shape, "time": documented["time"]} == documented


def test_a_fresh_cluster_accepts_the_changes_in_the_documented_order() -> None:
    shown = [block for block in BLOCKS.items() if " set" in block[0] and "json" not in block[0]]
    assert len(shown) == 2
    prefix = f"order-{os.getpid()}"
    argv = [*COMMAND, "serve", "--prefix", prefix]
    with subprocess.Popen(
        argv, text=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as cluster:
        try:
            assert cluster.stdout
            # The last node's line, once all nodes have met.
            assert any(re.match("node 3 .* members 1 2 3$", line) for line in cluster.stdout)
            for command, text in shown:
                arguments = command.removeprefix("votequorum-ipc ").split()
                done = without_daemon(*arguments, "--address", f"@{prefix}-{{service}}")
                assert done.stdout == text, done.stderr
        finally:
            cluster.kill()


def test_every_subcommand_is_in_the_table_of_commands() -> None:
    table = TEXT[TEXT.index("| command |") :].partition("\n\n")[0]
    assert [name for name in COMMANDS if not re.search(rf"`{name}\b", table)] == []


def test_the_addresses_of_other_nodes_and_all_words_are_documented() -> None:
    assert f"status --address '@{serve._OTHERS_PREFIX}-2-{{service}}'" in TEXT
    table = TEXT[TEXT.index("| words |") :].partition("\n\n")[0]
    words = {word for usage, meaning in serve_words.HELP for word in [usage.split()[0], *aliases(meaning)]}
    assert {"move", "quit", "q"} <= words
    assert [word for word in sorted(words) if not re.search(rf"`{word}\b", table)] == []


def aliases(meaning: str) -> list[str]:
    """The words that `help` lists as "(also: ...)"."""
    also = re.search(r"\(also: (.*)\)", meaning)
    return also[1].split(", ") if also else []


def test_the_session_of_serve_is_the_documented_one(worker_id: str) -> None:
    [(command, text)] = [block for block in BLOCKS.items() if "serve" in block[0]]
    typed = re.match(r"printf '(.*)' \| votequorum-ipc serve --prefix try$", command)
    assert typed
    lines = typed[1].replace("\\n", "\n")
    result = without_daemon("serve", "--prefix", f"try-{worker_id}", typed=lines)
    assert result.stdout.replace(f"try-{worker_id}", "try") == text


def test_the_tables_of_keys_and_events_are_complete(shm_daemon: Daemon) -> None:
    device = {key: json_values.moment_json(MOMENT)[key] for key in ("qdevice", "links", "scheduling_misses")}
    assert first_column("| key |") == {*paths({**status(shm_daemon), **device})}
    kinds = [*CHANGES, Lost(Library("gone")), NameChanged(1, "other")]
    assert {type(change) for change in kinds} == {*get_args(Change)} - {Connected}
    events = {change_json(change)["event"] for change in kinds}
    assert first_column("| `event` |") == {"status", "unknown", "link", "exec"} | events


def test_the_variables_of_commands_are_the_documented_ones() -> None:
    changes = [{"time": "", **change_json(change)} for change in CHANGES]
    link = link_change_json(LinkChanged(2, 1, True, 0), NAMES)
    told = {"time": "", "state": "", "reason": "", "node_id": 1, "members": [1], "dropped": 0, "text": ""}
    found = {name for change in [*changes, link] for name in hook._variables({**told, "change": change})}
    rows = first_column("| variable |")
    assert {name for name in found if not name.startswith("QUORUM_CHANGE_")} <= rows
    assert {"QUORUM_CHANGE", "QUORUM_CHANGE_..."} <= rows
    assert [kind for kind in hook.KINDS if f"| `{kind}` |" not in TEXT] == []


def first_column(heading: str) -> set[str]:
    """The first column of the table that begins with `heading`."""
    table = TEXT[TEXT.index(heading) :].partition("\n\n")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) - {"event"}


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a JSON value, as docs/cli.md writes them."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{prefix}[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            yield from paths(item, path)
