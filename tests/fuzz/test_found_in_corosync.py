"""Each finding in corosync still is one: its reproducer, against a real daemon of each transport that it
names.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fuzz.findings import corosync_3_1_7
from fuzz.findings.corosync_3_1_7 import truncated_file_twice
from fuzz.known import what_matters
from fuzz.raw import RawConnection
from fuzz.targets import corosync
from fuzz.targets.corosync import Corosync, Died, Hung, Refused
from tests.conftest import StartDaemon
from tests.real import installation
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from votequorum_ipc.attack import Close
from votequorum_ipc.strategies.anatomy import places
from votequorum_ipc.wire import cmap

GUIDE = (ROOT / "fuzz/README.md").read_text()
FINDINGS = (ROOT / "fuzz/findings/README.md").read_text()

OUTCOMES = {
    "dies": (Died,),
    "hangs": (Hung,),
    "dies or hangs": (Died, Hung),
    "refuses": (Refused,),
    "dies with sanitizers": (Died,),
}
ATTEMPTS = {
    "answer_to_another_client": 20,  # decided by who is faster; a busy machine lost 8 of 8
    "truncated_file": 40,  # whether corosync touches the file before it is cut; 8 of 8 were too late
    "cmap_get_length_overflow": 8,  # heap corruption, which depends on how the heap was used before
    "message_longer_than_the_buffer": 8,
    "small_messages": 8,
}
"""How often to try what depends on chance, each with its reason. The others must happen at once."""


def findings() -> Iterator[tuple[ModuleType, str]]:
    for module in pkgutil.iter_modules(corosync_3_1_7.__path__):
        finding = importlib.import_module(f"{corosync_3_1_7.__name__}.{module.name}")
        for transport in finding.TRANSPORTS:
            yield finding, transport


@pytest.mark.parametrize(
    ("finding", "transport"),
    [pytest.param(*pair, id=f"{pair[0].__name__.rpartition('.')[2]}-{pair[1]}") for pair in findings()],
)
def test_what_a_reproducer_says_happens(
    start_daemon: StartDaemon, finding: ModuleType, transport: str
) -> None:
    daemon = start_daemon(Config(transport="shm" if transport == "shm" else "socket"))
    if finding.OUTCOME == "dies with sanitizers" and not has_sanitizers(daemon):
        pytest.skip("only a build of tools/sanitized-corosync shows it; name it in COROSYNC")
    session = Corosync(daemon)
    for attempt in range(ATTEMPTS.get(finding.__name__.rpartition(".")[2], 1)):
        if attempt:
            session.restart()
        if failure := session.try_out(finding.STEPS):
            break
    assert isinstance(failure, OUTCOMES[finding.OUTCOME]), failure


def has_sanitizers(daemon: Daemon) -> bool:
    """Whether the daemon was built by tools/sanitized-corosync, or like that."""
    return "libasan" in Path(f"/proc/{daemon.pid}/maps").read_text()


def test_a_cmap_value_longer_than_its_message_is_read_from_the_daemons_heap(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(transport="socket"))
    length = 16_000
    lie = bytearray(cmap.SET.encode(key_name="fuzz.key", type=12, value=b""))
    [place] = [place for place in places(cmap.SET, bytes(lie)) if place.name == "value_len"]
    struct.pack_into("=Q", lie, place.start, length)
    with (
        daemon.namespace(),
        RawConnection("cmap") as liar,
        RawConnection("cmap", max_msg_size=1 << 16) as reader,
    ):
        cmap.SET_RESPONSE.decode(liar.call(bytes(lie)))
        answer = cmap.GET_RESPONSE.decode(reader.call(cmap.GET.encode(key_name="fuzz.key", value_len=length)))
    # The buffer has 8192 bytes, of which the request filled less than 300. What is behind it is not the
    # client's.
    assert any(answer.value[8192:])
    assert len(answer.value) == length


def test_a_failure_that_needs_what_came_before_is_repeated_with_it(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corosync, "TRIALS", 1)  # this one does not depend on who is faster
    daemon = start_daemon(Config())
    session = Corosync(daemon)
    session.keep_in(daemon.directory)
    twice = truncated_file_twice.STEPS
    session.check(twice[: len(twice) // 2])
    session.check(twice[len(twice) // 2 :])
    enough = tuple(step for step in twice if not isinstance(step, Close))
    assert (
        f"These steps are enough:\nSTEPS = {enough!r}" in (daemon.directory / corosync.UNREPEATED).read_text()
    )


def test_the_table_of_versions_has_a_column_for_the_daemon_of_these_tests(real_corosync: None) -> None:
    version = installation.version_text()
    wanted = "main" if version.endswith("+main") else f"{version}, "
    assert f"| {wanted}" in next(
        line for line in FINDINGS.splitlines() if line.startswith("| reproducer | 3.")
    )


def test_a_newcomer_finds_each_reproducer_by_its_features() -> None:
    rows = [line.split("|")[1:3] for line in GUIDE.splitlines() if line.startswith("| `")]
    for finding in {finding for finding, _ in findings()}:
        name = finding.__name__.rpartition(".")[2]
        [clues] = [re.findall("`(.+?)`", clues) for clues, names in rows if f"`{name}`" in names]
        assert any(clue in feature for clue in clues for feature in what_matters(finding.STEPS)), name


AS_A_USER = """
import os
from fuzz.findings.corosync_3_1_7 import truncated_file
from fuzz.reproduce import attempt
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(attempt(truncated_file.STEPS, "@{service}"))
"""


@pytest.mark.parametrize(
    ("uids", "seen"),
    [((65534,), "alone: nothing listens any more"), ((), "refused: Access is denied (CS_ERR_ACCESS).")],
    ids=["listed in uidgid", "not listed"],
)
def test_it_takes_a_user_that_the_daemon_accepts(
    start_daemon: StartDaemon, uids: tuple[int, ...], seen: str
) -> None:
    daemon = start_daemon(Config(uids=uids))
    # Imports come first: where the interpreter is installed, another user may not be allowed to read.
    result = daemon.run([sys.executable, "-c", AS_A_USER])
    assert result.stdout.splitlines()[-1] == seen, result
    assert daemon.alive == (not uids)
