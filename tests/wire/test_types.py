"""Enumerations, flags and sizes have the values of corosync's and libqb's public C headers."""

from __future__ import annotations

import contextlib
import copy
import pickle
import shutil
import subprocess
from pathlib import Path

import construct as c
import pytest

from tests.conftest import cannot
from votequorum_ipc import Exist, Votequorum
from votequorum_ipc.cmap import TrackType
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.types import (
    QDEVICE_MAX_NAME_LEN,
    QDEVICE_NODEID,
    DispatchFlags,
    InfoFlags,
    NodeState,
    OpenFlag,
    QuorumType,
    RingId,
    TrackFlags,
)
from votequorum_ipc.wire.fields import RING_ID
from votequorum_ipc.wire.layout import REQUEST_HEADER, RESPONSE_HEADER
from votequorum_ipc.wire.quorum import MODEL_V0, MODEL_V1
from votequorum_ipc.wire.setup import (
    AUTHENTICATE,
    CHUNK_HEADER,
    PATH_MAX,
    RING_HEADER,
    SEM_T_SIZE,
    TRANSPORT_SHM,
    TRANSPORT_SOCKET,
    offset_of,
)
from votequorum_ipc.wire.votequorum import NodeEntry

HEADERS = """
#include <limits.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>
#include <corosync/corotypes.h>
#include <corosync/quorum.h>
#include <corosync/votequorum.h>
#include <qb/qbipc_common.h>
"""


REQUEST = c.Struct(*REQUEST_HEADER)
RESPONSE = c.Struct(*RESPONSE_HEADER)
NEWER = InfoFlags.QDEVICE_HAS_EXTRA_INFO

EXPECTED: dict[str, int] = {
    **{f"VOTEQUORUM_INFO_{flag.name}": flag.value for flag in InfoFlags if flag is not NEWER},
    **{f"VOTEQUORUM_NODESTATE_{state.name}": state.value for state in NodeState},
    **{f"CS_TRACK_{flag.name}": flag.value for flag in TrackFlags},
    **{f"CS_DISPATCH_{flag.name}": flag.value for flag in DispatchFlags},
    **{f"QUORUM_{kind.name}": kind.value for kind in QuorumType},
    "QUORUM_MODEL_V0": MODEL_V0,
    "QUORUM_MODEL_V1": MODEL_V1,
    "VOTEQUORUM_QDEVICE_MAX_NAME_LEN": QDEVICE_MAX_NAME_LEN,
    "VOTEQUORUM_QDEVICE_NODEID": QDEVICE_NODEID,
    "QB_IPC_MSG_AUTHENTICATE": AUTHENTICATE,
    "QB_IPC_SHM": TRANSPORT_SHM,
    "QB_IPC_SOCKET": TRANSPORT_SOCKET,
    "PATH_MAX": PATH_MAX,
    "sizeof(sem_t)": SEM_T_SIZE,
    "sizeof(uint32_t)": CHUNK_HEADER.sizeof() // 2,
    "sizeof(votequorum_ring_id_t)": RING_ID.sizeof(),
    "offsetof(votequorum_ring_id_t, seq)": offset_of(RING_ID.subcon, "seq"),
    "sizeof(struct quorum_ring_id)": RING_ID.sizeof(),
    "offsetof(struct quorum_ring_id, seq)": offset_of(RING_ID.subcon, "seq"),
    "sizeof(votequorum_node_t)": 4 * len(NodeEntry._fields),
    "offsetof(votequorum_node_t, state)": 4 * NodeEntry._fields.index("state"),
    "sizeof(struct qb_ipc_request_header)": REQUEST.sizeof(),
    "offsetof(struct qb_ipc_request_header, size)": offset_of(REQUEST, "size"),
    "sizeof(struct qb_ipc_response_header)": RESPONSE.sizeof(),
    "offsetof(struct qb_ipc_response_header, size)": offset_of(RESPONSE, "size"),
    "offsetof(struct qb_ipc_response_header, error)": offset_of(RESPONSE, "error"),
}
"""C expressions, and their expected values."""


@pytest.fixture(scope="module")
def c_values(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The values of the expressions, computed by a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or ""
    if not compiler:
        cannot("no C compiler is installed (Debian's package gcc)")
    directory: Path = tmp_path_factory.mktemp("c")
    lines = [f'    printf("%lld\\n", (long long)({expression}));' for expression in EXPECTED]
    source = directory / "values.c"
    source.write_text(HEADERS + "int main(void)\n{\n" + "\n".join(lines) + "\n    return 0;\n}\n")
    program = directory / "values"
    subprocess.run([compiler, "-o", program, source], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(EXPECTED, map(int, printed), strict=True))


@pytest.mark.parametrize("expression", EXPECTED)
def test_a_value_is_that_of_the_c_headers(c_values: dict[str, int], expression: str) -> None:
    assert EXPECTED[expression] == c_values[expression]


def test_the_semaphore_of_a_ring_has_the_alignment_that_c_requires() -> None:
    assert offset_of(RING_HEADER, "posted_sem") % 8 == 0


def test_a_node_state_without_a_name_keeps_its_number() -> None:
    state = NodeState(0)
    assert (state, state.name, state.value) == (0, "UNKNOWN_0", 0)
    assert NodeState(7) == NodeState(7)


def test_newer_flags_are_kept() -> None:
    assert InfoFlags(1 << 20 | 2).value == 1 << 20 | 2


def test_a_ring_id_reads_as_corosync_prints_it() -> None:
    assert str(RingId(1, 0xA4)) == "1.a4"


UNKNOWN_FLAGS = range(1 << 20, 1 << 32, (1 << 32) // 999)
"""A thousand values, each with bits that have no name."""


@pytest.mark.parametrize("flags", [InfoFlags, TrackFlags, TrackType])
def test_flags_without_a_name_are_kept_in_the_value_and_nowhere_else(flags: type[OpenFlag]) -> None:
    remembered = len(flags._value2member_map_)
    for number in UNKNOWN_FLAGS:
        assert flags(number) == number
        assert flags(number) | flags(1) == number | 1
    # Combinations of known bits may be remembered: their number is limited.
    assert len(flags._value2member_map_) - remembered <= len(flags)


async def test_a_client_that_sends_ever_new_track_flags_costs_the_embedded_daemon_no_memory() -> None:
    async with simulated_cluster(1) as cluster, await Votequorum.initialize(address=cluster.address(1)) as vq:
        await vq.trackstart(flags=TrackFlags.CURRENT)
        remembered = len(TrackFlags._value2member_map_)
        for number in UNKNOWN_FLAGS[:50]:
            with contextlib.suppress(Exist):
                await vq.trackstart(flags=number)  # type: ignore[arg-type]
        assert len(TrackFlags._value2member_map_) == remembered


@pytest.mark.parametrize(
    "value", [NodeState(0), NodeState(99), NodeState.MEMBER, InfoFlags(2 | 1 << 20), TrackFlags(9)], ids=repr
)
def test_values_without_a_name_are_copied_and_pickled_like_others(value: NodeState | OpenFlag) -> None:
    """On unpickling, Python 3.11.2 looks a member up by its name."""
    copies = [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
    assert [(type(twin), twin) for twin in copies] == [(type(value), value)] * 3


def test_a_state_is_pickled_by_its_number() -> None:
    assert NodeState(99).__reduce_ex__(4) == (NodeState, (99,))
