"""What fuzzing found in this library: each case as it was found and shrunk, with what it came from.

What is not here has its test beside the module: `tests/ipc/test_counts.py` has the counts that stopped or
aborted a process.
"""

from __future__ import annotations

import pytest

from fuzz.targets import hostile_server
from votequorum_ipc.strategies.handshakes import ServerScript
from votequorum_ipc.strategies.messages import Frame


@pytest.mark.parametrize("error", [-(1 << 31), (1 << 31) - 1, -134, 1])
def test_a_refusal_with_any_number_is_a_cs_error(error: int) -> None:
    # Was an OverflowError of os.strerror for -2147483648.
    paths = dict.fromkeys(("request", "response", "event"), "")
    fields = {"error": error, "connection_type": 0, "max_msg_size": 0, "connection": 0, **paths}
    script = ServerScript("shm", response=Frame("setup", "connection response", fields))
    for service in hostile_server.USES:
        assert hostile_server.meet(script, service) == []
