"""The targets find what is wrong: each, shown a defect of the kind it is for, fails."""

from __future__ import annotations

import gc
import struct
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import construct as c
import pytest
from hypothesis import strategies as st

from fuzz.runner import run_examples
from fuzz.targets import client, codec, hostile_server, ring
from votequorum_ipc.errors import MessageError
from votequorum_ipc.ipc import exchange
from votequorum_ipc.ring import buffer as ring_module
from votequorum_ipc.strategies.bursts import FrameBurst, RingBurst
from votequorum_ipc.strategies.handshakes import Act, Damage, ServerScript
from votequorum_ipc.strategies.messages import MESSAGES, almost_valid, frames_of
from votequorum_ipc.strategies.rings import RingLie
from votequorum_ipc.strategies.values import named_fields
from votequorum_ipc.wire import Layout
from votequorum_ipc.wire.fields import BytesOf, CharArray, ListOf, MarName, RestOfMessage, Tupled

SEED = 1


def fails(module: Any, examples: int = 400) -> BaseException:
    """What a target fails with."""
    [target] = module.TARGETS
    with target.session() as session, pytest.raises(BaseException) as caught:  # noqa: PT011
        run_examples(target, session, examples, SEED, shrink=False)
    return caught.value


def test_codec_notices_a_text_that_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    getinfo = MESSAGES["votequorum", "getinfo response"]
    decode = getinfo.decode

    def careless(data: bytes) -> Any:
        return decode(data[:-6] + bytes(6))

    monkeypatch.setitem(getinfo.__dict__, "decode", careless)
    monkeypatch.setattr(codec, "TARGETS", [_of_one_message(getinfo)])
    assert isinstance(fails(codec), AssertionError)


def _of_one_message(layout: Layout) -> Any:
    [target] = codec.TARGETS
    return replace(target, cases=almost_valid(frames_of("votequorum", layout)))


def test_ring_notices_a_writer_that_leaves_no_word_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "_MARGIN", ring_module._MARGIN - 4)
    assert isinstance(fails(ring), AssertionError | MessageError)


def test_ring_notices_a_reader_that_believes_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ring_module.Ring.read

    def credulous(self: ring_module.Ring) -> bytes | None:
        try:
            return read(self)
        except MessageError:
            raise IndexError("read what is not there") from None

    monkeypatch.setattr(ring_module.Ring, "read", credulous)
    assert isinstance(fails(ring), IndexError)


def test_hostile_server_notices_a_client_that_expects_only_what_it_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unexpected(Exception):
        def __init__(self, message: str, **field: str) -> None:
            super().__init__(message)

    monkeypatch.setattr(exchange, "MessageError", Unexpected)
    assert isinstance(fails(hostile_server), BaseExceptionGroup | Unexpected)


def bursts_of_nodelists(monkeypatch: pytest.MonkeyPatch, decode: Callable[[bytes], Any]) -> BaseException:
    """What the client's target fails with where nodelists are decoded so."""
    layout = MESSAGES["votequorum", "nodelist_notification event"]
    bursts = st.builds(FrameBurst, frames_of("votequorum", layout), st.integers(0, 99))
    monkeypatch.setattr(client, "TARGETS", [replace(client.TARGETS[0], cases=bursts)])
    monkeypatch.setitem(client.EVENT_DECODERS["votequorum"], layout.id, decode)
    return fails(client, examples=3)


def test_client_notices_an_error_that_is_not_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(data: bytes) -> Any:
        return struct.unpack_from("=I", data, struct.unpack_from("=I", data, 48)[0])

    assert "error: unpack_from requires" in str(bursts_of_nodelists(monkeypatch, unchecked))


def test_client_notices_a_count_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def believing(data: bytes) -> Any:
        return bytes(min(int.from_bytes(data[48:52], sys.byteorder), 1 << 24))

    assert "bytes were allocated for" in str(bursts_of_nodelists(monkeypatch, believing))


def test_client_notices_what_is_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytes] = []
    caught = bursts_of_nodelists(monkeypatch, lambda data: kept.append(bytes(200)))
    assert "bytes are still allocated after the burst" in str(caught)


def test_client_notices_a_ring_whose_length_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    bursts = st.builds(RingBurst, st.just(4083), st.just((24,)), st.integers(0, 99))
    monkeypatch.setattr(client, "TARGETS", [replace(client.TARGETS[0], cases=bursts)])

    def believing(ring: ring_module.Ring) -> Any:
        return bytes(8)[ring._data.load(0)]

    monkeypatch.setattr(client, "use", believing)
    assert "IndexError" in str(fails(client, examples=3))


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_an_honest_server_gives_every_client_what_it_asks_for(transport: Any) -> None:
    for service in hostile_server.USES:
        outcomes = hostile_server.meet(ServerScript(transport), service)
        # Events are what nobody sends here.
        assert set(outcomes) == {"done", "deadline"}
        assert outcomes.count("deadline") == (2 if service == "votequorum" else 1)


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_silent_server_leaves_the_client_its_deadline(transport: Any) -> None:
    outcomes = hostile_server.meet(ServerScript(transport, actions=(Act.NEVER,)), "votequorum")
    assert outcomes[0] == "deadline"


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize("way", ["request", "response", "event"])
def test_a_file_that_a_server_cuts_ends_the_connection_with_an_error(transport: Any, way: str) -> None:
    [target] = hostile_server.TARGETS
    cut = Damage(way, RingLie("length", "data", 0))
    with target.session():
        outcomes = hostile_server.meet(ServerScript(transport, actions=(cut,)), "votequorum")
    assert set(outcomes) == {"MessageError"}


# --- work linear in the input ---


def opcodes(layout: Layout, data: bytes) -> int:
    """How many steps the interpreter takes to decode."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += 1
        return trace

    decode = layout.decode
    decode(data)  # what is made once is made now
    gc.collect()
    # A finalizer of an earlier test's rubbish would be traced too.
    gc.disable()
    sys.settrace(trace)
    try:
        decode(data)
    finally:
        sys.settrace(None)
        gc.enable()
    return count


def memory(layout: Layout, data: bytes) -> int:
    """How many bytes decoding holds at its peak, the result included."""
    decode = layout.decode
    decode(data)  # what is made once is made now
    tracemalloc.start()
    try:
        result = decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del result


def message(layout: Layout, size: int) -> bytes:
    return layout.encode(**{name: filled(bare, size) for name, bare in named_fields(layout).items()})


of_any_length = pytest.mark.parametrize(
    "layout", [layout for layout in MESSAGES.values() if layout.fixed_size is None], ids=str
)


@of_any_length
def test_decoding_twice_as_much_takes_at_most_twice_as_many_steps(layout: Layout) -> None:
    steps = {size: opcodes(layout, message(layout, size)) for size in (30, 60, 120)}
    assert steps[120] - steps[60] <= 2 * (steps[60] - steps[30]) + 10


@of_any_length
def test_decoding_twice_as_much_takes_at_most_twice_as_much_memory(layout: Layout) -> None:
    held = {size: memory(layout, message(layout, size)) for size in (30, 60, 120)}
    assert held[120] - held[60] <= 2 * (held[60] - held[30]) + 100


def filled(bare: c.Construct, size: int) -> Any:
    """A value of a field, as long as it can be told to be."""
    match bare:
        case ListOf():
            return [filled(bare.subcon, size)] * size
        case Tupled():
            return (0,) * sum(bool(field.name) for field in bare.subcon.subcons)
        case BytesOf() | RestOfMessage():
            return bytes(size)
        case CharArray() | MarName():
            return ""
    return 0
