"""What nurseries make of exceptions, undone: who calls us need not know that there is a nursery inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def unwrapped(levels: float = 1) -> Iterator[None]:
    """Raise a group of one as the exception in it, with its cause; the same again for so many levels.

    One level is for one nursery of ours: what came as a group from inside it stays one.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while levels and isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error, levels = error.exceptions[0], levels - 1
        if error is group:
            raise
        raise error from error.__cause__
