"""`votequorum-ipc check`: its output and its exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from tests.real.host import ROOT
from votequorum_ipc.cli.check import command
from votequorum_ipc.cli.check_running import conf_of
from votequorum_ipc.cluster.corosync_conf import parse_corosync_conf

from .configurations import conf, run, write


def shown(result: Result) -> Any:
    return json.loads(result.stdout)[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (conf(3), 0),
        (conf(2, "two_node: 1"), 2),
        (conf(2, "two_node: 1", "device {", "model: net", "}"), 1),
        ("not a corosync.conf", 1),
        (conf(2).replace("provider: corosync_votequorum", ""), 1),
    ],
)
def test_the_exit_code_says_what_is_reachable(text: str, code: int, tmp_path: Path) -> None:
    assert run("--no-remedies", write(tmp_path, text)).exit_code == code


def test_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    result = run(tmp_path / "none")
    assert (result.exit_code, "none" in result.stderr) == (1, True)


def test_nothing_to_check_is_wrong_usage() -> None:
    assert run().exit_code == 64


def test_an_inconclusive_search_exits_with_3(tmp_path: Path) -> None:
    file = write(tmp_path, conf(7, ""))
    assert run("--seconds", "0.1", "--no-remedies", file).exit_code == 3


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    result = run("--no-remedies", write(tmp_path, conf(3, "wait_for_al: 1")))
    assert "quorum.wait_for_al is unknown to votequorum: did you mean quorum.wait_for_all?" in result.stdout


def test_options_of_corosync_qdevice_are_not_taken_for_misspellings(tmp_path: Path) -> None:
    device = ("device {", "model: net", "votes: 1", "net {", "host: q", "algorithm: ffsplit", "}", "}")
    result = run("--no-remedies", "--json", write(tmp_path, conf(2, *device)))
    assert (shown(result)["warnings"], shown(result)["device"]) == ([], "ffsplit")


def test_the_story_is_shown_step_by_step(tmp_path: Path) -> None:
    result = run("--no-remedies", write(tmp_path, conf(2, "two_node: 1")))
    assert "1. the network splits: 1 | 2\n      {1} quorate; {2} quorate" in result.stdout


def test_a_remedy_is_one_that_was_checked(tmp_path: Path) -> None:
    odd = conf(3, "auto_tie_breaker: 1", "wait_for_all: 1")
    (split,) = [
        one for one in shown(run("--json", write(tmp_path, odd)))["verdicts"] if one["name"] == "split brain"
    ]
    remedies = [one["text"] for one in split["remedies"]]
    assert "set auto_tie_breaker: 0" in remedies
    without = shown(run("--json", "--no-remedies", write(tmp_path, conf(3, "wait_for_all: 1"))))
    outcomes = {one["name"]: one["outcome"] for one in without["verdicts"]}
    assert outcomes["split brain"] == "CANNOT_HAPPEN"


def test_the_json_has_the_same_keys_for_every_result(tmp_path: Path) -> None:
    good = shown(run("--json", "--no-remedies", write(tmp_path, conf(3))))
    bad = shown(run("--json", "--no-remedies", write(tmp_path, conf(2, "two_node: 1"))))
    assert good.keys() == bad.keys()
    assert bad["exit_code"] == 2


def test_every_key_is_documented(tmp_path: Path) -> None:
    report = shown(run("--json", "--down", "0.1", write(tmp_path, conf(2, "two_node: 1"))))
    text = (ROOT / "docs" / "checking.md").read_text()
    assert [key for key in set(keys(report)) if f"`{key}`" not in text] == []


def keys(value: Any) -> Iterator[str]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(inner)
    if isinstance(value, dict):
        yield from value


def test_configurations_are_compared_side_by_side(tmp_path: Path) -> None:
    files = [write(tmp_path, conf(3), "a.conf"), write(tmp_path, conf(2, "two_node: 1"), "b.conf")]
    result = run("--no-remedies", *files)
    assert re.search(r"split brain +cannot happen +happens", result.stdout)
    assert result.exit_code == 2


def test_a_custom_property_is_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_to_check.py").write_text(
        "def alone(situation):\n    '''A node works alone.'''\n"
        "    return next((str(p.quorate) for p in situation.partitions if len(p.quorate) == 1), None)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path, conf(2, "two_node: 1"))
    result = run("--json", "--no-remedies", "--property", "mine_to_check:alone", file)
    assert [one["outcome"] for one in shown(result)["verdicts"] if one["name"] == "alone"] == ["HAPPENS"]


def test_a_property_that_cannot_be_imported_is_wrong_usage(tmp_path: Path) -> None:
    assert run("--property", "nothing:here", write(tmp_path, conf(3))).exit_code == 64


def test_a_story_is_written_for_vqsim(tmp_path: Path) -> None:
    result = run("--no-remedies", "--vqsim", "split brain", write(tmp_path, conf(2, "two_node: 1")))
    typed = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert typed == ["up 0:1", "up 0:2", "split 2:2"]


def test_a_story_is_replayed_in_the_model(tmp_path: Path) -> None:
    result = run("--no-remedies", "--replay", "split brain", write(tmp_path, conf(2, "two_node: 1")))
    after = result.stdout.split("splits")[1]
    assert re.findall(r"node \d +quorate", after) == ["node 1  quorate", "node 2  quorate"]


def test_there_is_no_story_for_an_impossible_property(tmp_path: Path) -> None:
    assert run("--no-remedies", "--replay", "stuck", write(tmp_path, conf(3))).exit_code == 64


@pytest.mark.parametrize(("accepted", "code"), [("split brain", 0), ("flapping", 2)])
def test_an_accepted_property_does_not_decide_the_exit_code(accepted: str, code: int, tmp_path: Path) -> None:
    file = write(tmp_path, conf(2, "two_node: 1"))
    result = run("--no-remedies", "--faults", "2", "--accept", accepted, file)
    assert (result.exit_code, "split brain: happens" in result.stdout) == (code, True)


@pytest.mark.parametrize("option", ["--accept", "--replay", "--vqsim"])
def test_a_misspelt_property_is_refused_before_the_search(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("votequorum_ipc.cli.check.check", None)
    result = run(option, "splitbrain", write(tmp_path, conf(3)))
    assert result.exit_code == 64
    assert "'splitbrain': the properties are split brain, stuck, flapping" in result.stderr


def test_several_processes_give_the_output_of_one(tmp_path: Path) -> None:
    file = write(tmp_path, conf(3, "auto_tie_breaker: 1", "wait_for_all: 1"))
    alone, shared = (shown(run("--json", "--processes", count, file)) for count in ("1", "2"))
    for report in (alone, shared):
        del report["effort"]["seconds"]
    assert alone == shared


def test_help_lists_every_option_once() -> None:
    listed = re.findall(r"^  (--[\w-]+)", run("--help").stdout, re.MULTILINE)
    options = [max(param.opts, key=len) for param in command.params if isinstance(param, click.Option)]
    assert sorted(listed) == sorted(options)


class Elements(HTMLParser):
    """Checks that elements are closed in order, and collects their names and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "br"):  # the two that are never closed
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    file = write(tmp_path, conf(2, "two_node: 1"), "<b>.conf")
    run("--no-remedies", "--html", target, "--down", "0.01", file)
    elements = Elements()
    elements.feed(target.read_text())
    assert (elements.open, elements.links) == ([], [])
    assert {"svg", "table", "polyline"} <= set(elements.seen)
    assert not {"script", "b"} & set(elements.seen)


def test_a_page_about_several_files_is_wrong_usage(tmp_path: Path) -> None:
    files = [write(tmp_path, conf(3), name) for name in ("one.conf", "other.conf")]
    target = tmp_path / "page.html"
    assert run("--no-remedies", "--html", target, *files).exit_code == 64
    assert not target.exists()


def test_a_running_cluster_is_read_back_from_its_cmap() -> None:
    values: dict[str, object] = {
        "quorum.provider": "corosync_votequorum",
        "quorum.wait_for_all": 1,
        "quorum.device.model": "net",
        "quorum.device.votes": 1,
        "nodelist.node.0.nodeid": 4,
        "nodelist.node.0.ring0_addr": "10.0.0.4",
        "nodelist.node.1.nodeid": 7,
        "nodelist.node.1.quorum_votes": 2,
    }
    config = parse_corosync_conf(conf_of(values)).cluster
    assert [(node.nodeid, node.votes) for node in config.nodes] == [(4, 1), (7, 2)]
    assert config.wait_for_all
    assert config.device is not None
    assert config.device.votes == 1
