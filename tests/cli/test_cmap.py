"""`votequorum-ipc cmap` shows and does the same as corosync-cmapctl, on a real corosync."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc.cli.keys import TYPE_NAMES, value_json, value_text

from .command import COMMAND, ENVIRONMENT, Result, votequorum_ipc, without_daemon

VALUES = {
    "i8": "-128",
    "u8": "255",
    "i16": "-32768",
    "u16": "65535",
    "i32": "-2147483648",
    "u32": "4294967295",
    "i64": "-9223372036854775808",
    "u64": "18446744073709551615",
    "flt": "1.5",
    "dbl": "-2.25",
    "str": "two words",
}


def ours(daemon: Daemon, *arguments: str) -> Result:
    return votequorum_ipc(daemon, "cmap", *arguments)


def theirs(daemon: Daemon, *arguments: str) -> str:
    return str(daemon.run(["corosync-cmapctl", *arguments], check=True).stdout)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the value of the binary key."""
    path = tmp_path_factory.mktemp("binary") / "bytes"
    path.write_bytes(b"a\\b\n~")
    return str(path)


@pytest.fixture
def examples(shm_daemon: Daemon, binary: str) -> Iterator[Daemon]:
    """A daemon with a key of each type below `example.`."""
    for name, value in {**VALUES, "bin": binary}.items():
        theirs(shm_daemon, "-s", "--", f"example.{name}", name, value)
    yield shm_daemon
    theirs(shm_daemon, "-D", "example.")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_json_uses_text_for_numbers_that_json_does_not_have(number: float) -> None:
    assert value_json(number) == str(number)


def test_every_type_is_set_as_corosync_cmapctl_sets_it(examples: Daemon, binary: str) -> None:
    shown = theirs(examples, "-b", "example.")
    theirs(examples, "-D", "example.")
    for name, value in {**VALUES, "bin": binary}.items():
        done = ours(examples, "set", f"example.{name}", name, value)
        assert done.returncode == 0, done.stderr
    assert theirs(examples, "-b", "example.") == shown


def test_every_type_is_shown_as_corosync_cmapctl_shows_it(examples: Daemon) -> None:
    assert [*VALUES, "bin"] == [*TYPE_NAMES]
    shown = theirs(examples, "-b", "example.")
    assert len(shown.splitlines()) == len(TYPE_NAMES)
    assert ours(examples, "list", "--binary", "example.").stdout == shown
    assert ours(examples, "list", "example.").stdout == theirs(examples, "example.")
    keys = [f"example.{name}" for name in TYPE_NAMES]
    assert ours(examples, "get", "--binary", *keys).stdout == theirs(examples, "-b", "-g", *keys)
    # For a binary value, corosync-cmapctl -q prints more than the value.
    assert ours(examples, "get", "--quiet", *keys[:-1]).stdout == theirs(examples, "-q", "-g", *keys[:-1])


def test_json_shows_the_same_values(examples: Daemon) -> None:
    shape = json.loads(ours(examples, "list", "--json", "example.").stdout)
    found = {each["key"].removeprefix("example."): (each["type"], each["value"]) for each in shape["keys"]}
    assert found["u64"] == ("u64", 2**64 - 1)
    assert found["dbl"] == ("dbl", -2.25)
    assert found["str"] == ("str", "two words")
    assert found["bin"] == ("bin", b"a\\b\n~".hex())


def test_the_whole_map_is_the_same(shm_daemon: Daemon) -> None:
    shown = ours(shm_daemon, "list").stdout
    assert _keys(shown) == _keys(theirs(shm_daemon))
    fixed = [line for line in shown.splitlines() if line.startswith(("totem.", "nodelist.", "quorum."))]
    assert fixed
    assert set(fixed) <= set(theirs(shm_daemon).splitlines())


def test_the_statistics_have_the_same_keys_and_types(shm_daemon: Daemon) -> None:
    prefixes = ("stats.srp.", "stats.knet.handle.", "stats.knet.node1.")
    # The keys of IPC connections come and go with the clients.
    assert _keys(ours(shm_daemon, "list", "--map", "stats", *prefixes).stdout) == _keys(
        theirs(shm_daemon, "-m", "stats", *prefixes)
    )


def _keys(text: str) -> list[str]:
    return [line.partition(" = ")[0] for line in text.splitlines() if not line.startswith("runtime.config")]


