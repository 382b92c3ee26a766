"""A client registers a quorum device by a name of 255 bytes without a NUL: an assertion ends the daemon.

Class: death by assertion: votequorum.c: votequorum_exec_send_qdevice_reg: Assertion
`strlen(qdevice_name_req) < sizeof(req_exec_quorum_qdevice_reg.qdevice_name)' failed.
Reach: any user who may connect. Configuration: any that allows a quorum device (no two_node,
last_man_standing, auto_tie_breaker or allow_downscale), whether or not one is named; both transports.
Cost: one request.
Last words: the assertion, and strace: SIGABRT.
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Send
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("shm", "socket")
OUTCOME = "dies"

_VALID = votequorum.QDEVICE_REGISTER.encode(name="x" * 254)
_REGISTER = _VALID[:-2] + b"xx"

STEPS = (
    Connect(0, "votequorum"),
    Send(0, _REGISTER),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
