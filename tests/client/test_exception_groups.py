"""Exceptions from nurseries that the caller does not know about."""

from __future__ import annotations

import math

import pytest

from votequorum_ipc.exception_groups import collapse_exception_group

INNER = KeyError("inner")
ONE = ExceptionGroup("one", [INNER])
TWO = ExceptionGroup("two", [INNER, ValueError()])


@pytest.mark.parametrize(
    ("levels", "raised", "seen"),
    [
        (1, INNER, INNER),
        (1, ONE, INNER),
        (1, ExceptionGroup("nested", [ONE]), ONE),
        (1, TWO, TWO),
        (2, ExceptionGroup("nested", [ONE]), INNER),
        (math.inf, ExceptionGroup("deep", [ExceptionGroup("nested", [ONE])]), INNER),
        (math.inf, ExceptionGroup("nested", [TWO]), TWO),
    ],
)
def test_groups_of_one_are_collapsed_down_to_the_given_level(
    levels: float, raised: Exception, seen: Exception
) -> None:
    with pytest.raises(type(seen)) as caught, collapse_exception_group(levels):
        raise raised
    assert caught.value is seen


def test_the_cause_of_an_exception_is_kept() -> None:
    cause, error = OSError("cause"), KeyError("error")
    error.__cause__ = cause
    with pytest.raises(KeyError) as caught, collapse_exception_group():
        raise ExceptionGroup("of a nursery", [error])
    assert caught.value.__cause__ is cause
    assert caught.value.__suppress_context__
