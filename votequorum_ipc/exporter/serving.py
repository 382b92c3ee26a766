"""The exporter's loops: answering scrapes, or writing a file at an interval.

Strategy: connections to corosync belong to the thread that made them, so the main thread asks. A request for
metrics is served in a thread of `prometheus_client`'s server; it leaves a question and waits for the answer.
Requests that arrive while a question is being answered share the next one. So if the daemon hangs, each
request waits for at most two deadlines, however many requests there are.

After a while without a scrape the connections are closed: corosync would keep every announcement for them.
"""

from __future__ import annotations

import contextlib
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NoReturn

from prometheus_client import start_http_server, write_to_textfile

from ..ipc.blocking_backend import run_blocking
from ..overview import Observer, Overview
from .collector import CorosyncCollector, registry_of

IDLE_SECONDS: Final = 120.0
"""How many seconds without a question until the connections are closed."""

_LONGEST_WAIT: Final = 1.0
"""Python runs a signal's handler late if the signal came just before a wait: at the end of the wait."""


class Asker:
    """Asks corosync, from one thread, over lasting connections. A context manager."""

    def __init__(self, observe: Callable[[], Observer]) -> None:
        """`observe` makes an observer, and a new one after `rest`."""
        self._observe = observe
        self._observer: Observer | None = None

    def read(self) -> Overview:
        """A current overview."""
        if self._observer is None:
            self._observer = self._observe()
        return run_blocking(self._observer.read())

    def rest(self) -> None:
        """Close the connections until the next question."""
        observer, self._observer = self._observer, None
        if observer is not None:
            run_blocking(observer.aclose())

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.rest()


class Questions:
    """Questions from other threads, which one thread answers."""

    url = ""
    """Where the questions are asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: Future[Overview] | None = None
        """The next question, which is not being answered yet."""
        self._queue: queue.SimpleQueue[Future[Overview]] = queue.SimpleQueue()

    def ask(self) -> Overview:
        """Wait for an overview that was asked for after this call."""
        with self._lock:
            if self._next is None:
                self._next = Future()
                self._queue.put(self._next)
            question = self._next
        return question.result()

    def answer(self, asker: Asker, idle_seconds: float = IDLE_SECONDS) -> NoReturn:
        """Answer questions until an exception, such as one from a signal handler."""
        idle_since = time.monotonic()
        while True:
            try:
                question = self._queue.get(timeout=min(idle_seconds, _LONGEST_WAIT))
            except queue.Empty:
                if time.monotonic() - idle_since >= idle_seconds:
                    asker.rest()
                continue
            with self._lock:
                self._next = None
            try:
                question.set_result(asker.read())
            except BaseException as error:
                question.set_exception(error)
                raise
            idle_since = time.monotonic()


@contextlib.contextmanager
def http_server(
    listen: tuple[str, int], tls: Mapping[str, str | None], *, ring_id: bool
) -> Iterator[Questions]:
    """Serve metrics at an address and port during the block, which has to answer the questions.

    `tls` is what `prometheus_client.start_http_server` takes: certfile, keyfile, client_cafile; with the last
    one, clients need a certificate. Raises `OSError` when the port is not available or a file cannot be read.
    """
    questions = Questions()
    host, port = listen
    registry = registry_of(CorosyncCollector(questions.ask, ring_id=ring_id))
    server, thread = start_http_server(
        port,
        host,
        registry,
        certfile=tls.get("certfile"),
        keyfile=tls.get("keyfile"),
        client_cafile=tls.get("client_cafile"),
        client_auth_required=tls.get("client_cafile") is not None,
    )
    if isinstance(server.socket, ssl.SSLSocket):
        # In the request's thread, so that a client that says nothing holds up neither others nor the end.
        server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]
    questions.url = (
        f"{'https' if tls.get('certfile') else 'http'}://{_in_url(host)}:{server.server_port}/metrics"
    )
    try:
        yield questions
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def write_for_ever(asker: Asker, path: Path, interval: float, *, ring_id: bool) -> NoReturn:
    """Write the metrics to a file every `interval` seconds, and remove the file at the end.

    Otherwise node_exporter would keep showing the last values, and with them a quorum that may be gone.
    """
    registry = registry_of(CorosyncCollector(asker.read, ring_id=ring_id))
    try:
        while True:
            write_to_textfile(str(path), registry)
            time.sleep(interval)
    finally:
        path.unlink(missing_ok=True)
