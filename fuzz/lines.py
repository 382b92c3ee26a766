"""Shows which lines of corosync and libqb a run reached: `python -m fuzz.lines PREFIX`.

Strategy: a corosync that `tools/sanitized-corosync` built adds to its counters whenever it ends politely.
gcov turns these into lines; here they are summed up by what a client can reach. `--reset` starts from zero.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

_HANDLERS: Final = "message_handler_req_lib_"
"""What the names of a service's handlers for requests of clients begin with."""

_FILES: Final = {
    "ipcs.c": "libqb: server",
    "ipc_setup.c": "libqb: handshake",
    "ipc_shm.c": "libqb: shared memory",
    "ipc_socket.c": "libqb: sockets",
    "ringbuffer.c": "libqb: ring",
    "ringbuffer_helper.c": "libqb: ring",
    "ipc_glue.c": "corosync: IPC",
    "icmap.c": "corosync: the map behind cmap",
    "stats.c": "corosync: the statistics map",
}
_SERVICES: Final = {
    "votequorum.c": "votequorum",
    "vsf_quorum.c": "quorum",
    "cmap.c": "cmap",
    "cfg.c": "cfg",
}


@dataclass
class Reached:
    """Lines of one part, by file and number."""

    all: set[tuple[str, int]] = field(default_factory=set)
    reached: set[tuple[str, int]] = field(default_factory=set)

    def __str__(self) -> str:
        share = len(self.reached) / len(self.all) if self.all else 0
        return f"{share:4.0%}  {len(self.reached):4} of {len(self.all):4}"


def part_of(file: str, function: str) -> str:
    """The part that a line belongs to; "" for what no client reaches."""
    name = Path(file).name
    if name in _SERVICES:
        kind = "handlers" if function.startswith(_HANDLERS) else "other code"
        return f"corosync: {_SERVICES[name]}, {kind}"
    return _FILES.get(name, "")


def lines(prefix: Path) -> dict[str, Reached]:
    """The lines of each part. Raises OSError without gcov, CalledProcessError where it fails."""
    parts: dict[str, Reached] = defaultdict(Reached)
    for report in _reports(prefix):
        for file in report["files"]:
            for line in file["lines"]:
                part = parts[part_of(file["file"], line.get("function_name", ""))]
                place = Path(file["file"]).name, line["line_number"]
                part.all.add(place)
                if line["count"]:
                    part.reached.add(place)
    parts.pop("", None)
    return dict(sorted(parts.items()))


def _counters(prefix: Path) -> list[Path]:
    return sorted(prefix.glob("build/**/*.gcda"))


def _reports(prefix: Path) -> Iterator[dict[str, Any]]:
    wanted = {Path(name).stem for name in (*_FILES, *_SERVICES)}
    for path in _counters(prefix):
        # libtool puts the library's name before that of the file.
        if path.stem in wanted or path.stem.partition("-")[2] in wanted:
            argv = ["gcov", "--json-format", "--stdout", path.name]
            done = subprocess.run(argv, cwd=path.parent, capture_output=True, text=True, check=True)
            yield from map(json.loads, done.stdout.splitlines())


@click.command()
@click.argument("prefix", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--reset", is_flag=True, help="Forget what was counted so far.")
def main(prefix: Path, reset: bool) -> None:
    """Show which lines were reached of the build in PREFIX."""
    if reset:
        for path in _counters(prefix):
            path.unlink()
        return
    if not _counters(prefix):
        sys.exit(f"nothing was counted in {prefix}: run a corosync of that build first, and end it politely")
    for part, reached in lines(prefix).items():
        click.echo(f"{reached}  {part}")


if __name__ == "__main__":
    main()
