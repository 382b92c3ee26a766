"""Recorded frames: the files in `vectors/`, one per service, readable by people and programs.

Strategy: a file is TOML. A frame's bytes are the lines of a hex dump, an offset and up to 16 bytes each.
Lines of zeros are left out, as `size` gives the number of bytes. Every frame says in words when it was sent,
which call of which C client sent it, and over which transport.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from votequorum_ipc.wire import SERVICES, Layout
from votequorum_ipc.wire.setup import CHUNK_HEADER, CONTROL_BLOCK, RING_HEADER

VECTORS: Final = Path(__file__).parent / "vectors"

REFUSAL: Final = "refusal"
"""The `message` of a bare response header with id 0, the answer to a request that the daemon refused.
"""

STRUCTURES: Final = {"ring header": RING_HEADER, "chunk header": CHUNK_HEADER, "control block": CONTROL_BLOCK}
"""The recorded structures of shared memory."""

_ROW: Final = 16


@dataclass(frozen=True)
class Origin:
    """The versions and the machine that a file was recorded with."""

    corosync: str
    libqb: str
    machine: str


@dataclass(frozen=True)
class Frame:
    """One recorded message, or a structure in shared memory."""

    message: str
    """A layout's name and kind, such as "getinfo response"; `REFUSAL`; or one of `STRUCTURES`."""
    case: str
    """Distinguishes it from other frames of the same message."""
    context: str
    """The situation, in words."""
    client: str
    """The C client, and its call."""
    transport: str
    """"shm" or "socket"."""
    data: bytes

    def __str__(self) -> str:
        return f"{self.message}, {self.case}"


def layout_of(service: str, frame: Frame) -> Layout | None:
    """The layout that a frame's message names; None for a refusal and for structures."""
    return next((layout for layout in SERVICES[service] if str(layout) == frame.message), None)


@functools.cache
def load(service: str) -> tuple[Frame, ...]:
    """The frames of a service; "setup" has those that set a connection up, the same for every service."""
    document = tomllib.loads(_path(service).read_text())
    return tuple(_frame(entry) for entry in document["frame"])


def origin(service: str) -> Origin:
    """The versions and the machine that a service's frames were recorded with."""
    return Origin(**tomllib.loads(_path(service).read_text())["recorded_with"])


def find(service: str, message: str, case: str) -> Frame:
    """One frame. Raises KeyError if it does not exist."""
    for frame in load(service):
        if (frame.message, frame.case) == (message, case):
            return frame
    raise KeyError(f"{service}: no recorded frame {message!r}, {case!r}")


def save(service: str, origin: Origin, frames: Iterable[Frame]) -> None:
    """Write a service's file."""
    parts = [
        f"# Frames of {service}, recorded between corosync and its C clients by protocol_specs/record.py.",
        "# Lines of `bytes` that hold nothing but zeros are left out; `size` counts them.",
        "",
        "[recorded_with]",
        *(f"{key} = {_quoted(value)}" for key, value in asdict(origin).items()),
    ]
    for frame in frames:
        parts += ["", "[[frame]]"]
        parts += [f"{key} = {_quoted(value)}" for key, value in asdict(frame).items() if key != "data"]
        parts += [f"size = {len(frame.data)}", "bytes = '''", *hex_lines(frame.data), "'''"]
    _path(service).write_text("\n".join(parts) + "\n")


def hex_lines(data: bytes) -> list[str]:
    """A hex dump of `data` without the lines that are all zero."""
    starts = range(0, len(data), _ROW)
    rows = [(start, data[start : start + _ROW]) for start in starts]
    return [f"{start:04x}  {row.hex(' ')}" for start, row in rows if any(row)]


def from_hex_lines(size: int, lines: Sequence[str]) -> bytes:
    """The inverse of `hex_lines`. ValueError for lines that do not fit."""
    data = bytearray(size)
    for line in lines:
        offset, _, row = line.partition(" ")
        raw = bytes.fromhex(row)
        start = int(offset, 16)
        if not raw or start + len(raw) > size:
            raise ValueError(f"not within {size} bytes: {line!r}")
        data[start : start + len(raw)] = raw
    return bytes(data)


def _path(service: str) -> Path:
    return VECTORS / f"{service}.toml"


def _frame(entry: dict[str, str]) -> Frame:
    data = from_hex_lines(int(entry.pop("size")), entry.pop("bytes").splitlines())
    return Frame(**entry, data=data)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
