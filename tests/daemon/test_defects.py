"""Attacks that end a real corosync but not the embedded daemon: the evidence for docs/embedded-daemon.md.

`test_hostile` makes the same attacks on the embedded daemon.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import StartDaemon
from tests.daemon.test_hostile import Liar, words
from tests.real.config import Config
from tests.real.waiting import eventually_async
from votequorum_ipc.ipc.handshake import set_up

DEADLY: dict[str, Callable[[Liar], Any]] = {
    "a truncated ring": lambda liar: os.truncate(liar.file("response"), 0),
    "a semaphore with an impossible way to wake waiters": lambda liar: liar.poke(
        "response", "posted_sem", words(0, 1, 0x7FFFFFFF, 0x7FFFFFFF)
    ),
}


@pytest.mark.parametrize("lie", DEADLY)
async def test_a_client_can_end_a_real_corosync(start_daemon: StartDaemon, lie: str) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace():
        liar = Liar(await set_up("votequorum", 8192, None))
    DEADLY[lie](liar)
    with contextlib.suppress(BrokenPipeError):
        liar.ask()
    await eventually_async(lambda: not daemon.alive)
    liar.close()
