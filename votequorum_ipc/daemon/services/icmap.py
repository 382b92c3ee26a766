"""A node's keys as a writable map: keys from the configuration and the model, and keys that clients set.

Strategy: some keys are derived from the configuration, the membership and votequorum. They are computed when
a client asks or tracks, and compared with the last result; only differences go into the map. So a value that
a client wrote stays until its source changes, as in corosync, whose modules write a key when it changes. A
reload restores the keys that corosync.conf sets. Source: exec/icmap.c, exec/main.c (`set_icmap_ro_keys_flag`)
and exec/cfg.c of corosync 3.1.7.
"""

from __future__ import annotations

import bisect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Final

from ...errors import CsErrorCode
from ...types import ValueType
from ...wire.cmap import NUMBERS, VALUE_MAXLEN
from ..limits import MAX_ADDED_KEYS
from .keys import CmapKeys, Key

Changed = Callable[[str, Key | None, Key | None], None]
"""Takes a key, its old value and its new one; None if it had or has no value."""

READ_ONLY_PREFIXES: Final = (
    "internal_configuration.",
    "runtime.services.",
    "runtime.config.",
    "runtime.totem.",
    "uidgid.config.",
    "system.",
    "nodelist.",
)
"""Prefixes of the keys that no client can change."""

READ_ONLY: Final = frozenset(
    {
        *(
            f"totem.{name}"
            for name in (
                "crypto_cipher",
                "crypto_hash",
                "crypto_model",
                "keyfile",
                "key",
                "secauth",
                "ip_version",
                "rrp_mode",
                "transport",
                "cluster_name",
                "netmtu",
                "threads",
                "version",
                "nodeid",
                "clear_node_high_bit",
            )
        ),
        "config.reload_in_progress",
        "config.totemconfig_reload_in_progress",
    }
)
"""Keys that no client can change."""

READ_ONLY_WITH_VOTEQUORUM: Final = frozenset(
    f"quorum.{name}"
    for name in (
        "allow_downscale",
        "wait_for_all",
        "last_man_standing",
        "last_man_standing_window",
        "expected_votes_tracking",
        "auto_tie_breaker",
        "auto_tie_breaker_node",
    )
)
"""More of them if votequorum is the provider (`votequorum_exec_init_fn`)."""

_FROM_THE_FILE: Final = ("logging.", "totem.", "nodelist.", "quorum.", "uidgid.config.", "nozzle.")
"""Keys that a reload sets from the file, or deletes if the file no longer has them."""

_KEPT_BY_A_RELOAD: Final = READ_ONLY | {"quorum.provider"}
"""Keys that a reload leaves alone, even if the file differs (`remove_ro_entries`)."""

_NAME: Final = re.compile(r"[a-zA-Z0-9._/:-]{3,255}")
"""A key's name: ICMAP_KEYNAME_MINLEN to ICMAP_KEYNAME_MAXLEN of these."""


