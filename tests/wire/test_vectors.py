"""We read the frames recorded between corosync 3.1.7 and its C clients as those programs did."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol_specs.frames import (
    REFUSAL,
    STRUCTURES,
    VECTORS,
    Frame,
    from_hex_lines,
    hex_lines,
    layout_of,
    load,
)
from protocol_specs.layouts import padding
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.types import InfoFlags
from votequorum_ipc.wire import SERVICES, Kind, Layout, message_id, reply_error
from votequorum_ipc.wire.setup import RING_HEADER

if sys.byteorder != "little":
    pytest.skip("the frames were recorded on a little-endian machine", allow_module_level=True)

FRAMES = [(service, frame) for service in SERVICES for frame in load(service)]
OTHER_REFUSALS = {CsErrorCode.TRY_AGAIN, CsErrorCode.INVALID_PARAM}


def ids(frames: list[tuple[str, Frame]]) -> list[str]:
    return [f"{service}: {frame}" for service, frame in frames]


def parametrize(frames: list[tuple[str, Frame]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("service", "frame"), frames, ids=ids(frames))


def is_failure(service: str, frame: Frame) -> bool:
    """Whether only the header of a response has a meaning."""
    layout = layout_of(service, frame)
    if layout is None or layout.kind is Kind.REQUEST:
        return False
    return reply_error(frame.data) != (0 if service == "setup" else CsErrorCode.OK)


MESSAGES = [(service, frame) for service, frame in FRAMES if layout_of(service, frame)]
WHOLE = [(service, frame) for service, frame in MESSAGES if not is_failure(service, frame)]
FAILURES = [(service, frame) for service, frame in MESSAGES if is_failure(service, frame)]


def named(service: str, frame: Frame) -> Layout:
    layout = layout_of(service, frame)
    assert layout
    return layout


def same_but_for_padding(layout: Layout, recorded: bytes, ours: bytes) -> None:
    """Each byte with a meaning is the same, and each other byte of ours is zero."""
    assert len(ours) == len(recorded)
    noise = padding(layout.construct, recorded)
    assert bytes(0 if i in noise else byte for i, byte in enumerate(recorded)) == ours


@parametrize(WHOLE)
def test_a_recorded_message_is_written_as_it_was_read(service: str, frame: Frame) -> None:
    layout = named(service, frame)
    same_but_for_padding(layout, frame.data, layout.encode(**layout.decode(frame.data)._asdict()))


@parametrize(WHOLE)
def test_construct_itself_reads_and_writes_it_the_same_way(service: str, frame: Frame) -> None:
    layout = named(service, frame)
    parsed = layout.construct.parse(frame.data)
    assert (parsed.id, parsed.size) == (layout.id, len(frame.data))
    assert [tupled(parsed[name]) for name in layout.record._fields] == list(layout.decode(frame.data))
    same_but_for_padding(layout, frame.data, layout.construct.build(parsed))


def tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) and not hasattr(value, "_fields") else value


@parametrize(FAILURES)
def test_a_recorded_failure_has_a_valid_header(service: str, frame: Frame) -> None:
    layout = named(service, frame)
    assert message_id(frame.data) == layout.id
    assert len(frame.data) >= (layout.fixed_size or 0)
    error = reply_error(frame.data)
    if service == "setup":
        assert error == -errno.EACCES
    else:
        assert f"CS_ERR_{CsErrorCode(error).name}" in frame.context


@parametrize([(service, frame) for service, frame in FRAMES if frame.message == REFUSAL])
def test_a_refusal_is_a_bare_header_with_id_0(service: str, frame: Frame) -> None:
    assert (message_id(frame.data), len(frame.data)) == (0, 24)
    assert reply_error(frame.data) in OTHER_REFUSALS


@parametrize([(service, frame) for service, frame in FRAMES if frame.message in STRUCTURES])
def test_structures_in_shared_memory_are_as_long_as_their_declaration(service: str, frame: Frame) -> None:
    declaration = STRUCTURES[frame.message]
    assert len(frame.data) == declaration.sizeof()
    assert declaration.build(declaration.parse(frame.data)) == frame.data


def test_every_message_that_corosync_3_1_7_has_is_recorded() -> None:
    recorded = {(service, frame.message) for service, frame in FRAMES}
    known = {
        (service, str(layout))
        for service, layouts in SERVICES.items()
        for layout in layouts
        if layout.since != "after 3.1.10"
    }
    assert known - recorded == set()
    assert {("votequorum", REFUSAL), ("setup", "ring header"), ("setup", "control block")} <= recorded


def test_every_vector_names_its_content_and_its_origin() -> None:
    for service, frame in FRAMES:
        assert layout_of(service, frame) or frame.message in {REFUSAL, *STRUCTURES}, frame
        assert frame.context, frame
        assert frame.client.startswith(("lib", "corosync-")), frame
        assert frame.transport in ("shm", "socket"), frame
    keys = [(service, frame.message, frame.case) for service, frame in FRAMES]
    assert len(keys) == len(set(keys))
    assert sorted(path.stem for path in VECTORS.iterdir()) == sorted(SERVICES)


@parametrize(FRAMES)
def test_a_dump_without_its_lines_of_zeros_can_be_read_back(service: str, frame: Frame) -> None:
    assert from_hex_lines(len(frame.data), hex_lines(frame.data)) == frame.data


# --- some recordings word by word: it is not enough that a decoder agrees with itself ---


def decoded(service: str, message: str, case: str) -> Any:
    (frame,) = (f for f in load(service) if (f.message, f.case) == (message, case))
    return named(service, frame).decode(frame.data)


def test_a_getinfo_of_a_node_whose_device_votes() -> None:
    info = decoded("votequorum", "getinfo response", "with a device's vote")
    assert (info.nodeid, info.state, info.votes, info.expected_votes) == (1, 1, 3, 4)
    assert (info.highest_expected, info.total_votes, info.quorum) == (4, 4, 3)
    device = InfoFlags.QDEVICE_REGISTERED | InfoFlags.QDEVICE_ALIVE | InfoFlags.QDEVICE_CAST_VOTE
    assert info.flags == InfoFlags.QUORATE | device
    assert (info.qdevice_votes, info.qdevice_name) == (1, "Example")


def test_a_quorum_device_has_node_id_0_and_state_0() -> None:
    event = decoded("votequorum", "quorum_notification event", "with a device")
    assert event.node_list == ((1, 1), (0, 0))


def test_the_context_of_a_notification_is_the_one_that_trackstart_gave() -> None:
    request = decoded("votequorum", "trackstart request", "trackstart")
    assert request == (0x1122334455667788, 2)
    assert decoded("votequorum", "expectedvotes_notification event", "four votes") == (1, request.context, 4)


def test_a_node_that_lost_its_neighbours_says_so() -> None:
    members = decoded("votequorum", "nodelist_notification event", "one node left")
    assert members.node_list == (1,)
    states = decoded("votequorum", "quorum_notification event", "one node left")
    assert states.quorate == 0
    assert dict(states.node_list) == {1: 1, 2: 2, 3: 2}


def test_a_model_1_node_list_says_who_joined_and_who_left() -> None:
    left = decoded("quorum", "v1_nodelist_notification event", "model 1, two nodes left")
    assert (left.member_list, left.joined_list, left.left_list) == ((1, 2), (), (3,))
    joined = decoded("quorum", "v1_nodelist_notification event", "model 1, three again")
    assert (joined.member_list, joined.joined_list, joined.left_list) == ((1, 2, 3), (3,), ())


def test_a_trackstop_of_quorum_is_answered_ok_when_nothing_was_tracked() -> None:
    assert decoded("quorum", "trackstop response", "model 0, too early").error == CsErrorCode.OK


def test_a_get_of_cmap_is_as_long_as_the_buffer_that_was_offered() -> None:
    answer = decoded("cmap", "get response", "with room")
    assert (answer.value_len, len(answer.value)) == (6, 64)
    assert answer.value.rstrip(b"\0") == b"node1"


def test_a_connection_response_names_the_files_of_both_transports() -> None:
    shm = decoded("setup", "connection response", "over shm")
    assert (shm.error, shm.connection_type, shm.max_msg_size) == (0, 1, 1 << 20)
    stems = [Path(stem).name for stem in (shm.request, shm.response, shm.event)]
    assert stems == ["qb-request-votequorum", "qb-response-votequorum", "qb-event-votequorum"]
    sockets = decoded("setup", "connection response", "over socket")
    assert (sockets.error, sockets.connection_type, sockets.event) == (0, 0, "")
    assert sockets.request.removesuffix("control-votequorum") + "votequorum" == sockets.response


def test_a_ring_header_counts_in_words_and_both_sides() -> None:
    (frame,) = (frame for frame in load("setup") if frame.message == "ring header")
    header = RING_HEADER.parse(frame.data)
    assert (header.write_pt, header.read_pt, header.ref_count, header.flow_control) == (8, 8, 2, 0)
    assert header.word_size * 4 == (1 << 20) + 4096
    assert header.hdr_path.removesuffix("-header") == header.data_path.removesuffix("-data")
