"""The bookkeeping of calls and events by itself: what a failure leaves to whom."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from votequorum_ipc import CsError, Library, MessageError
from votequorum_ipc.ipc.exchange import EventWaiter, Exchange, PendingCall, Waiter


class Failing:
    """A transport that delivers what it is given, and then fails as often as it is asked."""

    name: Literal["shm"] = "shm"
    response_room = 100
    max_unanswered = 10

    def __init__(self, events: list[bytes], failure: CsError) -> None:
        self.events, self.failure = events, failure
        self.failures = 0
        self.hung_up = 0

    @property
    def event_socket(self) -> socket.socket:
        raise AssertionError("nobody waits here")

    def check_lengths(self) -> None: ...

    def cost(self, response_size: int) -> int:
        return response_size

    def flow_control(self) -> int:
        return 0

    def send(self, messages: Sequence[bytes]) -> int:
        return len(messages)

    def expect_no_answer(self) -> None: ...

    def receive(self) -> bytes | None:
        return None

    def receive_event(self) -> bytes | None:
        if self.events:
            return self.events.pop(0)
        self.failures += 1
        raise type(self.failure)(f"{self.failure} {self.failures}")

    def settle_doorbells(self) -> None: ...

    def answered_later(self) -> bool:
        return False

    def hang_up(self) -> None:
        self.hung_up += 1

    def close(self, **_: Any) -> None: ...

    def disown(self) -> None: ...


@pytest.mark.parametrize("failure", [Library("gone"), MessageError("wrong")])
def test_a_second_failure_while_a_connection_is_broken_off_hides_neither_the_first_nor_what_came(
    failure: CsError,
) -> None:
    woken: list[Waiter] = []
    transport = Failing([b"one", b"two"], failure)
    exchange = Exchange(transport, woken.append)
    call, event, news = PendingCall(b"", 1), EventWaiter(), Waiter()
    exchange.unsent.append(call)
    exchange.send()
    exchange.event_waiters.append(event)
    exchange.news_waiters[news] = None
    exchange.receive()
    assert str(exchange.error) == f"{failure} 1"
    assert str(call.error) == f"{failure} 1"
    assert (transport.failures, transport.hung_up) == (2, 1)
    assert event.event == b"one"
    assert exchange.take_event() == b"two"
    assert {*woken} == {call, event, news}
    exchange.receive()
    assert transport.failures == 2
