"""Who may connect: root, root's group, and whom the configuration lists, as corosync decides it.

Source: `cs_ipcs_connection_accept` in corosync's exec/ipc_glue.c; `uidgid` in corosync.conf(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Credentials(NamedTuple):
    """Who a client is, on the kernel's word. `pid` is 0 for one in a pid namespace unseen from here."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Access:
    """The rule: uid 0 and gid 0 always, besides these."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, uids: Iterable[int] = (), gids: Iterable[int] = ()) -> Access:
        """Root, these, and the user who runs this server: without privileges, that is all there is."""
        return cls(frozenset(uids) | {os.geteuid()}, frozenset(gids))

    def allows(self, client: Credentials) -> bool:
        """Whether this client may connect."""
        if client.uid == 0 or client.gid == 0:
            return True
        return client.uid in self.uids or client.gid in self.gids
