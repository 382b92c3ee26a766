"""The reference is complete and right: the C libraries' functions, callbacks, constants, and every limit."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import votequorum_ipc
from tests.real.host import ROOT
from votequorum_ipc import errors, types

REFERENCE = ROOT / "docs" / "reference"
C_API = (REFERENCE / "c-api.md").read_text()
HEADERS = Path("/usr/include/corosync")
LISTED = set(re.findall(r"^\| (`[^|]*) \|", C_API, re.MULTILINE))
NAMES = {name for cell in LISTED for name in re.findall(r"`(\w+)`", cell)}
ROWS = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|$", C_API, re.MULTILINE)

FUNCTION = re.compile(r"\b((?:votequorum|quorum|cmap|corosync_cfg)_[a-z0-9_]+) *\(")
CALLBACK = re.compile(r"\(\*\s*(\w+_t)\)")
CONSTANT = re.compile(
    r"\b((?:VOTEQUORUM_(?:INFO|NODESTATE|QDEVICE)|QUORUM_(?:FREE|SET|MODEL)|CMAP_(?:VALUETYPE|TRACK|MAP|KEYNAME)"
    r"|COROSYNC_CFG_SHUTDOWN_FLAG|CFG_MAX_LINKS|CS_TRACK|CS_DISPATCH)\w*[A-Z0-9])\b"
)


def header(service: str) -> str:
    """A header of the C libraries without its comments."""
    try:
        text = (HEADERS / f"{service}.h").read_text()
    except FileNotFoundError:
        pytest.skip(f"{service}.h of corosync is not installed")
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("service", ["votequorum", "quorum", "cmap", "cfg"])
def test_each_function_of_a_header_is_listed(service: str) -> None:
    functions = {*FUNCTION.findall(header(service))}
    assert len(functions) > 9
    assert functions - NAMES == set()


@pytest.mark.parametrize("service", ["votequorum", "quorum", "cmap", "cfg"])
def test_each_callback_of_a_header_is_listed(service: str) -> None:
    callbacks = {*CALLBACK.findall(header(service))}
    assert callbacks
    assert callbacks - NAMES == set()


@pytest.mark.parametrize("service", ["votequorum", "quorum", "cmap", "cfg", "corotypes"])
def test_each_constant_of_a_header_is_listed(service: str) -> None:
    constants = {*CONSTANT.findall(header(service))}
    assert constants
    assert constants - NAMES == set()


def named(path: str) -> Any:
    """The object that a dotted name in the table refers to."""
    for start in (votequorum_ipc, types):
        found: Any = start
        try:
            for part in path.removeprefix("types.").split("."):
                found = getattr(found, part)
        except AttributeError:
            continue
        return found
    return None


def test_each_python_name_in_the_tables_exists() -> None:
    mentioned = {name for _, text in ROWS for name in re.findall(r"`((?:types\.)?[A-Z]\w*\.\w+)`", text)}
    assert len(mentioned) > 60
    fields = {"NodeInfo.quorate", "NodeStatus.link_status", "Quorum.quorum_type"}
    missing = {name for name in mentioned if named(name) is None}
    assert {name.removeprefix("types.") for name in missing} <= fields


@pytest.mark.parametrize(
    "c_name", sorted(name for name in NAMES if name.startswith(("VOTEQUORUM_INFO", "CS_")))
)
def test_a_constants_python_name_matches_its_c_name(c_name: str) -> None:
    [text] = [text for cell, text in ROWS if f"`{c_name}`" in cell]
    found = re.match(r"`(\w+\.\w+)`", text)
    if found:
        assert c_name.endswith(f"_{found[1].split('.')[1]}")


def test_each_error_is_in_the_table_or_listed_as_unused() -> None:
    text = (REFERENCE / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| `CS_ERR_(\w+)` \| (\d+) \|$", text, re.MULTILINE)
    assert len(rows) > 15
    for name, code, number in rows:
        cls = getattr(errors, name)
        assert (cls.code.name, int(cls.code)) == (code, int(number))


LIMITS = re.findall(
    r"^\| [^|]+ \| ([\d.]+) \| .*\| `([\w.]+)` \|$", (REFERENCE / "limits.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("value", "path"), LIMITS, ids=[path for _, path in LIMITS])
def test_a_limit_has_the_value_of_its_constant(value: str, path: str) -> None:
    module, _, name = path.rpartition(".")
    assert str(getattr(importlib.import_module(module), name)) == value


def test_every_limit_of_the_embedded_daemon_is_listed() -> None:
    limits = importlib.import_module("votequorum_ipc.daemon.limits")
    names = {name for name in vars(limits) if name.isupper()}
    assert names - {path.rpartition(".")[2] for _, path in LIMITS} == {"BACKLOG"}
