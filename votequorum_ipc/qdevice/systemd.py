"""Reports a service's state to the service manager: systemd's notification protocol.

Strategy: a notification is one datagram of lines to the socket that $NOTIFY_SOCKET names, and a service that
has a watchdog says so at half the interval that $WATCHDOG_USEC gives. A service also runs without a
service manager, so a notification that cannot be sent is not an error. Sources: sd_notify(3),
sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

import trio


class Notifier:
    """Sends notifications to the socket in the environment, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval = _watchdog_interval(environment)
        """Seconds of silence that the service manager treats as a failure; None without a watchdog."""

    def notify(self, **variables: str) -> None:
        """Send variables, such as `READY="1"` or `STATUS="votes"`; line breaks in a value become blanks."""
        if self._address is None:
            return
        lines = [f"{name}={' '.join(value.splitlines())}" for name, value in variables.items()]
        message = "\n".join(lines).encode("utf-8", "replace")
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifications,
        ):
            notifications.setblocking(False)
            notifications.sendto(message, self._address)

    async def keep_watchdog(self) -> None:
        """Notify the watchdog at half its interval that trio's loop runs, until cancelled; return without a
        watchdog."""
        await trio.lowlevel.checkpoint()
        while self.watchdog_interval is not None:
            self.notify(WATCHDOG="1")
            await trio.sleep(self.watchdog_interval / 2)


def _address(text: str) -> str | bytes | None:
    """The socket's address; None for anything but a path or an abstract name."""
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return text if text.startswith("/") else None


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000
