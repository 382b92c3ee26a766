"""Every message that is spoken, declared once in construct; bytes to values and back, and no I/O.

`fields` has the field types, `derive` compiles declarations, `layout` is what a message is, and each service
has a module: `setup` (libqb's own), `votequorum`, `quorum`, `cmap` and `cfg`. `SERVICES` names them all.
"""

from __future__ import annotations

from . import cfg, cmap, quorum, setup, votequorum
from .layout import Kind, Layout, message_id, reply_error

SERVICES: dict[str, tuple[Layout, ...]] = {
    "setup": (setup.CONNECTION_REQUEST, setup.CONNECTION_RESPONSE),
    "votequorum": votequorum.MESSAGES,
    "quorum": quorum.MESSAGES,
    "cmap": cmap.MESSAGES,
    "cfg": cfg.MESSAGES,
}
"""Each service's messages; "setup" is what every connection begins with."""

__all__ = ["SERVICES", "Kind", "Layout", "message_id", "reply_error"]
