"""Files named by the other side: none elsewhere is touched, none makes us wait, none must be removable."""

from __future__ import annotations

import mmap
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import ENVIRONMENT
from votequorum_ipc import MessageError, TryAgain, Votequorum
from votequorum_ipc.daemon.shm import ServerShm
from votequorum_ipc.ring import Ring, map_shared, open_shared_file, remove_shared, remove_shared_file
from votequorum_ipc.testing import simulated_cluster

MAX_MSG_SIZE = 8192


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(f"/dev/shm/qb-test-{secrets.token_hex(8)}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_a_directory_that_is_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    there = directory / "there"
    there.mkdir()
    ring = Ring.create(f"{there}/qb-request-x", MAX_MSG_SIZE)
    before = {path.name: path.read_bytes() for path in there.iterdir()}
    (directory / "link").symlink_to(there)
    (tmp_path / "victim-header").touch()
    (directory / "elsewhere").symlink_to(tmp_path)
    for name in ("link/qb-request-x", "elsewhere/victim"):
        with pytest.raises(MessageError, match="leads elsewhere"):
            Ring.open(f"{directory}/{name}", MAX_MSG_SIZE)
        remove_shared_file(f"{directory}/{name}-header")
    assert (tmp_path / "victim-header").exists()
    assert {path.name: path.read_bytes() for path in there.iterdir()} == before
    ring.close()


LEASE = """
import fcntl, os, signal, sys

signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel asks to give the lease back
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_under_a_lease_is_not_waited_for(directory: Path) -> None:
    """Without O_NONBLOCK, opening it takes /proc/sys/fs/lease-break-time, 45 seconds, and then succeeds."""
    path = directory / "file"
    path.write_bytes(bytes(4096))
    with subprocess.Popen(
        [sys.executable, "-c", LEASE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TryAgain), open_shared_file(str(path), 4096):
            pass
        holder.kill()


async def test_rings_in_several_directories_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring of another connection would be read and removed with this one's."""
    names, given = ServerShm.names, list[dict[str, str]]()

    def mixed(transport: ServerShm) -> dict[str, str]:
        given.append(names(transport))
        return given[-1] | {"event": given[0]["event"]}

    monkeypatch.setattr(ServerShm, "names", mixed)
    async with simulated_cluster(1, transport="shm") as cluster:
        first = await Votequorum.initialize(address=cluster.address(1))
        with pytest.raises(MessageError, match="several directories"):
            await Votequorum.initialize(address=cluster.address(1))
        assert (await first.getinfo()).node_id == 1
        await first.finalize()


def test_a_file_truncated_while_it_is_mapped_is_a_cs_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory / "file"
    path.write_bytes(bytes(4096))

    def cut(*arguments: Any) -> None:
        raise ValueError("mmap length is greater than file size")

    with open_shared_file(str(path), 4096) as descriptor:
        monkeypatch.setattr(mmap, "mmap", cut)
        with pytest.raises(MessageError, match="truncated to less than 4096 bytes"):
            map_shared(descriptor, 4096)


def test_a_file_that_cannot_be_removed_does_not_keep_others_from_being_removed(directory: Path) -> None:
    ring = Ring.create(f"{directory}/qb-request-x", MAX_MSG_SIZE)
    header, data = map(Path, ring.paths)
    header.unlink()
    header.mkdir()
    ring.unlink()
    assert header.is_dir()
    assert not data.exists()
    ring.close(count_out=False)


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_directory_that_has_become_a_link_is_not_removed_at_the_end(
    directory: Path, tmp_path: Path, transport: str
) -> None:
    """A hostile server replaces a parent of its directory by a link, and dies."""
    (directory / "way" / "qb").mkdir(parents=True)
    (tmp_path / "qb").mkdir()
    ring = Ring.create(f"{directory}/way/qb/qb-request-x", MAX_MSG_SIZE)
    paths = ring.paths if transport == "shm" else (f"{directory}/way/qb/qb-control-x",)
    ring.close()
    (directory / "way").rename(directory / "old")
    (directory / "way").symlink_to(tmp_path)
    remove_shared(*paths)
    assert (tmp_path / "qb").is_dir()
    (directory / "way").unlink()
    (directory / "old").rename(directory / "way")
    ring.unlink()
    remove_shared(*paths)
    assert not (directory / "way" / "qb").exists()


WITHOUT_PROC = """
import trio
from votequorum_ipc import Votequorum
from votequorum_ipc.testing import simulated_cluster

async def main():
    for transport in ("shm", "socket"):
        async with simulated_cluster(1, transport=transport) as cluster:
            async with await Votequorum.initialize(address=cluster.address(1)) as handle:
                print(transport, (await handle.getinfo()).node_id)

trio.run(main)
"""


def test_nothing_here_needs_proc(real_corosync: None) -> None:
    hide = f'mount -t tmpfs tmpfs /proc && exec {sys.executable} -c "$1"'
    argv = ["unshare", "--mount", "sh", "-c", hide, "sh", WITHOUT_PROC]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.stdout + done.stderr == "shm 1\nsocket 1\n"
