"""What the strategies draw: true where they say so, false in one place where they say so, small when
shrunk.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from fuzz import cases
from votequorum_ipc.attack import Close, Connect, Poke, Send, Step, Truncate, features
from votequorum_ipc.cluster import Cluster, ClusterConfig
from votequorum_ipc.errors import MessageError
from votequorum_ipc.strategies import (
    AlmostValid,
    Call,
    Frame,
    FrameBurst,
    Lie,
    RingBurst,
    ServerScript,
    almost_valid,
    arbitrary,
    attacks,
    call_sequences,
    cluster_configs,
    control_lies,
    damaged_ring_scripts,
    frame_bursts,
    frames,
    handshake_responses,
    happenings,
    ring_bursts,
    ring_cuts,
    ring_lies,
    ring_scripts,
    server_scripts,
    valid,
)
from votequorum_ipc.strategies.anatomy import places
from votequorum_ipc.strategies.attacks import without, without_orders_to_end
from votequorum_ipc.strategies.clusters import starts
from votequorum_ipc.strategies.handshakes import Act, Damage
from votequorum_ipc.strategies.messages import MESSAGES, layouts
from votequorum_ipc.strategies.rings import Write
from votequorum_ipc.wire import Kind

many = settings(max_examples=200, deadline=None)
some = settings(max_examples=60, deadline=None)
patient = settings(max_examples=3_000, deadline=None, database=None)


def shrunk(strategy: st.SearchStrategy[Any], holds: Callable[[Any], bool], beginning: int = 4) -> Any:
    """The smallest example of which something holds, as hypothesis would show it for a failure."""
    # A test begins in the same place each time: from some, shrinking ends before the smallest.
    return find(strategy, holds, settings=patient, random=random.Random(beginning), database_key=None)


# --- messages ---


@given(valid())
@many
def test_a_valid_message_says_what_it_is(frame: Frame) -> None:
    assert MESSAGES[frame.service, frame.message] is frame.layout
    assert frame.layout.decode(frame.data)._asdict() == frame.fields


@given(valid(), st.data())
@many
def test_the_places_of_a_message_follow_one_another_without_gaps(frame: Frame, data: st.DataObject) -> None:
    end = 0
    for place in places(frame.layout, frame.data):
        assert place.start == end
        end += place.size
    assert end == len(frame.data)


@given(almost_valid())
@many
def test_an_almost_valid_message_differs_in_one_place_only(case: AlmostValid) -> None:
    true, false = case.frame.data, case.data
    if case.lie is Lie.LENGTH:
        assert len(false) == case.value != len(true)
        return
    assert len(false) == len(true)
    differing = {index for index in range(len(true)) if true[index] != false[index]}
    assert differing
    [place] = [
        place
        for place in places(case.layout, true)
        if place.name == case.field and differing <= set(range(place.start, place.start + place.size))
    ]
    assert place.name == case.field


def test_every_kind_of_lie_is_drawn() -> None:
    told: set[Lie] = set()

    @settings(max_examples=300, deadline=None, database=None)
    @given(almost_valid(valid(services=("votequorum", "cmap"))))
    def listen(case: AlmostValid) -> None:
        told.add(case.lie)

    listen()
    assert told == set(Lie)


def refused(case: AlmostValid) -> bool:
    try:
        case.layout.decode(case.data)
    except MessageError:
        return True
    return False


@pytest.mark.parametrize("beginning", range(4))
def test_a_failure_ends_as_the_one_field_that_matters(beginning: int) -> None:
    # As if a decoder failed for every message whose size is a lie: nothing else remains.
    case = shrunk(almost_valid(), lambda case: case.lie is Lie.SIZE and refused(case), beginning)
    assert repr(case) == (
        "AlmostValid(frame=Frame(service='votequorum', message='trackstop request', fields={}), "
        "lie=Lie.SIZE, field='size', value=0)"
    )


def test_a_failure_of_one_message_ends_with_that_message_and_nothing_in_it() -> None:
    case = shrunk(
        frames(services=("votequorum",), kinds=(Kind.EVENT,)),
        lambda case: (
            isinstance(case, AlmostValid) and case.lie is Lie.COUNT and "nodelist" in case.frame.message
        ),
    )
    assert case.frame.fields == {
        "error": 0,
        "context": 0,
        "ring_id": (0, 0),
        "node_list": (),
    }
    assert (case.field, case.value) == ("node_list_entries", 1)


def test_arbitrary_bytes_shrink_to_none() -> None:
    assert shrunk(arbitrary(), lambda data: True) == b""


@pytest.mark.parametrize("services", [("quorum",), ("cmap", "cfg")])
@pytest.mark.parametrize("kind", Kind)
def test_messages_may_be_asked_for_by_service_and_kind(services: tuple[str, ...], kind: Kind) -> None:
    for service, layout in layouts(services=services, kinds=(kind,)):
        assert service in services
        assert layout.kind is kind


# --- rings, servers, attacks, calls, clusters ---


@given(ring_lies() | ring_cuts() | control_lies())
@some
def test_lies_about_shared_memory_are_words(lie: Any) -> None:
    assert -(1 << 31) <= lie.value < 1 << 32


def test_a_ring_failure_ends_as_the_message_that_is_too_large() -> None:
    script = shrunk(
        ring_scripts(),
        lambda script: any(isinstance(step, Write) and step.size > 24 for step in script.steps),
    )
    # One such message, with nothing after it; how small it gets depends on where the shrinking began.
    large = [step for step in script.steps if isinstance(step, Write) and step.size > 24]
    assert large == [script.steps[-1]]


def test_no_two_words_of_a_message_in_a_ring_are_alike() -> None:
    data = Write(size=4096, fill=7).data
    words = [data[index : index + 4] for index in range(0, len(data), 4)]
    assert len(set(words)) == len(words)
    assert Write(size=5, fill=7).data == data[:5]


def test_a_servers_failure_ends_as_the_one_thing_that_it_did() -> None:
    script = shrunk(server_scripts(), lambda script: any(isinstance(a, Damage) for a in script.actions))
    assert len(script.actions) == 1
    assert script == ServerScript("shm", actions=script.actions)


def test_an_attack_ends_as_the_one_step_that_matters() -> None:
    attack = shrunk(attacks(4), lambda steps: any(isinstance(step, Truncate) for step in steps))
    # What comes before it and does not matter, `fuzz.corosync` leaves out by itself, a daemon for each try.
    assert (type(attack[0]), type(attack[-1])) == (Connect, Truncate)


@given(attacks())
@some
def test_an_attack_tells_no_daemon_to_end(steps: tuple[Step, ...]) -> None:
    assert isinstance(steps[0], Connect)
    assert without_orders_to_end(steps) == steps


def test_orders_to_end_are_left_out_for_the_service_that_obeys_them_only() -> None:
    kill = Send(0, (2).to_bytes(4, sys.byteorder))
    assert without_orders_to_end((Connect(0, "cfg"), kill)) == (Connect(0, "cfg"),)
    assert without_orders_to_end((Connect(0, "cmap"), kill)) == (Connect(0, "cmap"), kill)


def test_known_combinations_of_features_are_left_out_by_their_last_step() -> None:
    steps: tuple[Step, ...] = (
        Connect(0, "votequorum"),
        Poke(0, "request", "read_pt", 1),
        Truncate(0, "event", "data", 0),
        Poke(0, "response", "read_pt", 1),
        Close(0),
    )
    known = {frozenset({"request read_pt", "event data truncated"}), frozenset({"response read_pt"})}
    assert without(steps, known) == (steps[0], steps[1], steps[4])


def test_a_request_for_another_service_is_called_what_it_is_there() -> None:
    request = Send(0, b"\7\0\0\0", about="cmap track_add request")
    assert features([Connect(0, "cfg"), request])[1] == "cfg request 7"
    assert features([Connect(0, "cmap"), request])[1] == "cmap track_add request"


@given(call_sequences())
@some
def test_calls_are_methods_of_the_clients(sequence: tuple[Call, ...]) -> None:
    import votequorum_ipc

    for call in sequence:
        handle = {"votequorum": votequorum_ipc.Votequorum, "quorum": votequorum_ipc.Quorum}[call.service]
        code = getattr(handle, call.method).__code__
        assert set(call.arguments) <= set(code.co_varnames[: code.co_argcount])


@given(st.data())
@some
def test_what_happens_can_happen_to_any_cluster(data: st.DataObject) -> None:
    config: ClusterConfig = data.draw(cluster_configs())
    assert starts(config)
    cluster = Cluster(config)
    for happening in data.draw(happenings(config)):
        happening.happen(cluster)
    assert set(cluster.nodes) <= set(config.nodeids)


ANY: st.SearchStrategy[Any] = st.one_of(
    frames(),
    ring_scripts(),
    damaged_ring_scripts(),
    server_scripts(),
    handshake_responses(),
    attacks(),
    call_sequences(),
    frame_bursts(),
    ring_bursts(),
)


@given(ANY)
@many
def test_the_repr_of_a_case_is_the_python_that_makes_it(case: Any) -> None:
    assert eval(repr(case), vars(cases)) == case


def test_acts_have_short_names() -> None:
    assert eval(repr(Act.LATE), vars(cases)) is Act.LATE


@given(frame_bursts(), ring_bursts())
@some
def test_a_burst_gives_the_same_variants_each_time(frames: FrameBurst, ring: RingBurst) -> None:
    assert list(frames.variants()) == list(frames.variants())
    assert list(ring.variants(3072)) == list(ring.variants(3072))
    assert len(set(frames.variants())) > frames.count / 2


# --- installation ---


def test_without_hypothesis_the_error_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import votequorum_ipc.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "ImportError: votequorum_ipc.strategies needs hypothesis: pip install 'votequorum-ipc[fuzz]', "
        "or '.[fuzz]' in a checkout" in done.stderr
    )


def test_reproducers_need_no_hypothesis() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None; "
        "from fuzz.findings.corosync_3_1_7 import missing_doorbell; print(len(missing_doorbell.STEPS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
