"""Files that the other side names: none elsewhere is touched, none makes us wait, none need be removable."""

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

from votequorum_ipc import MessageError, TryAgain
from votequorum_ipc.ring import Ring, map_shared, open_shared_file, remove_shared_file

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
        with pytest.raises(MessageError, match="leads to"):
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


def test_a_file_that_somebody_holds_a_lease_on_is_not_waited_for(directory: Path) -> None:
    """Opening it otherwise takes /proc/sys/fs/lease-break-time, 45 seconds, and then succeeds."""
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


def test_a_file_that_is_cut_while_it_is_mapped_is_an_error_of_ours(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory / "file"
    path.write_bytes(bytes(4096))

    def cut(*arguments: Any) -> None:
        raise ValueError("mmap length is greater than file size")

    with open_shared_file(str(path), 4096) as descriptor:
        monkeypatch.setattr(mmap, "mmap", cut)
        with pytest.raises(MessageError, match="cut to less than 4096 bytes"):
            map_shared(descriptor, 4096)


def test_a_file_that_cannot_be_removed_keeps_no_other_from_it(directory: Path) -> None:
    ring = Ring.create(f"{directory}/qb-request-x", MAX_MSG_SIZE)
    header, data = map(Path, ring.paths)
    header.unlink()
    header.mkdir()
    ring.unlink()
    assert header.is_dir()
    assert not data.exists()
    ring.close(count_out=False)
