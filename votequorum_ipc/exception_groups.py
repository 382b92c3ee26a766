"""Keeps our internal nurseries out of the exceptions that callers see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def collapse_exception_group(levels: float = 1) -> Iterator[None]:
    """Unwrap an exception group with a single exception, keeping its cause; repeat for `levels` levels.

    One level stands for one of our nurseries: a group that was raised inside the nursery stays a group.
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
