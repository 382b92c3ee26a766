"""Counting in memory that the other side may write to: whatever it writes there, this process lives on.

Each case runs in a process of its own, because what went wrong ended the process, or stopped it for ever with
the interpreter lock held.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_POST_TO_SEMAPHORE = """
import mmap, struct
from votequorum_ipc.ring import Semaphore
memory = mmap.mmap(-1, 4096)
memory[:32] = struct.pack("=8I", 4, *[{noise}] * 7)
semaphore = Semaphore(memory, 0)
print(semaphore.post(), semaphore.value())
"""


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


@pytest.mark.parametrize("noise", [0, 1, 3, 4, 0x80, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_semaphore_is_raised_whatever_the_other_side_has_made_of_it(noise: int) -> None:
    assert output_of(_POST_TO_SEMAPHORE.format(noise=noise)) == "True 5\n"
