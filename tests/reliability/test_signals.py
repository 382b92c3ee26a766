"""A signal handler that raises, as for Ctrl-C, may end a blocking call anywhere; no other call suffers.

Strategy: Python runs signal handlers where a Python function begins and where a C function has returned. A
profile function is called at the same places. It raises at the first of them, then at the second, and so on
until the call completes.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE
from votequorum_ipc import Library, NodelistNotification, NotExist, QuorumState, Timeout, TrackFlags
from votequorum_ipc.blocking import Votequorum, watch_quorum
from votequorum_ipc.testing import simulated_cluster_in_process

UNKNOWN = 99


class Raised(Exception):
    """Raised by the signal handler."""


def _is_finalizing(frame: FrameType | None) -> bool:
    """Whether this frame runs on behalf of the garbage collector."""
    while frame is not None and "/votequorum_ipc/" in frame.f_code.co_filename:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def signal_at(place: int) -> Iterator[None]:
    """Raise `Raised` at the library's nth place, counted from 1, where a signal handler could run."""
    count = 0

    def at(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        if event in ("call", "c_return") and "/votequorum_ipc/" in frame.f_code.co_filename:
            if _is_finalizing(frame):
                return  # Python ignores exceptions raised there
            count += 1
            if count == place:
                raise Raised

    sys.setprofile(at)
    try:
        yield
    finally:
        sys.setprofile(None)


def raises(call: Callable[[], object], place: int) -> bool:
    """Whether the call was ended at that place."""
    try:
        with signal_at(place):
            call()
    except Raised:
        return True
    return False


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_an_interrupted_call_leaves_no_answer_to_the_next_one(daemon: Daemon, timeout: float | None) -> None:
    with Votequorum.initialize() as other:
        for place in itertools.count(1):
            with Votequorum.initialize() as vq:
                was_raised = raises(lambda: vq.getinfo(timeout=timeout), place)
                # corosync does not stall because of half a message.
                assert other.getinfo(timeout=DEADLINE).node_id
                with pytest.raises((NotExist, Library)):
                    vq.getinfo(UNKNOWN, timeout=DEADLINE)
            if not was_raised:
                break
    assert place > 50


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_no_event_goes_to_an_interrupted_wait(daemon: Daemon) -> None:
    for place in itertools.count(1):
        with Votequorum.initialize() as vq:
            try:
                was_raised = raises(lambda: vq.next_event(timeout=0.001), place)
            except Timeout:
                was_raised = False
            with contextlib.suppress(Library):
                vq.trackstart(7, TrackFlags.CURRENT)
                assert isinstance(vq.next_event(timeout=DEADLINE), NodelistNotification)
        if not was_raised:
            break
    assert place > 20


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_watcher_whose_question_was_interrupted_knows_quorum_when_it_is_asked_again() -> None:
    with (
        simulated_cluster_in_process(nodes=3) as cluster,
        watch_quorum(cluster.address(1), patience=DEADLINE) as watcher,
    ):
        watcher.current()
        for place in itertools.count(1, 7):  # odd and even in turn
            if place % 2:
                cluster.partition({1}, {2, 3})
            else:
                cluster.heal()
            was_raised = raises(watcher.current, place)
            view = watcher.current()
            if isinstance(view.error, Library):
                # The exception has ended the connection: unknown once, then asked again.
                view = watcher.current()
            assert view.state is (QuorumState.NOT_QUORATE if place % 2 else QuorumState.QUORATE)
            if not was_raised:
                break
    assert place > 300
