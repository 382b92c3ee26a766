"""Errors: one class per `cs_error_t`, and errno converted as corosync's C library converts it."""

from __future__ import annotations

import ctypes
import errno
import re
from pathlib import Path

import pytest

import votequorum_ipc
from votequorum_ipc.errors import (
    ERROR_CLASSES,
    CsError,
    CsErrorCode,
    MessageError,
    error_from_code,
    error_from_errno,
)

COROTYPES = Path("/usr/include/corosync/corotypes.h")
COMMON = "libcorosync_common.so.4"

FAILURES = [code for code in CsErrorCode if code is not CsErrorCode.OK]


@pytest.fixture(scope="module")
def corotypes(real_corosync: None) -> str:
    """The text of the installed C header."""
    return COROTYPES.read_text()


@pytest.fixture(scope="module")
def common(real_corosync: None) -> ctypes.CDLL:
    """The C library with the conversions."""
    library = ctypes.CDLL(COMMON)
    library.cs_strerror.restype = ctypes.c_char_p
    return library


def test_the_codes_are_those_of_the_c_header(corotypes: str) -> None:
    found = {name: int(number) for name, number in re.findall(r"CS_ERR_(\w+)\s*=\s*(\d+)", corotypes)}
    found["OK"] = int(re.findall(r"CS_OK\s*=\s*(\d+)", corotypes)[0])
    assert {code.name: code.value for code in CsErrorCode} == found


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_each_code_has_one_class_with_the_same_name(code: CsErrorCode) -> None:
    classes = [cls for cls in CsError.__subclasses__() if cls.code is code]
    assert classes == [ERROR_CLASSES[code]]
    assert classes[0].__name__.lower() == code.name.replace("_", "").lower()
    assert getattr(votequorum_ipc, classes[0].__name__) is classes[0]


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_a_code_becomes_its_class_with_a_text(code: CsErrorCode) -> None:
    error = error_from_code(int(code), "what to do")
    assert type(error) is ERROR_CLASSES[code]
    assert (error.code, str(error)) == (code, "what to do")
    assert f"CS_ERR_{code.name}" in str(error_from_code(int(code)))


@pytest.mark.parametrize("number", [0, 1, 29, 31, 99, 101, -1, 1 << 30])
def test_a_number_that_reports_no_failure_is_a_message_error(number: int) -> None:
    error = error_from_code(number)
    assert isinstance(error, MessageError)
    assert error.field == "error"
    assert str(number) in str(error)


def test_a_message_error_separates_the_field_from_the_message() -> None:
    error = MessageError("too long", field="getinfo response.size")
    assert (error.field, str(error)) == ("getinfo response.size", "getinfo response.size: too long")
    assert not error.is_answer
    assert MessageError("as the daemon says").field is None
    assert MessageError("as the daemon says").is_answer


@pytest.mark.parametrize("number", range(1, 140))
def test_errno_is_converted_as_the_c_library_does(common: ctypes.CDLL, number: int) -> None:
    assert error_from_errno(number).code == common.qb_to_cs_error(-number), errno.errorcode.get(number)


def test_every_code_of_the_c_library_is_known_here(common: ctypes.CDLL) -> None:
    unknown = common.cs_strerror(-1)
    named = {number for number in range(1, 200) if common.cs_strerror(number) != unknown}
    assert named <= {int(code) for code in CsErrorCode}
