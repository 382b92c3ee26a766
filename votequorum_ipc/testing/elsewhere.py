"""A simulated cluster in a thread or a process, for tests under asyncio or without an event loop.

Strategy: the cluster is the one in `cluster`, in its own trio run. A proxy has the same methods, forwards
each call, and waits for the result. A call reaches a thread through trio's queue of callbacks. It reaches a
process as a pickled value in a pipe, where a loop makes the same call on a proxy for a thread. When either
end closes or dies, the other ends too: the thread is joined, and the process ends when its input does.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Concatenate, Final, ParamSpec

import trio

from ..cluster import ClusterConfig, Latency
from ..daemon.admission import AccessRule
from ..types import TransportName
from .cluster import SimulatedCluster, simulated_cluster

P = ParamSpec("P")

_CallMethod = Callable[..., Any]
"""Calls the method of `SimulatedCluster` that has this name, with these arguments."""

_PROGRAM: Final = "from votequorum_ipc.testing.elsewhere import serve_parent; serve_parent()"


def _passed_on(
    method: Callable[Concatenate[SimulatedCluster, P], None],
) -> Callable[Concatenate[SimulatedClusterProxy, P], None]:
    """The same method on a proxy: its name, arguments and documentation."""

    @functools.wraps(method)
    def call(proxy: SimulatedClusterProxy, /, *args: P.args, **kwargs: P.kwargs) -> None:
        proxy._call(method.__name__, *args, **kwargs)

    return call


class SimulatedClusterProxy:
    """A simulated cluster that runs elsewhere; made by `simulated_cluster_in_thread` or `..._in_process`.

    The methods are those of `SimulatedCluster`. Each takes effect before it returns, and may be called from
    any thread. Programs connect to `address(node)`. Raises `RuntimeError` when the cluster has ended.
    """

    def __init__(self, call: _CallMethod) -> None:
        """Not public: use `simulated_cluster_in_thread` or `simulated_cluster_in_process`."""
        self._call = call

    @property
    def config(self) -> ClusterConfig:
        """The configuration that is in force."""
        config: ClusterConfig = self._call("config")
        return config

    def address(self, nodeid: int = 1) -> str:
        """As `SimulatedCluster.address`."""
        return str(self._call("address", nodeid))

    up = _passed_on(SimulatedCluster.up)
    kill = _passed_on(SimulatedCluster.kill)
    leave = _passed_on(SimulatedCluster.leave)
    partition = _passed_on(SimulatedCluster.partition)
    heal = _passed_on(SimulatedCluster.heal)
    link = _passed_on(SimulatedCluster.link)
    set_statistic = _passed_on(SimulatedCluster.set_statistic)
    schedule_miss = _passed_on(SimulatedCluster.schedule_miss)
    reform = _passed_on(SimulatedCluster.reform)
    reload = _passed_on(SimulatedCluster.reload)
    write_config = _passed_on(SimulatedCluster.write_config)
    reload_from_file = _passed_on(SimulatedCluster.reload_from_file)
    cancel_wait_for_all = _passed_on(SimulatedCluster.cancel_wait_for_all)
    advance = _passed_on(SimulatedCluster.advance)
    settle = _passed_on(SimulatedCluster.settle)


@contextlib.contextmanager
def simulated_cluster_in_thread(
    nodes: int | Iterable[int] = 3,
    *,
    keep_time: bool = False,
    config: ClusterConfig | None = None,
    transport: TransportName = "shm",
    access: AccessRule | None = None,
    latency: Latency | None = None,
    **options: Any,
) -> Iterator[SimulatedClusterProxy]:
    """A cluster in a thread of this process, during the block: `with`, in any kind of program.

    With `keep_time`, the cluster's time passes in real time, in addition to `advance`. A call that waits for
    the cluster, such as `qdevice_register` with a `latency`, needs that here. The other arguments and the
    errors are those of `simulated_cluster`.
    """
    open_cluster = functools.partial(
        simulated_cluster,
        nodes,
        config=config,
        transport=transport,
        access=access,
        latency=latency,
        **options,
    )
    with concurrent.futures.ThreadPoolExecutor(1, "simulated-cluster") as executor:
        thread = _Thread(executor, open_cluster, keep_time)
        try:
            yield SimulatedClusterProxy(thread.call)
        finally:
            thread.end()


class _Thread:
    """A cluster in a thread, and the way to call its methods."""

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        open_cluster: Callable[[], contextlib.AbstractAsyncContextManager[SimulatedCluster]],
        keep_time: bool,
    ) -> None:
        self._open_cluster = open_cluster
        self._keep_time = keep_time
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._run = executor.submit(trio.run, self._main, started)
        self._result(started)

    async def _main(self, started: concurrent.futures.Future[None]) -> None:
        async with self._open_cluster() as self._cluster, trio.open_nursery() as nursery:
            self._nursery = nursery
            self._trio_token = trio.lowlevel.current_trio_token()
            nursery.start_soon(self._cluster.keep_time if self._keep_time else trio.sleep_forever)
            started.set_result(None)

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Make the thread call a method or look up an attribute, and wait for the result."""
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def call() -> None:
            try:
                there = getattr(self._cluster, name)
                done.set_result(there(*args, **options) if callable(there) else there)
            except Exception as error:  # whatever it is, it is the caller's
                done.set_exception(error)

        with contextlib.suppress(trio.RunFinishedError):
            self._trio_token.run_sync_soon(call)
        return self._result(done)

    def _result(self, done: concurrent.futures.Future[Any]) -> Any:
        """The result; if the thread ended first, raises what ended it."""
        concurrent.futures.wait([done, self._run], return_when=concurrent.futures.FIRST_COMPLETED)
        if not done.done():
            self._run.result()
            raise RuntimeError("the simulated cluster has ended")
        return done.result()

    def end(self) -> None:
        """End the cluster, and wait for it. Raises its error if it failed."""
        with contextlib.suppress(trio.RunFinishedError):
            self._trio_token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._run.result()


