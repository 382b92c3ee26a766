"""libvotequorum through ctypes as a side: the shortest way to it in Python. It blocks in each call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import monotonic_ns
from typing import Final

from bench.answering import answer, commands

_U32: Final = ctypes.c_uint32
_CS_OK: Final = 1

_library: Final = ctypes.CDLL("libvotequorum.so.8")
_handles: list[ctypes.c_uint64] = []


class _Info(ctypes.Structure):
    """struct votequorum_info (votequorum.h)."""

    _fields_ = (
        ("node_id", _U32),
        ("node_state", _U32),
        ("node_votes", _U32),
        ("node_expected_votes", _U32),
        ("highest_expected", _U32),
        ("total_votes", _U32),
        ("quorum", _U32),
        ("flags", _U32),
        ("qdevice_votes", _U32),
        ("qdevice_name", ctypes.c_char * 255),
    )


def _check(error: int, call: str) -> None:
    if error != _CS_OK:
        raise RuntimeError(f"{call}: cs_error_t {error}")


def _open(count: int) -> list[int]:
    for _ in range(count):
        handle = ctypes.c_uint64()
        _check(_library.votequorum_initialize(ctypes.byref(handle), None), "initialize")
        _handles.append(handle)
    return [count]


def _call(handle: ctypes.c_uint64) -> _Info:
    info = _Info()
    _check(_library.votequorum_getinfo(handle, 0, ctypes.byref(info)), "getinfo")
    return info


def _getinfo(count: int) -> list[int]:
    handle, numbers = _handles[0], []
    for _ in range(count):
        start = monotonic_ns()
        _call(handle)
        numbers.append(monotonic_ns() - start)
    return numbers


def _total(count: int) -> list[int]:
    handle, start = _handles[0], monotonic_ns()
    for _ in range(count):
        _call(handle)
    return [monotonic_ns() - start]


_COMMANDS: Final[dict[str, Callable[[int], list[int]]]] = {
    "open": _open,
    "getinfo": _getinfo,
    "total": _total,
}


def _main() -> None:
    for command, count in commands():
        answer(_COMMANDS[command](count))
    for handle in _handles:
        _library.votequorum_finalize(handle)


if __name__ == "__main__":
    _main()
