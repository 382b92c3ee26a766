"""Who may connect: the kernel identifies a client, a rule says who is allowed, and a limit says how many.

Strategy: all listeners of a server share one `Admission`. It accepts a client, or answers it with an errno.
corosync accepts root, the group of root, and any user or group listed under `uidgid`. Sources:
`cs_ipcs_connection_accept` in corosync's exec/ipc_glue.c; `uidgid` in corosync.conf(5).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .limits import MAX_CONNECTIONS

_log = logging.getLogger(__name__)


class Credentials(NamedTuple):
    """Who a client is, according to the kernel. `pid` is 0 if its pid namespace is not visible from here."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True)
class AccessRule:
    """The rule: uid 0 and gid 0 always, and these."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, uids: Iterable[int] = (), gids: Iterable[int] = ()) -> AccessRule:
        """Allow root, these, and the user who runs this server."""
        return cls(frozenset(uids) | {os.geteuid()}, frozenset(gids))

    def allows(self, client: Credentials) -> bool:
        """Whether this client may connect."""
        if client.uid == 0 or client.gid == 0:
            return True
        return client.uid in self.uids or client.gid in self.gids


class Admission:
    """Decides who may connect: one for all listeners of a server."""

    def __init__(self, rule: AccessRule) -> None:
        self.rule = rule
        self.ready = True
        """While False, clients are told to try again, as when corosync is starting."""
        self.connections = 0
        """How many clients are connected, over all services."""

    def objection(self, client: Credentials, service: str) -> int:
        """The errno with which a client is refused; 0 for a client that is accepted."""
        if not self.ready:
            return errno.EAGAIN
        if self.connections >= MAX_CONNECTIONS:
            return errno.EMFILE
        if not self.rule.allows(client):
            _log.warning("%s: denied to uid %d, gid %d", service, client.uid, client.gid)
            return errno.EACCES
        return 0
