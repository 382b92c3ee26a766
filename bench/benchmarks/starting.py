"""Starting: what the import adds, and the whole command."""

from __future__ import annotations

import compileall
import contextlib
import functools
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Iterator

from ..measure import absolute, of_rounds, ratio
from ..registry import benchmark
from ..rows import LeftOutError, Result, Row, at_most
from ..side import ROOT, Side
from ..stage import Stage

_TIMED = "from time import perf_counter_ns as now\n{before}\nstart = now()\n{timed}\nprint(now() - start)"
_BASE = "import trio, construct"


@benchmark(
    Row(
        "import.package",
        "import votequorum_ipc beyond import trio, construct",
        "ms",
        at_most(15),
        against=_BASE,
    ),
    Row("import.names", "from votequorum_ipc import Votequorum, Quorum beyond the same", "ms", against=_BASE),
)
def imports(stage: Stage) -> Iterator[Result]:
    """Import times, each in a fresh interpreter: the package on top of trio and construct, and those two
    alone.
    """
    _compile_package()
    cases = {
        "package": (_BASE, "import votequorum_ipc"),
        "names": (_BASE, "from votequorum_ipc import Votequorum, Quorum"),
        _BASE: ("", _BASE),
    }
    given = stage.alternate({name: functools.partial(_import, *case) for name, case in cases.items()})
    rounds = of_rounds(given, lambda times: times[0], scale=1e-6)
    for name in ("package", "names"):
        yield absolute(f"import.{name}", {"ours": rounds[name], _BASE: rounds[_BASE]}, "ms")


def _compile_package() -> None:
    """Write the package's bytecode, as pip does; PYTHONDONTWRITEBYTECODE would prevent it here."""
    if not compileall.compile_dir(ROOT / "votequorum_ipc", quiet=2):
        raise LeftOutError("the package does not compile")


def _import(before: str, timed: str) -> list[int]:
    code = _TIMED.format(before=before, timed=timed)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return [int(done.stdout)]


@benchmark(
    Row("command.time", "votequorum-ipc status, the whole command", "ms", at_most(250), against="quorumtool"),
    Row("command.memory", "the same, largest memory", "MiB", at_most(40), against="quorumtool"),
)
def command(stage: Stage) -> Iterator[Result]:
    """`votequorum-ipc status` and `corosync-quorumtool -s`."""
    _compile_package()
    if importlib.util.find_spec("votequorum_ipc.cli") is None:
        raise LeftOutError("there is no command yet")
    site, launcher = stage.corosync, [sys.executable, "-m", "bench.launcher"]
    argv = {
        "ours": [sys.executable, "-m", "votequorum_ipc", "status"],
        "quorumtool": ["corosync-quorumtool", "-s"],
    }
    with (
        site.start("votequorum-ipc status", [*launcher, *argv["ours"]]) as ours,
        site.start("corosync-quorumtool", [*launcher, *argv["quorumtool"]]) as quorumtool,
    ):
        given = stage.alternate(
            {"ours": functools.partial(_run, ours), "quorumtool": functools.partial(_run, quorumtool)},
        )
    yield absolute("command.time", of_rounds(given, lambda one: one[0], scale=1e-6), "ms")
    yield absolute("command.memory", of_rounds(given, lambda one: one[1], scale=1 / 1024), "MiB")


_PASS = "python -c pass"

_STARTED = {
    "start.json": ["-m", "votequorum_ipc", "status", "--json"],
    "start.text": ["-m", "votequorum_ipc", "status"],
    "start.blocking": ["-c", "from votequorum_ipc.blocking import Votequorum"],
    "start.construct": ["-c", "import construct"],
    "start.click": ["-c", "import construct, click"],
}


@benchmark(
    Row("start.json", "votequorum-ipc status --json, against python -c pass", "x", at_most(8), against=_PASS),
    Row("start.text", "votequorum-ipc status, against the same", "x", at_most(11), against=_PASS),
    Row("start.blocking", "import of the blocking side, against the same", "x", at_most(5), against=_PASS),
    Row("start.construct", "import construct alone, against the same", "x", against=_PASS),
    Row("start.click", "import construct, click, against the same", "x", against=_PASS),
)
def start(stage: Stage) -> Iterator[Result]:
    """Processes that ask once and exit, compared with a process that does nothing."""
    _compile_package()
    launcher = [sys.executable, "-m", "bench.launcher"]
    with contextlib.ExitStack() as stack:
        asks = {}
        for name, argv in {**_STARTED, _PASS: ["-c", "pass"]}.items():
            side = stack.enter_context(stage.corosync.start(name, [*launcher, sys.executable, *argv]))
            asks[name] = functools.partial(side.ask, "run", 1)
        rounds = of_rounds(stage.alternate(asks), lambda one: one[0], scale=1e-6)
    for name in _STARTED:
        yield ratio(name, {"ours": rounds[name], _PASS: rounds[_PASS]}, "ms", against=_PASS)


def _run(side: Side) -> list[int]:
    """The median of three."""
    numbers = side.ask("run", 3)
    return [int(statistics.median(numbers[::2])), int(statistics.median(numbers[1::2]))]