@contextlib.contextmanager
def simulated_cluster_in_process(
    nodes: int | Iterable[int] = 3,
    *,
    keep_time: bool = False,
    config: ClusterConfig | None = None,
    transport: TransportName = "shm",
    access: AccessRule | None = None,
    latency: Latency | None = None,
    **options: Any,
) -> Iterator[SimulatedClusterProxy]:
    """A cluster in a child process, during the block: `with`, in any kind of program.

    For a test that holds Python's lock for long, or forks. It starts about as fast as Python starts and
    imports trio. The child also ends if this process is killed. Arguments and errors are those of
    `simulated_cluster_in_thread`.
    """
    arguments = options | {
        "nodes": nodes if isinstance(nodes, int) else tuple(nodes),
        "keep_time": keep_time,
        "config": config,
        "transport": transport,
        "access": access,
        "latency": latency,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The child finds the same modules as this process.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Ctrl-C goes to the program, which then ends the block.
        start_new_session=True,
    )
    with process:
        child = _Child(process)
        child.ask(arguments)
        yield SimulatedClusterProxy(lambda *args, **options: child.ask((args, options)))


class _Child:
    """The pipes to a cluster in a process: one pickled value there, one pickled answer back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def ask(self, value: object) -> Any:
        """Send a value and wait for its answer. Raises what the child raised."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                _write(stdin, value)
                result, error = pickle.load(stdout)
            except (OSError, EOFError, ValueError) as ended:
                raise RuntimeError("the simulated cluster has ended: its process is gone") from ended
        if error is not None:
            raise error
        return result


def serve_parent() -> None:
    """The child's program: reads what to serve, then calls, until its input ends.

    Answers go to what was standard output; what anything prints goes to standard error.
    """
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(simulated_cluster_in_thread(**pickle.load(calls)))
        except Exception as error:  # such as a configuration that corosync would refuse
            _write(answers, (None, error))
            return
        with contextlib.suppress(EOFError, BrokenPipeError):
            _write(answers, (None, None))
            while True:
                args, options = pickle.load(calls)
                _write(answers, _outcome(cluster._call, args, options))


def _outcome(call: _CallMethod, args: Any, options: Any) -> tuple[Any, Exception | None]:
    try:
        return call(*args, **options), None
    except Exception as error:  # whatever it is, it is the caller's
        return None, error


def _write(stream: IO[bytes], value: object) -> None:
    stream.write(pickle.dumps(value))
    stream.flush()
