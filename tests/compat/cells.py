"""The matrix: each release, Python and architecture that is tried, and what is run there.

Strategy: a cell is a row of a table. Where its Python runs this package, the tests run inside its chroot
against that release's corosync. Where it does not, this machine's client is tested against the daemon of the
chroot. Emulated processors are some twenty times slower: they run what depends on the processor.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Way(enum.Enum):
    """Who runs the tests, and against which corosync."""

    INSIDE = "the chroot's Python and corosync"
    DAEMON_ONLY = "this machine's Python, the chroot's corosync"
    PREFIX = "this machine's Python, corosync from a directory"
    REFUSAL = "the chroot's Python: refuses, and says why"
    PACKAGE = "no tests: the Debian package is built or installed there"


EVERYTHING = ("tests",)

PROCESSOR = (
    "tests/ipc/test_platform.py",
    "tests/real/test_protocol.py",
    "tests/ipc/test_ring.py",
    "tests/ipc/test_counts.py",
    "tests/client/test_calls.py",
    "tests/wire/test_vectors.py",
    "tests/ipc/test_connection.py",
    "tests/wire/test_layouts.py",
)
"""What depends on byte order, word size, the C library and the memory model.

Tests that start programs of ours are left out: an emulated Python takes half a minute for its imports.
"""

BOOTED = (
    "tests/ipc/test_platform.py",
    "tests/ipc/test_counts.py",
    "tests/ipc/test_connection.py::test_the_daemons_counts_stay_right_over_many_requests_and_events",
    "tests/ipc/test_connection.py::test_requests_are_sent_whatever_is_next_to_their_count",
    "tests/ipc/test_connection.py::test_any_service_answers_raw_messages",
    "tests/client/test_calls.py::test_getinfo_gives_what_the_c_library_gives",
    "tests/client/test_calls.py::test_the_quorum_service_gives_what_the_c_library_gives",
    "tests/client/test_calls.py::test_trackstart_sends_the_events_that_the_c_library_gets",
    "tests/client/test_calls.py::test_cmap_reads_and_lists_what_the_c_library_does",
    "tests/ipc/test_ring.py::test_a_chunk_is_released_only_after_it_was_copied",
    "tests/ipc/test_ring.py::test_a_reader_stores_nothing_into_the_chunks_that_it_reads",
    "tests/real/test_protocol.py",
)
"""The same where a whole machine is emulated, some fifty times slower: one test or two of each kind."""

DAEMON = ("tests/real", "tests/client", "tests/reliability/test_watch.py", "tests/cli/test_status.py")
"""What a daemon of another version could answer differently."""

REFUSED = ("tests/ipc/test_platform.py",)


@dataclass(frozen=True)
class Cell:
    """One row of the matrix."""

    name: str
    title: str
    way: Way
    paths: tuple[str, ...]
    suite: str = ""
    """The Debian release of the chroot; empty for a cell without one."""
    arch: str = "amd64"
    """Debian's name of the architecture."""
    emulator: str = ""
    """The binfmt entry that runs its programs here; empty where the processor does."""
    kernel: str = ""
    """Debian's package of the kernel that its tests boot; empty where they run under this machine's."""
    note: str = ""
    """What its row in the table does not say."""
    packages: tuple[str, ...] = ()
    """The Debian packages of the chroot; empty for what the tests of the cell need."""
    unreleased: bool = False
    """Packages change every day, so that a mirror may be behind its own expiry date."""
    explained: Mapping[str, str] = field(default_factory=dict)
    """Why tests fail there, by the beginning of their ids; none of them is a defect of this package."""

    def explanation(self, test: str) -> str:
        """Why a test fails there; empty where nobody knows."""
        return next((why for start, why in self.explained.items() if test.startswith(start)), "")


CELLS = (
    Cell(
        "debian-11",
        "Debian 11",
        Way.DAEMON_ONLY,
        DAEMON,
        "bullseye",
        note="Its own Python, 3.9, is too old for this package.",
    ),
    Cell("debian-12", "Debian 12", Way.INSIDE, EVERYTHING, "bookworm"),
    Cell("debian-13", "Debian 13", Way.INSIDE, EVERYTHING, "trixie"),
    Cell(
        "debian-sid",
        "Debian sid",
        Way.INSIDE,
        EVERYTHING,
        "sid",
        unreleased=True,
    ),
    Cell(
        "corosync-main",
        "corosync main",
        Way.PREFIX,
        DAEMON,
        note="A build from source, with its own libqb. It refuses unencrypted totem; its daemons have a key.",
    ),
    Cell(
        "arm64",
        "Debian 12, arm64",
        Way.INSIDE,
        PROCESSOR,
        "bookworm",
        "arm64",
        "qemu-aarch64",
        explained={
            "tests/ipc/test_counts.py::test_a_post_wakes_a_waiter": (
                "it waits until /proc names the futex system call of an arm64 process. Under qemu-user the "
                "number there is the host's."
            )
        },
    ),
    Cell(
        "s390x",
        "Debian 12, s390x",
        Way.INSIDE,
        BOOTED,
        "bookworm",
        "s390x",
        "qemu-s390x",
        "linux-image-s390x",
        note="The processor is big-endian, and so is the kernel, which is booted on an emulated machine.",
    ),
    Cell(
        "i386",
        "Debian 12, i386",
        Way.REFUSAL,
        REFUSED,
        "bookworm",
        "i386",
        note="32-bit processes are not supported. The tests: client and embedded daemon say so at once.",
    ),
)


def named(names: list[str]) -> list[Cell]:
    """The cells of these names; all of them for no name. Raises `ValueError` for a name that is unknown."""
    unknown = set(names) - {cell.name for cell in CELLS}
    if unknown:
        known = ", ".join(cell.name for cell in CELLS)
        raise ValueError(f"no such cell: {', '.join(sorted(unknown))}; there are {known}")
    return [cell for cell in CELLS if not names or cell.name in names]
