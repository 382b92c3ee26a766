"""A descriptor for other event loops, which polls readable while an event waits.

Strategy: an event is either still in the kernel, so that the transport's event socket is readable, or already
in this process, which an eventfd signals. An epoll descriptor over both is readable when either is.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket

from ..errors import error_from_errno
from .backend import Backend


class Readiness:
    """The descriptor, and the eventfd in it."""

    def __init__(self, event_socket: socket.socket, setup_socket: socket.socket) -> None:
        """`setup_socket` makes it readable at the connection's end. Raises `CsError` without descriptors."""
        self._is_set = False
        try:
            with contextlib.ExitStack() as undo:
                self._held = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                undo.callback(os.close, self._held)
                self._epoll = undo.enter_context(select.epoll())
                self._epoll.register(self._held, select.EPOLLIN)
                self._epoll.register(event_socket, select.EPOLLIN | select.EPOLLRDHUP)
                if event_socket is not setup_socket:
                    self._epoll.register(setup_socket, select.EPOLLRDHUP)
                undo.pop_all()
        except OSError as error:
            raise error_from_errno(error.errno or 0, f"no descriptor to poll: {error.strerror}") from error

    def fileno(self) -> int:
        """What to poll."""
        return self._epoll.fileno()

    def set(self, held: bool) -> None:
        """Signal whether this process holds events."""
        if held == self._is_set:
            return
        self._is_set = held
        if held:
            os.eventfd_write(self._held, 1)
        else:
            os.eventfd_read(self._held)

    def close(self, backend: Backend) -> None:
        """Free the descriptors, after informing tasks that wait on them in the event loop."""
        backend.closing(self._epoll)
        self.disown()

    def disown(self) -> None:
        """Free the descriptors without informing the event loop."""
        self._epoll.close()
        os.close(self._held)
