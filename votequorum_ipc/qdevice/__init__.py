"""Quorum devices: an extra vote in corosync's quorum, decided by your own code.

```python
async def vote(view: View) -> bool:  # asked at each interval, and at once when the membership changes
    return await my_storage_is_mine(view.members)


trio.run(run_qdevice, "shared-disk", vote)
```

`schedule` knows when a decision is due, for which ring, and until when its answer counts; it does no I/O.
`settings` reads the configuration of devices. `device` is one registered device, for programs with their own
loop; `run` is the loop. `commands` makes decisions from commands, `record` leaves the last vote for other
processes to read, `systemd` notifies the service manager. What a vote means: docs/quorum-devices.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..sessions import Outcome
    from .commands import Command, Commands
    from .device import QuorumDevice, View
    from .run import Ballot, Vote, run_qdevice
    from .schedule import Timeouts

__all__ = [
    "Ballot",
    "Command",
    "Commands",
    "Outcome",
    "QuorumDevice",
    "Timeouts",
    "View",
    "Vote",
    "run_qdevice",
]

_HOMES: Final = {
    "Ballot": "run",
    "Command": "commands",
    "Commands": "commands",
    "Outcome": "commands",
    "QuorumDevice": "device",
    "Timeouts": "schedule",
    "View": "device",
    "Vote": "run",
    "run_qdevice": "run",
}
"""Names, and the modules that have them. They import trio, which is not needed to read a record."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
