"""libqb's ring buffer in shared memory, the semaphore that counts its chunks, and the files behind both.

No sockets, no waiting. From the top down: `buffer` has the ring's rules, `semaphore` its counts, `memory` the
two ways to access a shared file; `files` opens, creates and removes such files, and `platform` knows where
these layouts are valid.
"""

from .buffer import Ring, chunk_words, ring_words
from .files import (
    SHM_DIRECTORY,
    SharedFileMissing,
    checked_path,
    create_shared_file,
    open_shared_file,
    remove_shared,
    remove_shared_file,
)
from .memory import WORD, GuardedMemory, MappedMemory, Memory, map_shared
from .platform import check_platform
from .semaphore import lower

__all__ = [
    "SHM_DIRECTORY",
    "WORD",
    "GuardedMemory",
    "MappedMemory",
    "Memory",
    "Ring",
    "SharedFileMissing",
    "check_platform",
    "checked_path",
    "chunk_words",
    "create_shared_file",
    "lower",
    "map_shared",
    "open_shared_file",
    "remove_shared",
    "remove_shared_file",
    "ring_words",
]