def test_a_deleted_key_is_gone_and_a_missing_key_is_exit_code_1(examples: Daemon) -> None:
    done = ours(examples, "delete", "example.i8", "example.u8")
    assert (done.returncode, done.stdout) == (0, "Deleted: example.i8\nDeleted: example.u8\n")
    assert "example.i8" not in theirs(examples, "example.")
    for words in (["delete", "example.i8"], ["get", "example.i8"]):
        refused = ours(examples, *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "there is no key 'example.i8'" in refused.stderr


def test_a_key_that_corosync_acts_on_is_not_changed_without_yes(shm_daemon: Daemon) -> None:
    key = "runtime.votequorum.cancel_wait_for_all"
    refused = ours(shm_daemon, "set", key, "u8", "1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"corosync acts on {key}, so nothing was changed: --yes" in refused.stderr
    assert key not in theirs(shm_daemon)
    assert ours(shm_daemon, "set", "--yes", key, "u8", "1").stdout == f"{key} (u8) = 1\n"
    assert theirs(shm_daemon, "-g", key) == f"{key} (u8) = 1\n"
    refused = ours(shm_daemon, "delete", "--prefix", "runtime.votequorum.cancel")
    assert refused.returncode == 1
    assert ours(shm_daemon, "delete", "--yes", key).returncode == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_at_a_terminal_it_asks_first(shm_daemon: Daemon, answer: str, code: int) -> None:
    key = "logging.example"
    ours_end, terminal = pty.openpty()
    argv = shm_daemon.host.command([*COMMAND, "cmap", "set", key, "u8", "1"])
    with subprocess.Popen(
        argv, stdin=terminal, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        os.write(ours_end, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=DEADLINE)
    os.close(terminal)
    os.close(ours_end)
    assert process.returncode == code
    assert f"corosync acts on {key} at once. Set it to 1? [y/N]" in output
    assert (key in theirs(shm_daemon)) is (code == 0)
    ours(shm_daemon, "delete", "--yes", key)


def test_a_refusal_by_corosync_is_one_line(shm_daemon: Daemon) -> None:
    refused = ours(shm_daemon, "set", "--yes", "nodelist.local_node_pos", "u32", "3")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "read-only" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["set", "a.key", "u8", "256"],
        ["set", "a.key", "u8", "-1"],
        ["set", "a.key", "i8", "many"],
        ["set", "a.key", "u128", "1"],
        ["set", "a.key", "bin", "/no/such/file"],
        ["get"],
        ["delete"],
        ["list", "--map", "icmap"],
    ],
)
def test_wrong_usage_is_exit_code_64(words: list[str]) -> None:
    assert without_daemon("cmap", *words).returncode == 64


def test_bytes_are_escaped_as_corosync_cmapctl_does() -> None:
    assert value_text(b"\x00\\~\x7f") == r"\x00\\~\x7F"
    assert value_text(b"") == "*empty*"


def test_changes_are_followed_as_corosync_cmapctl_follows_them(shm_daemon: Daemon, tmp_path: Path) -> None:
    with (
        following(shm_daemon, tmp_path / "ours", [*COMMAND, "cmap", "track", "--prefix", "followed."]) as we,
        following(shm_daemon, tmp_path / "json", [*COMMAND, "cmap", "track", "--json", "followed.a"]) as one,
        following(shm_daemon, tmp_path / "theirs", ["corosync-cmapctl", "-T", "followed."]) as they,
    ):

        def change() -> bool:
            """Set, change and delete a key; true once all three followers have reported a deletion."""
            for words in (
                ["-s", "followed.a", "u8", "1"],
                ["-s", "followed.a", "u8", "2"],
                ["-d", "followed.a"],
            ):
                theirs(shm_daemon, *words)
            return all("delete" in path.read_text() for path in (we, one, they))

        def last() -> tuple[list[str], list[str], list[tuple[object, ...]]]:
            """The last three changes as shown by corosync-cmapctl, by us, and in our JSON."""
            lines = [line for line in they.read_text().splitlines() if ">" in line]
            shapes = [json.loads(line) for line in one.read_text().splitlines()]
            keys = "event", "value", "old"
            return (
                lines[-3:],
                we.read_text().splitlines()[-3:],
                [tuple(shape[key] for key in keys) for shape in shapes[-3:]],
            )

        lines = [
            "create> followed.a (u8) = 1",
            "modify> followed.a (u8) = 2",
            "delete> followed.a (u8) = 2",
        ]
        shapes = [("create", 1, None), ("modify", 2, 1), ("delete", 2, 2)]
        eventually(change)
        eventually(lambda: last() == (lines, lines, shapes), otherwise=lambda: str(last()))


@contextlib.contextmanager
def following(daemon: Daemon, output: Path, argv: list[str]) -> Iterator[Path]:
    with (
        output.open("w") as file,
        subprocess.Popen(
            daemon.host.command(["stdbuf", "-oL", *argv]),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        ) as process,
    ):
        try:
            yield output
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE)
        finally:
            process.kill()


def test_help_names_every_type() -> None:
    text = without_daemon("cmap", "set", "--help").stdout
    assert [name for name in TYPE_NAMES if not re.search(rf"\b{name}\b", text)] == []
