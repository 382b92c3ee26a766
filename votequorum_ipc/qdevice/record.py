"""The last action of a running device, in a file that `votequorum-ipc qdevice status` reads.

Strategy: corosync knows whether a device votes, but not why, and it does not notice two processes with the
same name. So each device has two files in a directory for records: one that is locked while the process
lives, and one with the last ballot, replaced as a whole each time. The reader trusts neither the file's text
nor its size. It only queries the lock: taking it could keep a device from starting.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import struct
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import Busy
from ..types import RingId

if TYPE_CHECKING:
    from .run import Ballot

_MOST_BYTES: Final = 65536
_MOST_REASON: Final = 4096
_NAME_PART: Final = 64

_FLOCK: Final = struct.Struct("@hhqqi")
"""`struct flock` of fcntl(2): type, whence, start, length, pid."""


@dataclass(frozen=True, slots=True)
class Record:
    """The last ballot of a device."""

    name: str
    pid: int
    vote: bool | None
    reason: str
    ring_id: RingId | None
    time: float
    """Seconds since the epoch."""


def runtime_directory() -> Path | None:
    """The directory of records: $RUNTIME_DIRECTORY if the service manager made one, else /run/votequorum-ipc
    for root and $XDG_RUNTIME_DIR/votequorum-ipc for others. None if the user has no such directory."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/votequorum-ipc")
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own) / "votequorum-ipc" if own else None


class Recorder:
    """Writes the records of one device. Made by `open_recorder`."""

    def __init__(self, path: Path) -> None:
        """Not public: use `open_recorder`."""
        self._path = path

    def write(self, name: str, ballot: Ballot) -> None:
        """Replace the record. A failure of the file system is ignored: a vote does not depend on it."""
        record = Record(
            name=name,
            pid=os.getpid(),
            vote=ballot.vote,
            reason=ballot.reason[:_MOST_REASON],
            ring_id=ballot.ring_id,
            time=ballot.time,
        )
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(asdict(record)))
            new.replace(self._path)


@contextlib.contextmanager
def open_recorder(directory: Path, name: str, address: str | None) -> Iterator[Recorder]:
    """The place for a device's records, locked for the duration of the block; they are removed at its end.

    Raises `Busy` when another process runs a device of this name with the same daemon, `OSError` when the
    directory cannot be used.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = _path(directory, name, address)
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except BlockingIOError:
            raise Busy(
                f"another process runs the quorum device {name!r} here: end it first; "
                "votequorum-ipc qdevice status shows its process id"
            ) from None
        try:
            yield Recorder(path)
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def read_record(directory: Path, name: str, address: str | None) -> Record | None:
    """The last record of the process that runs a device; None if no process does, or it has not voted yet."""
    path = _path(directory, name, address)
    try:
        if not _is_locked(path.with_suffix(".lock")):
            return None
        with path.open("rb") as file:
            return _record(json.loads(file.read(_MOST_BYTES)))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _path(directory: Path, name: str, address: str | None) -> Path:
    # The first part is for people who look into the directory, the second distinguishes devices.
    digest = hashlib.sha256(f"{address or ''}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return directory / f"{urllib.parse.quote(name, safe='', errors='replace')[:_NAME_PART]}-{digest}.json"


def _is_locked(path: Path) -> bool:
    with path.open("rb") as lock:
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_ = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_OFD_GETLK, asked))
    return bool(kind != fcntl.F_UNLCK)


def _record(values: Mapping[str, Any]) -> Record:
    name, pid, vote, reason = (values[key] for key in ("name", "pid", "vote", "reason"))
    ring = values["ring_id"]
    kinds = ((name, str), (pid, int), (reason, str), (vote, bool | None))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("a record with wrong types")
    ring_id = None if ring is None else RingId(*map(int, ring))
    return Record(name, pid, vote, reason, ring_id, float(values["time"]))
