"""The command itself: usage, exit codes, and messages when something is missing or not allowed."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import votequorum_ipc as library
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE
from tests.ways import LOOPS_IMPORTED, WATCH_IMPORTS
from votequorum_ipc.cli.app import COMMANDS, app
from votequorum_ipc.cli.common import printable

from .command import COMMAND, ENVIRONMENT, NOBODY, Result, as_nobody, votequorum_ipc, without_daemon

ALL = ["status", "monitor", "setexpected", "setvotes"]


def python(code: str, *arguments: str) -> Result:
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=DEADLINE, env=ENVIRONMENT, check=False
    )


def call(name: str) -> list[str]:
    """A subcommand with arguments that it accepts."""
    return [name, *{"setexpected": ["1"], "setvotes": ["1", "1"]}.get(name, [])]


@pytest.mark.parametrize("name", [name for name in ALL if name != "monitor"])
def test_if_nothing_listens_the_message_says_what_to_do(name: str) -> None:
    result = without_daemon(*call(name), "--json", "--address", "@nothing-listens-here")
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["number"]) == ("LIBRARY", 2)
    assert "nothing listens on the abstract socket 'nothing-listens-here'" in error["message"]
    assert result.stderr == f"votequorum-ipc: {error['message']}\n"


@pytest.mark.parametrize("address", ["", "@", "@" + "x" * 108, "/" + "x" * 96 + "/{service}"])
@pytest.mark.parametrize(
    "words",
    [
        *(call(name) for name in ALL),
        ["qdevice", "run", "--name", "x", "--exec", "true"],
        ["qdevice", "status"],
        ["qdevice", "unregister"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_invalid_address_is_wrong_usage(words: list[str], address: str) -> None:
    result = CliRunner().invoke(app, [*words, "--json", "--address", address])
    assert result.exit_code == os.EX_USAGE
    assert "Invalid value for '--address': a" in result.output
    shown = address.removeprefix("@").replace("{service}", "votequorum")
    assert f"has 1 to 107 bytes: {shown!r}" in result.output


def test_a_daemon_that_was_killed_is_not_running(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    daemon.kill()
    result = votequorum_ipc(daemon, "status")
    assert (result.returncode, result.stdout) == (1, "")
    assert "corosync is not running here" in result.stderr


@pytest.mark.parametrize("name", ALL)
def test_a_refused_user_learns_the_uid_and_what_to_configure(daemon: Daemon, name: str) -> None:
    result = as_nobody(daemon, *call(name), "--json")
    assert result.returncode == 1, result.stderr
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["number"]) == ("ACCESS", 11)
    assert f"'uid: {NOBODY}' and '}}', each on its own line" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "--timeout", "0"],
        ["status", "--timeout", "nan"],
        ["setexpected"],
        ["setexpected", "0"],
        ["setexpected", "many"],
        ["setvotes", "1"],
        ["setvotes", "0", "1"],
        ["setvotes", "1", "-1"],
        ["setvotes", "1", "4294967296"],
    ],
)
def test_wrong_usage_is_exit_code_64(arguments: list[str]) -> None:
    result = without_daemon(*arguments)
    assert (result.returncode, result.stdout) == (64, "")
    assert "Usage: votequorum-ipc" in result.stderr


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_cli_extra_the_command_says_how_to_install_it(package: str) -> None:
    code = f"import sys; sys.modules['{package}'] = None; from votequorum_ipc.cli import main; main()"
    result = python(code, "status")
    assert (result.returncode, result.stdout) == (1, "")
    install = "pip install 'votequorum-ipc[cli]', or '.[cli]' in a checkout"
    assert result.stderr == f"votequorum-ipc needs click and rich: {install}\n"


def test_the_library_needs_neither_click_nor_rich() -> None:
    code = "import sys, votequorum_ipc.watch; print({'click', 'rich'} & {*sys.modules})"
    assert python(code).stdout == "set()\n"


def test_a_subcommand_loads_no_other_subcommand_and_json_loads_no_tables() -> None:
    code = (
        "import sys; from votequorum_ipc.cli.app import app\n"
        "try: app(['status', '--json', '--address', '@nothing-listens-here'])\n"
        "except SystemExit: print({'rich', 'votequorum_ipc.cli.setvotes'} & {*sys.modules})"
    )
    assert python(code).stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    "words",
    ["status --json", "status", "setexpected 1", "setvotes 1 1", "qdevice status", "qdevice unregister"],
)
def test_a_command_that_asks_once_imports_no_event_loop(words: str) -> None:
    code = (
        f"{WATCH_IMPORTS}from votequorum_ipc.cli import main\n"
        f"sys.argv[1:] = {[*words.split(), '--address', '@nothing-listens-here']}\n"
        "try: main()\n"
        f"except SystemExit: print({LOOPS_IMPORTED})"
    )
    assert python(code).stdout.splitlines()[-1] == "set()"


def test_garbage_collection_is_on_again_once_a_command_runs() -> None:
    code = (
        "import gc, sys; from votequorum_ipc.cli import main\n"
        "sys.argv[1:] = ['status', '--address', '@nothing-listens-here']\n"
        "try: main()\n"
        "except SystemExit: print(gc.isenabled())"
    )
    assert python(code).stdout == "True\n"


def test_the_version_is_the_librarys() -> None:
    assert without_daemon("--version").stdout == f"votequorum-ipc, version {library.__version__}\n"


def test_help_lists_every_subcommand() -> None:
    text = without_daemon("--help").stdout
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []


GROUPS = [[], ["cmap"], ["qdevice"]]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_the_lines_of_help_are_complete_and_fit_into_80_columns(group: list[str]) -> None:
    lines = without_daemon(*group, "--help").stdout.splitlines()
    listed = lines[lines.index("Commands:") :]
    assert [line for line in listed if line.endswith("...")] == []
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean status?"),
        (["cmap", "lst"], "No such command 'lst'. Did you mean list"),
        (["setvote", "1", "1"], "No such command 'setvote'. Did you mean setvotes?"),
        (["nonsense"], "No such command 'nonsense'.\n"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(words: list[str], hint: str) -> None:
    result = without_daemon(*words)
    assert result.returncode == 64
    assert hint in result.stderr


COMPLETIONS = ROOT / "contrib" / "completions"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shipped_completions_ask_the_command(shell: str) -> None:
    text = (COMPLETIONS / f"votequorum-ipc.{shell}").read_text()
    assert f"_VOTEQUORUM_IPC_COMPLETE={shell}_complete" in text


def test_the_wheel_installs_the_completions_where_shells_look_for_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {path.name: shared[f"contrib/completions/{path.name}"] for path in COMPLETIONS.iterdir()} == {
        "votequorum-ipc.bash": "share/bash-completion/completions/votequorum-ipc",
        "votequorum-ipc.zsh": "share/zsh/site-functions/_votequorum-ipc",
        "votequorum-ipc.fish": "share/fish/vendor_completions.d/votequorum-ipc.fish",
    }


def test_a_subcommand_imports_construct_without_pdb_and_leaves_pdb_to_others() -> None:
    program = (
        "import sys; from votequorum_ipc.cli.app import app\n"
        "assert 'construct' not in sys.modules\n"
        "app.get_command(None, 'status')\n"
        "assert 'construct' in sys.modules and 'bdb' not in sys.modules\n"
        "import pdb; pdb.Pdb"
    )
    subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=True, timeout=DEADLINE)


WORDS = ["sta", "set", "cmap se", "status --js"]
COMPLETED = ["status", "setexpected setvotes", "set", "--json"]


@pytest.fixture
def with_command(tmp_path: Path) -> dict[str, str]:
    """An environment in which a shell finds `votequorum-ipc`."""
    program = tmp_path / "bin" / "votequorum-ipc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m votequorum_ipc "$@"\n')
    program.chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_bash_completes_commands_and_options(with_command: dict[str, str]) -> None:
    script = (
        f"source {COMPLETIONS / 'votequorum-ipc.bash'}\n"
        'try() { COMP_WORDS=(votequorum-ipc "$@"); COMP_CWORD=$#; COMPREPLY=()\n'
        '  _votequorum_ipc_completion votequorum-ipc; echo "${COMPREPLY[@]}"; }\n'
    )
    script += "; ".join(f"try {words}" for words in WORDS)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=with_command, check=True, timeout=DEADLINE
    )
    assert done.stdout.splitlines() == COMPLETED


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_and_options_with_descriptions(with_command: dict[str, str]) -> None:
    script = f"source {COMPLETIONS / 'votequorum-ipc.fish'}\n"
    script += "\n".join(f'complete -C "votequorum-ipc {words}"; echo' for words in WORDS)
    done = subprocess.run(
        ["fish", "-c", script], capture_output=True, text=True, env=with_command, check=True, timeout=DEADLINE
    )
    groups = [group.splitlines() for group in done.stdout.strip().split("\n\n")]
    assert [" ".join(line.split("\t")[0] for line in group) for group in groups] == COMPLETED
    assert groups[0] == ["status\tShow quorum, votes and members; exit 0 if..."]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_a_command_at_a_terminal(with_command: dict[str, str], tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    shutil.copy(COMPLETIONS / "votequorum-ipc.zsh", functions / "_votequorum-ipc")
    (tmp_path / ".zshrc").write_text(f"fpath=({functions} $fpath)\nautoload -Uz compinit; compinit -D -u\n")
    environment = {**with_command, "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-d", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        try:
            os.write(ours, b"votequorum-ipc sta\t")
            seen = b""
            while b"votequorum-ipc status " not in seen:
                assert select.select([ours], [], [], DEADLINE)[0], seen
                seen += os.read(ours, 4096)
        finally:
            shell.kill()
            os.close(ours)


def writing_to(output: int, daemon: Daemon, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command on a daemon's host, with its output to this descriptor."""
    return subprocess.run(
        daemon.host.command([*COMMAND, *arguments]),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        env=ENVIRONMENT,
        cwd=ROOT,
        check=False,
    )


def test_a_closed_pipe_prints_no_traceback(daemon: Daemon) -> None:
    closed, pipe = os.pipe()
    os.close(closed)
    result = writing_to(pipe, daemon, ["monitor", "--json"])
    os.close(pipe)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["monitor"], ["monitor", "--json"]])
def test_output_that_cannot_be_written_is_one_line(daemon: Daemon, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = writing_to(full.fileno(), daemon, arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("votequorum-ipc: [Errno 28] No space left on device")
    assert result.stderr.count("\n") == 1


def test_terminal_control_characters_are_shown_as_escapes() -> None:
    assert printable("node\x1b[2J\n\udcff1 ä") == "node\\x1b[2J\\n\\udcff1 ä"