class Icmap:
    """The keys of one node."""

    def __init__(self, derive: Callable[[], CmapKeys]) -> None:
        """`derive` computes the derived keys. `watchers` are called for each change."""
        self.watchers: list[Changed] = []
        self.read_only = READ_ONLY
        self._derive = derive
        self._derived: CmapKeys = {}
        self._keys: CmapKeys = {}
        self._names: list[str] | None = None
        self._stale = True

    # --- reading ---

    def get(self, name: str) -> Key | None:
        """The value of a key."""
        self._catch_up()
        return self._keys.get(name)

    def number(self, name: str, type_: ValueType) -> int | None:
        """The value of a key with this type of integer; None for any other key."""
        key = self.get(name)
        if key is None or key.type is not type_:
            return None
        return int(NUMBERS[type_].unpack(key.raw)[0])

    def names(self, prefix: str = "") -> Iterator[str]:
        """The names of all keys with this prefix, in cmap's order."""
        self._catch_up()
        if self._names is None:
            self._names = sorted(self._keys)
        names = self._names
        for at in range(bisect.bisect_left(names, prefix), len(names)):
            if not names[at].startswith(prefix):
                return
            yield names[at]

    # --- changes from elsewhere ---

    def outdate(self) -> None:
        """The sources of derived keys may have changed. Watchers are called before this returns."""
        self._stale = True
        if self.watchers:
            self._catch_up()

    def reload(self) -> None:
        """The file was read again: drop what clients wrote over it."""
        self._catch_up()
        for name in [each for each in self._keys if each.startswith(_FROM_THE_FILE)]:
            if name not in self._derived:
                self._put(name, None)
        for name, key in self._derived.items():
            if name.startswith(_FROM_THE_FILE):
                self._put(name, key)

    def _catch_up(self) -> None:
        if not self._stale:
            return
        self._stale = False
        before, now = self._derived, self._derive()
        for name in _KEPT_BY_A_RELOAD & now.keys() & before.keys():
            now[name] = before[name]
        self._derived = now
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                self._put(name, now.get(name))

    # --- writing ---

    def is_read_only(self, name: str) -> bool:
        """Whether clients cannot change a key."""
        return name in self.read_only or name.startswith(READ_ONLY_PREFIXES)

    def put(self, name: str, key: Key | None) -> None:
        """Set or delete a key; the daemon's own modules may do so with every key."""
        self._catch_up()
        self._put(name, key)

    def set(self, name: str, type_: int, raw: bytes) -> CsErrorCode:
        """A client sets a key. Returns OK or the error (`icmap_set_r`)."""
        if self.is_read_only(name):
            return CsErrorCode.ACCESS
        key = _checked(type_, raw)
        if key is None:
            return CsErrorCode.INVALID_PARAM
        if self.get(name) is None:
            if not _NAME.fullmatch(name):
                return CsErrorCode.NAME_TOO_LONG
            if len(self._keys) >= len(self._derived) + MAX_ADDED_KEYS:
                return CsErrorCode.NO_MEMORY
        self._put(name, key)
        return CsErrorCode.OK

    def delete(self, name: str) -> CsErrorCode:
        """A client deletes a key (`icmap_delete_r`)."""
        if self.is_read_only(name):
            return CsErrorCode.ACCESS
        if self.get(name) is None:
            return CsErrorCode.NOT_EXIST
        self._put(name, None)
        return CsErrorCode.OK

    def adjust_int(self, name: str, step: int) -> CsErrorCode:
        """A client adds to an integer, which wraps around as in C (`icmap_adjust_int_r`)."""
        if self.is_read_only(name):
            return CsErrorCode.ACCESS
        key = self.get(name)
        if key is None:
            return CsErrorCode.NOT_EXIST
        if key.type > ValueType.UINT64:
            return CsErrorCode.INVALID_PARAM
        size = len(key.raw)
        value = int.from_bytes(key.raw, _ORDER) + step
        self._put(name, Key(key.type, (value & ((1 << 8 * size) - 1)).to_bytes(size, _ORDER)))
        return CsErrorCode.OK

    def _put(self, name: str, key: Key | None) -> None:
        old = self._keys.get(name)
        if key == old:
            return
        if key is None:
            del self._keys[name]
        else:
            self._keys[name] = key
        if (old is None) != (key is None):
            self._names = None
        for watcher in list(self.watchers):
            watcher(name, old, key)


def _checked(type_: int, raw: bytes) -> Key | None:
    """A value as it is stored, or None if its type cannot have it (`icmap_check_value_len`)."""
    try:
        kind = ValueType(type_)
    except ValueError:
        return None
    if len(raw) > VALUE_MAXLEN:
        return None
    if kind is ValueType.STRING:
        text = raw.partition(b"\0")[0]
        return Key(kind, text + b"\0") if len(raw) <= len(text) + 1 else None
    if kind is ValueType.BINARY or len(raw) == NUMBERS[kind].size:
        return Key(kind, raw)
    return None


_ORDER: Final = sys.byteorder
