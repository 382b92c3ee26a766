"""corosync.conf files for the tests of `check`, and the command."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from votequorum_ipc.cli.app import app


def run(*arguments: str | Path) -> Result:
    """`votequorum-ipc check` with these arguments."""
    return CliRunner().invoke(app, ["check", *map(str, arguments)], prog_name="votequorum-ipc")


def conf(nodes: int, *quorum: str) -> str:
    """A corosync.conf with this many nodes, and these lines in its quorum section."""
    listed = "".join(
        f"    node {{\n        nodeid: {at}\n        ring0_addr: 10.0.0.{at}\n    }}\n"
        for at in range(1, nodes + 1)
    )
    lines = "\n".join(["    provider: corosync_votequorum", *(f"    {line}" for line in quorum)])
    return f"totem {{\n    version: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\n{lines}\n}}\n"


def write(directory: Path, text: str, name: str = "corosync.conf") -> Path:
    """Write the text to a file."""
    file = directory / name
    file.write_text(text)
    return file
