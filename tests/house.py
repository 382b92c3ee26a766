"""The house: the rooms of the package, and which may import which.

`python -m tests.house` draws it into docs/architecture.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = "votequorum_ipc"
CHECKOUT: Final = ("fuzz", "bench", "protocol_specs")
"""Packages of the checkout: they import the library, which imports none of them."""

ROOMS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("__main__", "cli", "exporter", "live"), "what people run; each is an extra, and nothing imports it"),
    (("testing",), "a simulated cluster for other programs' tests"),
    (("", "blocking"), "the names that programs import"),
    (("check",), "what a configuration survives"),
    (("overview", "links"), "a node's whole state as one value, and its links"),
    (("qdevice", "watch", "follow", "nodelist"), "on top of the clients: quorum devices, quorum as a whole"),
    (("votequorum", "quorum", "cmap", "cfg"), "the clients, one module for each service"),
    (("handle", "retry"), "the common part of the clients"),
    (("daemon",), "libqb's server half, and corosync's services on top of the model"),
    (("ipc", "exception_groups"), "libqb's client half, and the three ways to wait"),
    (("strategies",), "hypothesis strategies for everything that crosses a connection"),
    (("attack",), "the steps of a hostile client"),
    (("ring",), "the shared-memory ring"),
    (("wire",), "every message: bytes to values and back, no I/O"),
    (("cluster",), "votequorum's rules as a pure model"),
    (("sockets",), "where a service's socket is: addresses"),
    (("explain", "margin"), "a status in sentences, and the failures it survives"),
    (("sessions",), "runs commands, and ends them with their children"),
    (("types", "errors"), "values and errors"),
)
"""The rooms from the top down, level by level, and what each is for. "" is the package itself.

A room is a package or a module of `votequorum_ipc`. Some rooms are planned and not built yet.
"""

ALONE: Mapping[str, frozenset[str]] = {
    "explain": frozenset({"types", "errors"}),
    "margin": frozenset({"types", "errors"}),
    "cluster": frozenset({"types", "errors"}),
    "check": frozenset({"cluster", "types", "errors"}),
    "wire": frozenset({"types", "errors"}),
    "ring": frozenset({"wire", "types", "errors"}),
    "ipc": frozenset({"ring", "wire", "sockets", "types", "errors", "exception_groups"}),
    "strategies": frozenset({"attack", "cluster", "wire", "sockets", "types", "errors"}),
    "daemon": frozenset({"cluster", "ring", "wire", "sockets", "types", "errors", "exception_groups"}),
    "sockets": frozenset({"errors"}),
    "types": frozenset({"errors"}),
    "errors": frozenset(),
}
"""Rooms that may import only these others, whatever else is below them."""

DOCUMENT: Final = ROOT / "docs" / "architecture.md"
_DRAWING: Final = re.compile(r"(<!-- house -->\n```\n)(.*?)(```\n<!-- /house -->)", re.DOTALL)


def drawing() -> str:
    """The rooms that exist, a level on each line."""
    lines = []
    for rooms, purpose in ROOMS:
        built = " ".join(name or PACKAGE for name in rooms if _is_built(name))
        if built:
            lines.append(f"{built:<34}{purpose}\n")
    return "".join(lines)


def _is_built(room: str) -> bool:
    place = ROOT / PACKAGE / room
    return place.is_dir() or place.with_suffix(".py").is_file()


def drawn() -> str:
    """The document with an up-to-date drawing."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return _DRAWING.sub(lambda found: f"{found[1]}{drawing()}{found[3]}", text, count=1)


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(), encoding="utf-8")
