"""Messages that wait for the other end to make room, in order, and no more of them than a limit allows."""

from __future__ import annotations

import collections
from collections.abc import Callable

from ..errors import QueueFull
from .limits import MAX_QUEUED_BYTES


class Outbox:
    """A queue in front of a function that sends, or says that there is no room."""

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._waiting: collections.deque[bytes] = collections.deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes) -> None:
        """Send now, or as soon as there is room. Raises `QueueFull` beyond the limit."""
        if not self._waiting and self._send(message):
            return
        self._bytes += len(message)
        if self._bytes > MAX_QUEUED_BYTES:
            raise QueueFull(f"a client lets more than {MAX_QUEUED_BYTES} bytes wait for it")
        self._waiting.append(message)

    def flush(self) -> None:
        """Send what there is room for."""
        while self._waiting and self._send(self._waiting[0]):
            self._bytes -= len(self._waiting.popleft())
