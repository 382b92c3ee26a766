"""A vote for the part of the cluster that has a lease in Redis: python redis_lease.py redis.example

Protects from: two parts that both continue, in clusters of any size. One node's id is in a key that expires,
and all nodes in its part vote. A holder that does not renew the key loses it to another node. The same works
with any store that can set a key if it does not exist, and let it expire: etcd, Consul, a database.

Does not protect from: a Redis that forgets. If it fails over to a replica, or starts again with an old file,
it may give the lease to a second node: run one server outside the cluster's nodes, without a replica that
takes over, or a store with consensus. While the server is away no node has the vote, and each part has only
its own votes; that is safe. And a vote may outlive its decision by quorum.device.timeout, and by
.sync_timeout more if the membership changes just then. So no node votes on a lease that might end before
that, `VOTE_LIFE`.
"""

from __future__ import annotations

import trio

from votequorum_ipc.qdevice import View

VOTE_LIFE = 10.0 + 30.0
"""Seconds that a vote may live: quorum.device.timeout and .sync_timeout."""

LEASE = 30.0 + VOTE_LIFE + 20.0
"""Seconds without renewal after which another node may take the lease: the longest decision, a vote's life,
and some for a few renewals that fail."""

TAKE_OR_RENEW = """
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
"""

_LONGEST_LINE = 512


class RedisLease:
    """The decision."""

    def __init__(
        self,
        host: str,
        port: int = 6379,
        key: str = "quorum",
        *,
        lease: float = LEASE,
        vote_life: float = VOTE_LIFE,
    ) -> None:
        self._host, self._port, self._key = host, port, key
        self._lease = lease
        self._vote_life = vote_life

    async def __call__(self, view: View) -> bool:
        began = trio.current_time()
        milliseconds = str(int(self._lease * 1000))
        ask = command("EVAL", TAKE_OR_RENEW, "1", self._key, str(view.node_id), milliseconds)
        async with await trio.open_tcp_stream(self._host, self._port) as stream:
            await stream.send_all(ask)
            holder, remaining = await Replies(stream).lease()
        # The server measured the remaining time at some moment between `began` and now.
        safe_for = remaining - (trio.current_time() - began)
        return holder in view.members and safe_for >= view.time_left + self._vote_life


def command(*words: str) -> bytes:
    """A command in Redis' protocol (RESP): an array of strings, each with its length."""
    strings = (b"$%d\r\n%s\r\n" % (len(raw), raw) for raw in (word.encode() for word in words))
    return b"*%d\r\n" % len(words) + b"".join(strings)


class Replies:
    """Reads the script's answer: the holder's node id, and the seconds left. Raises `OSError`."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._received = b""

    async def lease(self) -> tuple[int, float]:
        await self._expect(b"*2")
        await self._line(b"$")
        holder = await self._line(b"")
        remaining = await self._line(b":")
        return int(holder), int(remaining) / 1000

    async def _expect(self, line: bytes) -> None:
        received = await self._line(b"")
        if received != line:
            raise OSError(f"Redis answers {received!r}")

    async def _line(self, kind: bytes) -> bytes:
        while b"\r\n" not in self._received:
            more = await self._stream.receive_some()
            if not more or len(self._received) > _LONGEST_LINE:
                raise OSError(f"Redis answers {self._received!r} and no more")
            self._received += bytes(more)
        line, _, self._received = self._received.partition(b"\r\n")
        if not line.startswith(kind):
            raise OSError(f"Redis answers {line!r}")
        return line.removeprefix(kind)


def at(text: str) -> RedisLease:
    """The decision about the server at "HOST" or "HOST:PORT". Raises `ValueError`."""
    host, _, port = text.partition(":")
    return RedisLease(host, int(port or 6379))


if __name__ == "__main__":
    from _program import main  # the file beside this one

    main("lease", at, "HOST[:PORT]", __doc__)
