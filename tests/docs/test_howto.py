"""The programs of the guides, as printed: without a daemon, and on a simulated cluster at corosync's own
names.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.real.host import ROOT, Host
from tests.real.waiting import DEADLINE
from tests.samples import pytest_on

HOWTO = ROOT / "docs" / "howto"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}


def block(page: str, language: str = "python") -> str:
    """The first program of a guide."""
    found = re.search(rf"```{language}\n(.*?)```", (HOWTO / f"{page}.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def run(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a host to its end."""
    return subprocess.run(
        host.command([*command]),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture(scope="module")
def host(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host without a daemon."""
    with contextlib.closing(Host(tmp_path_factory.mktemp("bare"))) as bare:
        yield bare


class Served(NamedTuple):
    """A simulated cluster at corosync's own names."""

    host: Host
    words: IO[str]
    """Standard input of `serve`, for commands to it."""


@pytest.fixture(scope="module")
def served(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three nodes; a device may be started."""
    host = Host(tmp_path_factory.mktemp("host"))
    command = host.command([sys.executable, "-m", "votequorum_ipc", "serve", "--device", "1"])
    with contextlib.closing(host):
        pipe = subprocess.PIPE
        with subprocess.Popen(command, text=True, env=ENVIRONMENT, stdin=pipe, stdout=pipe) as serve:
            try:
                assert serve.stdin
                assert serve.stdout
                assert "serving" in serve.stdout.readline()
                yield Served(host, serve.stdin)
            finally:
                serve.kill()


@contextlib.contextmanager
def running(host: Host, program: str) -> Iterator[IO[str]]:
    """A program that keeps running, and its output."""
    command = host.command([sys.executable, "-u", "-c", program])
    with subprocess.Popen(command, text=True, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield process.stdout
        finally:
            process.kill()


def test_the_service_reports_why_quorum_is_unknown(host: Host) -> None:
    with running(host, block("watch-in-asyncio")) as output:
        assert output.readline() == block("watch-in-asyncio", "console")


def test_the_service_works_while_there_is_quorum(served: Served) -> None:
    with running(served.host, block("watch-in-asyncio")) as output:
        assert [output.readline().strip() for _ in range(2)] == ["quorum: quorate", "working"]
        print("split 1:2", file=served.words, flush=True)
        try:
            assert any("quorum: not quorate" in line for line in output)
        finally:
            print("heal", file=served.words, flush=True)


def test_the_script_exits_with_1_if_quorum_is_unknown(host: Host) -> None:
    done = run(host, sys.executable, "-c", block("check-in-a-script"))
    assert done.stderr.startswith("quorum is unknown: corosync is not running here")
    assert done.returncode == 1


def test_the_script_says_quorate(served: Served) -> None:
    done = run(served.host, sys.executable, "-c", block("check-in-a-script"))
    assert (done.stdout, done.stderr, done.returncode) == ("quorate\n", "", 0)


def test_the_shell_script_does_not_start_without_quorum(host: Host) -> None:
    assert "not starting" in run(host, "sh", "-c", block("check-in-a-script", "sh")).stderr


def test_the_shell_script_starts_with_quorum(served: Served) -> None:
    assert "starting the backup" in run(served.host, "sh", "-c", block("check-in-a-script", "sh")).stdout


def test_the_device_reports_that_it_cannot_vote(host: Host, tmp_path: Path) -> None:
    done = run(host, sys.executable, "-c", block("write-a-device"), str(tmp_path / "lock"))
    assert done.stderr.startswith("the device cannot vote: corosync is not running here")
    assert done.returncode == 1


def test_the_device_votes(served: Served, tmp_path: Path) -> None:
    program = block("write-a-device").replace("return True", 'print("votes"); return True')
    program = program.replace(
        'sys.argv[1] if len(sys.argv) > 1 else "quorum.lock"', repr(str(tmp_path / "lock"))
    )
    with running(served.host, program) as output:
        assert output.readline() == "votes\n"


def test_the_test_passes(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", (HOWTO / "test-your-program.md").read_text(), re.DOTALL)
    stdout = pytest_on("\n".join(program), tmp_path)
    assert "1 passed" in stdout, stdout
