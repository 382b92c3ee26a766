"""README.md is true: its programs run as printed, and each document's links resolve."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.real.config import Config, Device
from tests.real.daemon import Daemon
from tests.real.host import ROOT, Host
from tests.real.waiting import DEADLINE
from tests.samples import program_on, pytest_on

TEXT = (ROOT / "README.md").read_text()
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ASK, WATCH, TRIO, TEST = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
WATCH_UNDER_TRIO = WATCH.replace("asyncio.run(main())", "trio.run(main)").replace("asyncio", "trio")

DOCUMENTS = sorted(
    document
    for pattern in ("*.md", "docs/*.md", "fuzz/**/*.md", "protocol_specs/*.md", "examples/**/*.md")
    for document in ROOT.glob(pattern)
)


def test_the_first_program_queries_quorum_in_ten_lines(shm_daemon: Daemon) -> None:
    assert len([line for line in ASK.splitlines() if line]) <= 10
    done = program_on(shm_daemon.host, ASK)
    assert (done.stderr, done.stdout) == ("", "QUORATE\nvotes present: 1, needed: 1\n")


def test_without_a_provider_the_first_program_says_that_quorum_is_unknown(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(provider=None))
    done = program_on(daemon.host, ASK)
    assert (done.stderr, done.stdout) == ("", "UNKNOWN\n")


@pytest.mark.parametrize(
    ("program", "line"),
    [
        (ASK, "UNKNOWN"),
        (WATCH, "UNKNOWN []"),
        (TRIO, r"quorum is unknown: corosync is not running here.*"),
    ],
    ids=["ask", "watch", "trio"],
)
def test_without_a_daemon_a_program_reports_it(
    real_corosync: None, tmp_path: Path, program: str, line: str
) -> None:
    with contextlib.closing(Host(tmp_path)) as host:
        command = host.command([sys.executable, "-u", "-c", program])
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                assert re.fullmatch(
                    re.escape(line) if line[-1] != "*" else line, process.stdout.readline().rstrip()
                )
            finally:
                process.kill()


def test_the_two_terminals_show_the_real_output(real_corosync: None, tmp_path: Path) -> None:
    [served] = re.findall(r"^\$ votequorum-ipc serve\n(.*?)```$", TEXT, re.DOTALL | re.MULTILINE)
    [(before, typed, after)] = re.findall(r"(.*)^> (.*?)\n(.*)", served, re.DOTALL | re.MULTILINE)
    asked = re.findall(r"^\$ votequorum-ipc (status .*)\n(Quorate: .*\n)", TEXT, re.MULTILINE)
    assert len(asked) == 2
    host = Host(tmp_path)
    command = host.command([sys.executable, "-m", "votequorum_ipc", "serve"])

    def ask(arguments: str) -> str:
        line = f"{shlex.quote(sys.executable)} -m votequorum_ipc {arguments}"
        done = subprocess.run(
            host.command(["sh", "-c", line]),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout

    try:
        with subprocess.Popen(
            command, text=True, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as serve:
            assert serve.stdin
            assert serve.stdout
            try:
                assert "".join(serve.stdout.readline() for _ in before.splitlines()) == before
                print(typed, file=serve.stdin, flush=True)
                assert "".join(serve.stdout.readline() for _ in after.splitlines()) == after
                for arguments, answer in asked:
                    assert ask(arguments) == answer
            finally:
                serve.kill()
    finally:
        host.close()


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (WATCH, [r"(NOT_)?QUORATE \[1\]"]),
        (WATCH_UNDER_TRIO, [r"(NOT_)?QUORATE \[1\]"]),
        (TRIO, [r"quorate: (True|False) with 1 of 2 votes"]),
    ],
    ids=["watch", "watch under trio", "trio"],
)
def test_a_program_that_keeps_running_reports_what_it_sees(
    start_daemon: StartDaemon, program: str, lines: list[str]
) -> None:
    daemon = start_daemon(Config(device=Device()))
    command = daemon.host.command([sys.executable, "-u", "-c", program])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            for line in lines:
                assert re.fullmatch(line, process.stdout.readline().rstrip())
        finally:
            process.kill()


def test_the_test_passes(tmp_path: Path) -> None:
    stdout = pytest_on(TEST, tmp_path)
    assert "1 passed" in stdout, stdout


def links(document: Path) -> Iterator[str]:
    return (
        link
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text())
        if not link.startswith(("http:", "https:"))
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_resolves(document: Path) -> None:
    broken = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    plain = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}
