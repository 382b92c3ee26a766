"""On a platform that cannot work, both ends say so at once, and give no advice that does not help."""

from __future__ import annotations

import os
import struct
from types import SimpleNamespace

import pytest

from votequorum_ipc import NotSupported, Votequorum
from votequorum_ipc.ring import check_platform
from votequorum_ipc.testing import simulated_cluster


def set_pointer_size(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    calcsize = struct.calcsize
    monkeypatch.setattr(struct, "calcsize", lambda format_: size if format_ == "P" else calcsize(format_))


@pytest.fixture
def in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    set_pointer_size(monkeypatch, 4)


async def test_a_client_of_32_bits_refuses_before_it_connects(in_32_bits: None) -> None:
    with pytest.raises(NotSupported, match=r"this Python has 32 bits.*qb_ipc_type does not change that"):
        await Votequorum.initialize(address="@nobody-is-here")


async def test_a_server_of_32_bits_refuses_before_it_listens(in_32_bits: None) -> None:
    for transport in ("shm", "socket"):
        with pytest.raises(NotSupported, match="this Python has 32 bits"):
            async with simulated_cluster(1, transport=transport):
                pytest.fail("the server announced itself")


def test_a_machine_with_unknown_system_calls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_pointer_size(monkeypatch, 8)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="sparc64"))
    with pytest.raises(NotSupported, match="sparc64 is unknown here; known are x86_64, aarch64"):
        check_platform()
