"""The clients for a program without an event loop: plain calls, timeouts, threads, and imports."""

from __future__ import annotations

import inspect
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import votequorum_ipc
from tests.client.support import nothing_left
from tests.real.config import MANY_VOTES
from tests.real.daemon import Daemon
from tests.real.waiting import eventually
from tests.ways import LOOPS_IMPORTED, WATCH_IMPORTS
from votequorum_ipc import (
    BadHandle,
    BadOperation,
    Busy,
    DispatchFlags,
    ExpectedVotesNotification,
    NodelistNotification,
    NotExist,
    QuorumNotification,
    QuorumType,
    Timeout,
    TrackFlags,
    TryAgain,
)
from votequorum_ipc import blocking as package
from votequorum_ipc.blocking import Cfg, Cmap, Quorum, Votequorum
from votequorum_ipc.blocking.handle import Handle
from votequorum_ipc.cmap import TrackType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vq(daemon: Daemon) -> Iterator[Votequorum]:
    """A handle on each transport in turn."""
    with nothing_left(), Votequorum.initialize(timeout=30) as handle:
        yield handle
        assert handle.getinfo(1, timeout=30).node_id == 1


def python(program: str, daemon: Daemon) -> str:
    """The output of a program that runs on the daemon's host."""
    command = daemon.host.command([sys.executable, "-W", "error", "-c", program])
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_a_script_reads_quorum_without_importing_an_event_loop(daemon: Daemon) -> None:
    program = f"""{WATCH_IMPORTS}
from votequorum_ipc.blocking import Cfg, Cmap, Quorum, Votequorum

with Votequorum.initialize() as vq, Quorum.initialize() as quorum, Cmap.initialize() as cmap:
    print(vq.getinfo(timeout=1.0).node_id, quorum.getquorate(), cmap.get("quorum.provider"))
with Cfg.initialize() as cfg:
    print(cfg.local_get())
print({LOOPS_IMPORTED})
"""
    assert python(program, daemon) == "1 True corosync_votequorum\n1\nset()\n"


def test_events_come_from_an_iterator(vq: Votequorum) -> None:
    vq.trackstart(7)
    events = vq.events(timeout=30)
    assert [type(next(events)) for _ in range(2)] == [NodelistNotification, QuorumNotification]
    vq.setvotes(1, MANY_VOTES)
    vq.setexpected(MANY_VOTES + 5)
    for event in events:
        if event == ExpectedVotesNotification(7, MANY_VOTES + 5):
            break


def test_an_iterator_without_events_times_out_and_can_go_on(vq: Votequorum) -> None:
    vq.trackstart(flags=TrackFlags.CHANGES_ONLY)
    events = vq.events(timeout=0.01)
    for _ in range(3):
        with pytest.raises(Timeout):
            next(events)
    vq.trackstop()
    vq.trackstart()
    assert isinstance(next(events), NodelistNotification)


def test_waiting_for_events_before_trackstart_says_what_is_missing(daemon: Daemon) -> None:
    with Votequorum.initialize() as vq, Quorum.initialize() as quorum, Cmap.initialize() as cmap:
        for handle, call in ((vq, "trackstart"), (quorum, "trackstart"), (cmap, "track_add")):
            with pytest.raises(BadOperation, match=f"call {call} first"):
                next(handle.events())


def test_callbacks_are_dispatched_and_may_make_calls(daemon: Daemon) -> None:
    called: list[Any] = []

    def nodelist(event: NodelistNotification) -> None:
        called.append((event.members, handle.getinfo(timeout=30).node_id))

    with Votequorum.initialize(nodelist_notify=nodelist) as handle:
        handle.trackstart()
        handle.dispatch(DispatchFlags.ONE, timeout=30)
        assert called == [((1,), 1)]
        handle.dispatch(DispatchFlags.ALL)
        with pytest.raises(TryAgain):
            handle.dispatch(DispatchFlags.ONE_NONBLOCKING)
        with pytest.raises(Timeout):
            handle.dispatch(DispatchFlags.BLOCKING, timeout=0.01)


