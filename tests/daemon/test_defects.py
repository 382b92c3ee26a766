"""What ends a real corosync, and not the embedded daemon: the reason for what `docs/embedded-daemon.md` says.

`test_hostile` puts the embedded daemon to the same.
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
    "a semaphore to be woken in a way there is not": lambda liar: liar.poke(
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
