"""On a processor with 32 bits everything that needs shared memory refuses, with advice that helps."""

from __future__ import annotations

import struct

import pytest

from votequorum_ipc import NotSupported
from votequorum_ipc.ring import check_platform

pytestmark = pytest.mark.skipif(struct.calcsize("P") == 8, reason="this processor is supported")


def test_a_32_bit_process_refuses_without_advice_that_does_not_help() -> None:
    with pytest.raises(NotSupported) as caught:
        check_platform()
    assert "qb_ipc_type" not in str(caught.value)
