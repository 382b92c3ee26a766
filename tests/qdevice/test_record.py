"""The record of the last ballot, as readers see it, whatever the file contains."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from votequorum_ipc import Busy, RingId
from votequorum_ipc.qdevice import Ballot
from votequorum_ipc.qdevice.record import Record, open_recorder, read_record, runtime_directory

BALLOT = Ballot(True, "because", RingId(1, 2**63), time=12.5)


def test_the_last_ballot_can_be_read_while_the_device_runs(tmp_path: Path) -> None:
    with open_recorder(tmp_path / "new", "device", None) as recorder:
        assert read_record(tmp_path / "new", "device", None) is None
        recorder.write("device", Ballot(False, "not yet"))
        recorder.write("device", BALLOT)
        expected = Record("device", os.getpid(), True, "because", RingId(1, 2**63), 12.5)
        assert read_record(tmp_path / "new", "device", None) == expected
        assert read_record(tmp_path / "new", "device", "@other") is None
        assert read_record(tmp_path / "new", "other", None) is None
    assert read_record(tmp_path / "new", "device", None) is None


def test_a_record_left_by_a_killed_device_is_ignored(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with open_recorder(tmp_path, "device", None) as recorder:
            recorder.write("device", BALLOT)
            os._exit(0)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert read_record(tmp_path, "device", None) is None
    with open_recorder(tmp_path, "device", None):
        pass


def test_a_second_device_with_the_same_name_is_refused(tmp_path: Path) -> None:
    with open_recorder(tmp_path, "device", None):
        with pytest.raises(Busy), open_recorder(tmp_path, "device", None):
            pass
        with open_recorder(tmp_path, "device", "@other"), open_recorder(tmp_path, "other", None):
            pass


def test_a_reader_keeps_no_device_from_starting(tmp_path: Path) -> None:
    """At no step of its reading."""
    refusals: list[Busy] = []
    starts = 0

    def start(*_: object) -> None:
        nonlocal starts
        sys.setprofile(None)
        try:
            with open_recorder(tmp_path, "device", None):
                starts += 1
        except Busy as error:
            refusals.append(error)
        sys.setprofile(start)

    with open_recorder(tmp_path, "device", None):
        pass
    sys.setprofile(start)
    try:
        read_record(tmp_path, "device", None)
    finally:
        sys.setprofile(None)
    assert starts > 10
    assert refusals == []


@pytest.mark.parametrize("name", ["../../etc/x", "ä/ö", "x" * 254, "\udcff", " "])
def test_every_device_name_makes_a_file_in_the_directory(tmp_path: Path, name: str) -> None:
    with open_recorder(tmp_path, name, None) as recorder:
        recorder.write(name, BALLOT)
        record = read_record(tmp_path, name, None)
        assert record
        assert record.name == name
        assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


def test_a_full_or_lost_directory_does_not_stop_a_device(tmp_path: Path) -> None:
    with open_recorder(tmp_path / "lost", "device", None) as recorder:
        for path in (tmp_path / "lost").iterdir():
            path.unlink()
        (tmp_path / "lost").rmdir()
        recorder.write("device", BALLOT)


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
keys = st.sampled_from(["name", "pid", "vote", "reason", "ring_id", "time"])
records = st.dictionaries(keys, json_values).map(json.dumps)


@given(text=st.binary() | (records | json_values.map(json.dumps)).map(str.encode))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_content_is_a_record_or_nothing(tmp_path: Path, text: bytes) -> None:
    with open_recorder(tmp_path, "device", None) as recorder:
        recorder.write("device", BALLOT)
        [file] = tmp_path.glob("*.json")
        file.write_bytes(text)
        record = read_record(tmp_path, "device", None)
        assert record is None or isinstance(record.reason, str)


@pytest.mark.parametrize(("field", "value"), [("ring_id", "[Infinity, 1]"), ("time", "1" + 400 * "0")])
def test_a_record_with_numbers_out_of_range_is_ignored(tmp_path: Path, field: str, value: str) -> None:
    with open_recorder(tmp_path, "device", None) as recorder:
        recorder.write("device", BALLOT)
        [file] = tmp_path.glob("*.json")
        text = json.dumps(json.loads(file.read_text()) | {field: "?"})
        file.write_text(text.replace('"?"', value))
        assert read_record(tmp_path, "device", None) is None


def test_the_directory_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_directory() == Path("/run/votequorum-ipc")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert runtime_directory() is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runtime_directory() == Path("/run/user/1000/votequorum-ipc")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    assert runtime_directory() == Path("/run/a")
