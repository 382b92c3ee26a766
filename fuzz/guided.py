"""Runs the codec or the ring target under atheris: libFuzzer steers the cases by the lines that they reach.

    python -m fuzz.guided codec -max_total_time=60 CORPUS-DIRECTORY

The same strategies and the same property as elsewhere, through hypothesis's `fuzz_one_input`: libFuzzer's
bytes stand for hypothesis's choices. After the target's name come libFuzzer's own options. A directory that
does not exist is made. atheris is a separate package (`pip install atheris`), for CPython on x86_64.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, Final

TARGETS: Final = ("codec", "ring")
"""Targets that are pure enough: no process, no daemon, no clock."""


def main(arguments: list[str]) -> None:
    """Run until libFuzzer's options say that it is enough; it exits by itself."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz.guided needs atheris: pip install atheris")
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz.guided {'|'.join(TARGETS)} [libFuzzer's options]")
    with atheris.instrument_imports(include=["votequorum_ipc"]):
        from hypothesis import given, settings

        from fuzz.target import find_targets

        target = find_targets()[arguments[1]]
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(target.session())

        @settings(database=None, deadline=None)
        @given(target.cases)
        def property_holds(case: object) -> None:
            session.check(case)

        test: Any = property_holds  # hypothesis adds the attribute, and no type for it
        for argument in arguments[2:]:
            if not argument.startswith("-") and not Path(argument).exists():
                Path(argument).mkdir(parents=True)
        atheris.Setup([arguments[0], *arguments[2:]], test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
