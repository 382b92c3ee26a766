"""Every message, declared once in construct: bytes to values and back, without I/O.

`fields` has the field types, `derive` compiles declarations, `layout` is what a message is, and each service
has a module: `setup` (libqb's own), `votequorum`, `quorum`, `cmap` and `cfg`. `SERVICES` names them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import Kind, Layout, message_id, reply_error

if TYPE_CHECKING:
    SERVICES: dict[str, tuple[Layout, ...]]
    """Each service's messages; "setup" has those with which every connection begins."""

__all__ = ["SERVICES", "Kind", "Layout", "message_id", "reply_error"]


def __getattr__(name: str) -> Any:
    # Few programs speak to every service, and declaring a service's messages takes time.
    if name != "SERVICES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import cfg, cmap, quorum, setup, votequorum

    globals()[name] = {
        "setup": (setup.CONNECTION_REQUEST, setup.CONNECTION_RESPONSE),
        "votequorum": votequorum.MESSAGES,
        "quorum": quorum.MESSAGES,
        "cmap": cmap.MESSAGES,
        "cfg": cfg.MESSAGES,
    }
    return globals()[name]
