"""The clients for programs without an event loop: the same names, without `async` and `await`.

```python
from votequorum_ipc.blocking import Votequorum

with Votequorum.initialize() as vq:
    print(vq.getinfo(timeout=1.0).quorate)
```

Strategy: the classes here hold those of `votequorum_ipc` and run their coroutines to the end in the calling
thread (`ipc.blocking_backend`). Neither trio nor asyncio is imported. `tools/blocking_source.py` generates
the modules `votequorum`, `quorum`, `cmap` and `cfg`; each is imported when it is first used.

Values and errors are those of `votequorum_ipc`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .cfg import Cfg
    from .cmap import Cmap
    from .quorum import Quorum
    from .votequorum import Votequorum
    from .watch import QuorumWatcher, cluster_status, watch_quorum

__all__ = ["Cfg", "Cmap", "Quorum", "QuorumWatcher", "Votequorum", "cluster_status", "watch_quorum"]

_MODULES: Final = {
    "Cfg": "cfg",
    "Cmap": "cmap",
    "Quorum": "quorum",
    "QuorumWatcher": "watch",
    "Votequorum": "votequorum",
    "cluster_status": "watch",
    "watch_quorum": "watch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