def test_a_call_that_takes_too_long_times_out_and_leaves_the_handle_usable(
    vq: Votequorum, daemon: Daemon
) -> None:
    for timeout in (0.0, 0.001, 0.02):
        with daemon.frozen(), pytest.raises(Timeout, match="still usable"):
            vq.getinfo(99, timeout=timeout)
        assert vq.getinfo(1).node_id == 1
        with pytest.raises(NotExist):
            vq.getinfo(99)


def test_connecting_to_a_daemon_that_hangs_times_out_and_leaves_nothing(daemon: Daemon) -> None:
    for initialize in (Votequorum.initialize, Quorum.initialize, Cmap.initialize, Cfg.initialize):
        with nothing_left(), daemon.frozen(), pytest.raises(Timeout):
            initialize(timeout=0.01)


def test_a_handle_belongs_to_its_thread(vq: Votequorum) -> None:
    errors: list[BaseException] = []

    def call() -> None:
        for each in (vq.getinfo, vq.finalize, lambda: vq.next_event(timeout=1)):
            try:
                each()
            except BadHandle as error:
                errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [str(error).partition(": ")[2] for error in errors] == ["each thread needs its own"] * 3


def test_threads_with_a_handle_each_do_not_disturb_one_another(daemon: Daemon) -> None:
    wrong: list[object] = []

    def ask() -> None:
        with Votequorum.initialize() as vq:
            for _ in range(200):
                if vq.getinfo(1, timeout=30).node_id != 1:
                    wrong.append(1)

    # A thread inherits the network namespace of this one, the daemon's.
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_signal_handler_cannot_call_in_the_middle_of_a_call(vq: Votequorum, daemon: Daemon) -> None:
    def call(*_: object) -> None:
        vq.getinfo()

    before = signal.signal(signal.SIGUSR1, call)
    try:
        with daemon.frozen():
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(Busy, match="one call at a time"):
                vq.getinfo(timeout=30)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_may_call_on_its_own_handle_after_the_interrupted_calls_deadline(
    vq: Votequorum,
) -> None:
    answers: list[object] = []

    def call(*_: object) -> None:
        time.sleep(0.2)  # until the deadline of next_event has passed
        answers.append(other.getinfo(timeout=30).node_id)

    before = signal.signal(signal.SIGALRM, call)
    try:
        with Votequorum.initialize() as other:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Timeout):
                vq.next_event(timeout=0.1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert answers == [1]


def test_a_call_in_a_callback_has_its_own_timeout_and_not_that_of_dispatch(daemon: Daemon) -> None:
    answers: list[object] = []

    def nodelist(_: NodelistNotification) -> None:
        time.sleep(0.2)  # until the deadline of dispatch has passed
        answers.append(handle.getinfo(timeout=30).node_id)
        with daemon.frozen(), pytest.raises(Timeout, match=r"within 0\.02 s"):
            handle.getinfo(timeout=0.02)

    with Votequorum.initialize(nodelist_notify=nodelist) as handle:
        handle.trackstart()
        # The event comes before the answer to trackstart, so dispatch does not wait.
        handle.dispatch(DispatchFlags.ONE, timeout=0.1)
    assert answers == [1]


def test_the_descriptor_is_for_select(vq: Votequorum) -> None:
    assert select.select([vq], [], [], 0) == ([], [], [])
    vq.trackstart()
    readable, _, _ = select.select([vq], [], [], 30)
    assert readable == [vq]
    for _ in range(2):
        vq.next_event(timeout=30)
    eventually(lambda: select.select([vq], [], [], 0) == ([], [], []))


def test_leaving_the_block_after_finalize_is_fine_and_a_second_finalize_is_not(daemon: Daemon) -> None:
    with Quorum.initialize() as handle:
        assert handle.quorum_type is QuorumType.SET
        handle.finalize()
        with pytest.raises(BadHandle):
            handle.finalize()
        with pytest.raises(BadHandle):
            handle.getquorate()


def test_a_forgotten_handle_warns_and_is_freed(daemon: Daemon) -> None:
    with nothing_left():
        forgotten = [Votequorum.initialize()]
        with pytest.warns(ResourceWarning, match="unclosed"):
            forgotten.clear()


@pytest.mark.parametrize("action", ["default", "error"])
def test_a_handle_left_open_at_interpreter_exit_warns_and_is_freed(daemon: Daemon, action: str) -> None:
    program = """
from votequorum_ipc.blocking import Quorum, Votequorum

handles = [Votequorum.initialize(), Quorum.initialize()]
handles[0].circle = handles
handles[0].fileno()
"""
    command = daemon.host.command([sys.executable, "-W", f"{action}::ResourceWarning", "-c", program])
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    for service in ("votequorum", "quorum"):
        assert run.stderr.count(f"ResourceWarning: unclosed <open connection to '{service}'") == 1
    assert "__del__" not in run.stderr
    eventually(lambda: daemon.connections() == [])


def test_cmap_changes_are_followed(daemon: Daemon) -> None:
    with Cmap.initialize() as cmap, Votequorum.initialize() as vq:
        track = cmap.track_add("runtime.votequorum.ev_barrier", TrackType.MODIFY)
        vq.setvotes(1, MANY_VOTES)
        vq.setexpected(MANY_VOTES)
        change = cmap.next_event(timeout=30)
        assert (change.track, change.key) == (track, "runtime.votequorum.ev_barrier")
        cmap.track_delete(track)


# --- the same names as the asynchronous classes ---

CLASSES = [(getattr(votequorum_ipc, name), getattr(package, name)) for name in ("Votequorum", "Quorum")]
CLASSES += [(votequorum_ipc.Cmap, Cmap), (votequorum_ipc.Cfg, Cfg)]

ASYNCHRONOUS_ONLY = {"connection", "STARTS_EVENTS"}
"""`connection` is the asynchronous libqb connection, which a blocking program cannot use."""


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("theirs", "ours"), CLASSES)
def test_a_blocking_class_has_the_names_and_parameters_of_the_asynchronous_one(
    theirs: type, ours: type
) -> None:
    annotated = {name for name in getattr(theirs, "__annotations__", {}) if not name.startswith("_")}
    assert public(ours) == (public(theirs) | annotated) - ASYNCHRONOUS_ONLY
    for name in public(ours):
        blocking, asynchronous = inspect.getattr_static(ours, name), getattr(theirs, name, None)
        if isinstance(blocking, property):
            continue
        parameters = [*inspect.signature(getattr(ours, name)).parameters.values()]
        if inspect.iscoroutinefunction(asynchronous) and name != "finalize":
            assert parameters.pop().name == "timeout"
        if name == "events":
            parameters.pop()
        expected = [*inspect.signature(asynchronous).parameters.values()]  # type: ignore[arg-type]
        assert [(each.name, each.kind, each.default) for each in parameters] == [
            (each.name, each.kind, each.default) for each in expected
        ]
        assert getattr(ours, name).__doc__


def test_the_blocking_clients_are_up_to_date_with_the_asynchronous_ones() -> None:
    pytest.importorskip("ruff", reason="ruff, which formats the generated modules, is not installed")
    check = [sys.executable, "tools/blocking_source.py", "--check"]
    run = subprocess.run(check, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0), "run: python tools/blocking_source.py"


def test_all_clients_share_one_handle_class() -> None:
    assert all(issubclass(ours, Handle) for _, ours in CLASSES)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018
    assert {"Cfg", "Cmap", "Quorum", "Votequorum"} <= {*dir(package)}
