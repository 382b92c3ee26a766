"""The bookkeeping of calls and events alone: the order of sending, the receivers, and an end's effects."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import pytest

from votequorum_ipc import CsError, Library, MessageError, QueueFull, TryAgain
from votequorum_ipc.ipc import MAX_UNREAD_EVENT_BYTES, exchange
from votequorum_ipc.ipc.exchange import EventWaiter, Exchange, PendingCall, Undo, Waiter

OVERHEAD: Final = 48
"""Bytes that an event takes in addition to its content."""


class Scripted:
    """A transport that delivers what it is given, and records what is sent."""

    name: Literal["shm"] = "shm"

    def __init__(self, room: int = 100, places: int = 10) -> None:
        self.response_room, self.max_unanswered = room, places
        self.sent: list[bytes] = []
        self.takes = 1000
        self.level = 0
        self.responses: list[bytes] = []
        self.events: list[bytes] = []
        self.failure: Exception | BaseException | None = None
        """Raised when there is no event to deliver."""
        self.cut: CsError | OSError | None = None
        self.failures = self.hung_up = self.checked = self.settled = self.one_way = 0

    @property
    def event_socket(self) -> socket.socket:
        raise AssertionError("this transport cannot wait")

    def check_lengths(self) -> None:
        self.checked += 1
        if self.cut is not None:
            raise self.cut

    def cost(self, response_size: int) -> int:
        return response_size

    def flow_control(self) -> int:
        return self.level

    def send(self, messages: Sequence[bytes]) -> int:
        taken = messages[: self.takes]
        self.sent += taken
        return len(taken)

    def expect_no_answer(self) -> None:
        self.one_way += 1

    def receive(self) -> bytes | None:
        return self.responses.pop(0) if self.responses else None

    def receive_event(self) -> bytes | None:
        if self.events:
            return self.events.pop(0)
        if self.failure is not None:
            self.failures += 1
            raise self.failure
        return None

    def settle_doorbells(self) -> None:
        self.settled += 1

    def answered_later(self) -> bool:
        return False

    def hang_up(self) -> None:
        self.hung_up += 1

    def close(self, **_: Any) -> None: ...

    def disown(self) -> None: ...


class Subject(Exchange):
    """An exchange over a scripted transport, and the waiters that it woke."""

    def __init__(self, transport: Scripted) -> None:
        self.woken: list[Waiter] = []
        self.wire = transport
        super().__init__(transport, self.woken.append)

    def call(
        self, text: bytes, cost: int = 1, deferred: bool = False, undo: Undo | None = None
    ) -> PendingCall:
        """Queue a call."""
        call = PendingCall(text, cost, deferred, undo)
        self.add(call)
        return call

    def sends(self) -> list[bytes]:
        """The messages that are sent now."""
        before = len(self.wire.sent)
        self.send()
        return self.wire.sent[before:]

    def answers(self, *responses: bytes) -> None:
        """Let responses arrive."""
        self.wire.responses += responses
        self.receive()

    def reports(self, *events: bytes) -> None:
        """Let events arrive."""
        self.wire.events += events
        self.receive()

    def waits(self) -> EventWaiter:
        """Add a waiter for an event."""
        waiter = EventWaiter()
        self.event_waiters.append(waiter)
        return waiter


def subject(room: int = 100, places: int = 10) -> Subject:
    """An exchange whose daemon has room for answers of `room` bytes in total, and for this many calls."""
    return Subject(Scripted(room, places))


# --- calls ---


def test_calls_are_answered_in_the_order_of_sending() -> None:
    it = subject()
    calls = [it.call(b"a"), it.call(b"b")]
    assert it.sends() == [b"a", b"b"]
    assert (it.woken, [call.ready for call in calls]) == ([], [False, False])
    it.answers(b"1", b"2")
    assert [(call.ready, call.response, call.error) for call in calls] == [
        (True, b"1", None),
        (True, b"2", None),
    ]
    assert it.woken == calls
    assert it.sends() == []


def test_calls_are_sent_while_there_is_room_for_their_answers() -> None:
    it = subject(room=10)
    for _ in range(3):  # released room
        for cost in (6, 4, 1):
            it.call(b"%d" % cost, cost)
        assert it.sends() == [b"6", b"4"]
        assert it.sends() == []
        it.answers(b"")
        assert it.sends() == [b"1"]
        it.answers(b"", b"")
    assert it.error is None


@pytest.mark.parametrize("others", [0, 1])
def test_the_only_call_under_way_is_sent_however_large_its_answer(others: int) -> None:
    it = subject(room=10)
    it.call(b"large", 1000)
    for _ in range(others):
        it.call(b"small", 1)
    assert it.sends() == [b"large"]
    it.call(b"later", 1)
    assert it.sends() == []
    it.answers(b"")
    assert it.sends() == [b"small"] * others + [b"later"]


@pytest.mark.parametrize("calls", [1, 3])
def test_no_more_calls_are_under_way_than_the_transport_allows(calls: int) -> None:
    it = subject(places=0)
    for _ in range(calls):
        it.call(b"x")
    assert it.sends() == []
    it.wire.max_unanswered = 2
    assert it.sends() == [b"x"] * min(calls, 2)
    it.call(b"y")
    assert it.sends() == ([b"y"] if calls == 1 else [])


def test_nothing_is_sent_after_a_call_that_is_answered_later() -> None:
    it = subject()
    it.call(b"before")
    it.call(b"later", deferred=True)
    it.call(b"behind")
    assert it.sends() == [b"before", b"later"]
    it.answers(b"")
    assert it.sends() == []
    it.answers(b"")
    assert it.sends() == [b"behind"]


def test_a_one_way_message_is_done_when_sent_and_takes_no_answer() -> None:
    it = subject()
    one_way, call = it.call(b"one way"), it.call(b"call")
    one_way.one_way = True
    assert it.sends() == [b"one way", b"call"]
    assert (one_way.ready, call.ready, it.wire.one_way, it.woken) == (True, False, 1, [one_way])
    it.answers(b"1")
    assert (one_way.response, call.response) == (b"", b"1")


def test_messages_that_the_transport_does_not_accept_are_sent_later() -> None:
    it = subject()
    calls = [it.call(b"a"), it.call(b"b")]
    it.wire.takes = 1
    assert it.sends() == [b"a"]
    it.answers(b"1")
    assert it.sends() == [b"b"]
    it.answers(b"2")
    assert [call.response for call in calls] == [b"1", b"2"]


def test_flow_control_refuses_calls_but_keeps_those_that_no_caller_could_repeat() -> None:
    it = subject()
    it.wire.level = 1
    posted = PendingCall(b"posted", 1)
    it.post(posted)
    calls = [it.call(b"a"), it.call(b"b")]
    assert it.sends() == []
    assert [type(call.error) for call in calls] == [TryAgain, TryAgain]
    assert (it.woken, posted.ready) == (calls, False)
    it.wire.level = 2  # corosync synchronises: requests wait in the ring
    assert it.sends() == [b"posted"]


def test_the_answer_to_a_posted_call_is_dropped() -> None:
    it = subject()
    posted = PendingCall(b"posted", 1, undo=lambda _: None)
    it.post(posted)
    assert not posted.wanted
    call = it.call(b"call")
    it.send()
    it.answers(b"1", b"2")
    assert call.response == b"2"


def test_an_unexpected_answer_ends_the_connection() -> None:
    it = subject()
    it.answers(b"1")
    assert isinstance(it.error, MessageError)
    assert (it.error.field, it.wire.hung_up) == ("response", 1)


# --- calls that are cancelled ---


def test_a_call_cancelled_before_it_was_sent_is_never_sent() -> None:
    it = subject()
    first, second, third = it.call(b"a"), it.call(b"b", undo=lambda _: b"undo"), it.call(b"c")
    it.abandon(second)
    assert it.sends() == [b"a", b"c"]
    it.answers(b"1", b"2")
    assert (first.response, second.response, third.response) == (b"1", b"", b"2")
    assert it.sends() == []


def test_the_answer_to_a_cancelled_call_goes_to_no_other_call() -> None:
    it = subject()
    cancelled, call = it.call(b"a"), it.call(b"b")
    it.send()
    it.abandon(cancelled)
    assert not cancelled.wanted
    it.call(b"c")
    assert it.sends() == [b"c"]  # there is nothing to undo, so nothing waits
    it.answers(b"1", b"2")
    assert call.response == b"2"


def undoing(answer: bytes) -> bytes:
    return b"undo " + answer


def test_the_effects_of_cancelled_calls_are_undone_before_anything_else_is_sent() -> None:
    it = subject()
    calls = [it.call(b"a", undo=undoing), it.call(b"b", undo=undoing), it.call(b"c")]
    it.send()
    for call in calls[:2]:
        it.abandon(call)
    it.call(b"d")
    assert it.sends() == []
    it.answers(b"1")
    assert it.sends() == []
    it.answers(b"2")
    assert it.sends() == [b"undo 2", b"undo 1", b"d"]
    it.answers(b"3", b"", b"", b"4")
    assert it.sends() == []
    assert (calls[2].response, it.error) == (b"3", None)


def test_a_call_answered_at_the_moment_of_its_cancellation_is_undone() -> None:
    it = subject()
    call, other = it.call(b"a", undo=undoing), it.call(b"b", undo=undoing)
    it.send()
    it.answers(b"1", b"2")
    it.abandon(call)
    assert it.sends() == [b"undo 1"]
    it.wire.level = 1  # no caller waits for an undoing call, so it must not be refused
    it.abandon(other)
    assert it.sends() == []
    it.wire.level = 0
    assert it.sends() == [b"undo 2"]


def failing(_: bytes) -> bytes:
    raise MessageError("unreadable")


@pytest.mark.parametrize("undo", [lambda _: None, failing, None])
def test_an_answer_without_anything_to_undo_is_dropped(undo: Undo | None) -> None:
    it = subject()
    answered, under_way = it.call(b"a", undo=undo), it.call(b"b", undo=undo)
    it.send()
    it.answers(b"1")
    it.abandon(answered)
    it.abandon(under_way)
    it.answers(b"2")
    assert (it.sends(), it.error) == ([], None)


def test_a_failed_call_needs_no_undoing() -> None:
    it = subject()
    it.wire.level = 1
    call = it.call(b"a", undo=undoing)
    it.send()
    it.wire.level = 0
    it.abandon(call)
    assert it.sends() == []


def test_after_the_end_nothing_is_undone() -> None:
    it = subject()
    call = it.call(b"a", undo=undoing)
    it.send()
    it.answers(b"1")
    it.fail(Library("gone"))
    it.abandon(call)
    assert not it._unsent


def test_the_time_to_drop_a_cancelled_call_does_not_grow_with_their_number() -> None:
    looks = 0

    class Counted(PendingCall):
        __slots__ = ()
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return self is other

    it = subject()
    calls = [Counted(b"", 1) for _ in range(200)]
    for call in calls:
        it.add(call)
    for call in reversed(calls):
        it.abandon(call)
    assert (it.sends(), looks) == ([], 0)


# --- events ---


def test_events_go_to_waiters_in_order_and_the_rest_is_kept() -> None:
    it = subject()
    waiters = [it.waits(), it.waits()]
    news = Waiter()
    it.news_waiters[news] = None
    it.reports(b"1", b"2")
    assert [(waiter.event, waiter.ready) for waiter in waiters] == [(b"1", True), (b"2", True)]
    assert (it.woken, news.ready) == (waiters, False)
    it.reports(b"3", b"4")
    assert (news.ready, it.woken, [*it.news_waiters]) == (True, [*waiters, news], [])
    assert [it.take_event(), it.take_event()] == [b"3", b"4"]
    assert not it.events
    assert it.wire.settled == 2


def test_a_waiter_that_is_gone_takes_no_event() -> None:
    it = subject()
    gone, waiter = it.waits(), it.waits()
    gone.gone = True
    it.reports(b"1")
    assert (gone.event, waiter.event) == (None, b"1")


def test_a_cancelled_waiter_gives_its_event_to_the_next_or_back() -> None:
    it = subject()
    first, second, third = it.waits(), it.waits(), it.waits()
    it.stop_waiting(second)
    it.stop_waiting(EventWaiter())  # a signal handler kept this one from waiting
    it.reports(b"1")
    assert (first.event, second.event, third.event) == (b"1", None, None)
    it.stop_waiting(first)
    assert third.event == b"1"
    it.reports(b"2")
    it.stop_waiting(third)
    assert [*it.events] == [b"1", b"2"]


def test_a_waiter_woken_by_the_end_has_no_event_to_give_back() -> None:
    it = subject()
    waiter = it.waits()
    it.fail(Library("gone"))
    it.stop_waiting(waiter)
    assert (waiter.ready, waiter.event, [*it.events]) == (True, None, [])


def test_the_limit_is_8_mib() -> None:
    assert MAX_UNREAD_EVENT_BYTES == 8 * 1024 * 1024


def test_events_are_kept_up_to_the_limit_and_outlive_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "MAX_UNREAD_EVENT_BYTES", 2 * (10 + OVERHEAD))
    it = subject()
    for _ in range(3):  # memory of events that were taken is free again
        it.reports(b"x" * 10, b"y" * 10)
        assert it.error is None
        it.take_event()
        it.take_event()
    waiter = it.waits()
    it.reports(b"x" * 10)
    it.stop_waiting(waiter)  # an event that was given back counts again
    it.reports(b"y" * 10)
    assert it.error is None
    it.reports(b"")
    assert isinstance(it.error, QueueFull)
    assert ([*it.events][:2], it.wire.hung_up) == ([b"x" * 10, b"y" * 10], 1)


# --- the end ---


@pytest.mark.parametrize("failure", [Library("gone"), MessageError("wrong")])
def test_a_second_failure_while_a_connection_closes_hides_neither_the_first_nor_what_arrived(
    failure: CsError,
) -> None:
    it = subject()
    it.wire.failure = failure
    unanswered, news = it.call(b""), Waiter()
    it.send()
    unsent, waiter = it.call(b"", deferred=True), it.waits()
    it.news_waiters[news] = None
    it.reports(b"one", b"two")
    assert it.error is failure
    assert [str(call.error) for call in (unanswered, unsent)] == [str(failure)] * 2
    assert unanswered.error is not unsent.error
    assert (it.wire.failures, it.wire.hung_up) == (2, 1)
    assert waiter.event == b"one"
    assert it.take_event() == b"two"
    assert {*it.woken} == {unanswered, unsent, waiter, news}
    assert (it.unanswered, it.news_waiters, it.sends()) == (type(it.unanswered)(), {}, [])
    it.receive()
    assert it.wire.failures == 2


def test_every_waiter_for_an_event_gets_the_end() -> None:
    it = subject()
    waiters, news = [it.waits(), it.waits()], Waiter()
    it.news_waiters[news] = None
    it.fail(Library("gone"))
    assert [(waiter.ready, waiter.event) for waiter in waiters] == [(True, None)] * 2
    assert it.woken == [*waiters, news]
    assert not it.event_waiters


def test_a_failed_system_call_is_the_end_with_its_reason() -> None:
    it = subject()
    call = it.call(b"a")
    it.send()
    it.wire.failure = OSError(5, "Input/output error")
    it.answers()
    assert isinstance(call.error, Library)
    assert "Input/output error; connect again" in str(call.error)


def test_an_exception_from_a_signal_handler_ends_the_connection_and_propagates() -> None:
    it = subject()
    call = it.call(b"a")
    it.send()
    it.wire.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        it.receive()
    assert "KeyboardInterrupt was raised while a message was being sent or received" in str(call.error)
    assert (it.wire.failures, it.wire.hung_up) == (1, 1)


# --- the lengths of the shared files ---


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time; it starts half a second after the clock's start."""
    now = 0.5
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def set_(seconds: float) -> None:
        nonlocal now
        now = seconds

    return set_


def test_lengths_are_checked_at_the_first_touch_and_then_every_200_microseconds(
    clock: Callable[[float], None],
) -> None:
    it = subject()
    it.receive()
    assert it.wire.checked == 1
    clock(0.5 + 199e-6)
    it.call(b"a")
    assert it.sends() == [b"a"]
    assert it.wire.checked == 1
    clock(it._check_lengths_at)
    it.receive()
    assert it.wire.checked == 2
    clock(0.5 + 401e-6)
    it.receive()
    assert it.wire.checked == 3


@pytest.mark.parametrize("cut", [MessageError("cut", field="header"), OSError(9, "Bad file descriptor")])
def test_a_truncated_file_ends_the_connection_and_is_not_touched(cut: CsError | OSError) -> None:
    it = subject()
    call = it.call(b"a")
    it.wire.cut = cut
    it.wire.events = [b"not touched"]
    it.receive()
    assert it.wire.events == [b"not touched"]
    assert isinstance(call.error, MessageError if isinstance(cut, MessageError) else Library)
    assert it.wire.hung_up == 1
