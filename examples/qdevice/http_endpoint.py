"""A vote while a web service answers 200: python http_endpoint.py https://witness.example/alive

Protects from: a node that cannot reach the service it depends on. It also lets you stop a part of the cluster
from outside, by making the service answer something else than 200.

Does not protect from: a split in which both sides reach the service and it answers 200 to both. In a cluster
of two nodes BOTH SIDES CONTINUE then. The service can prevent that by answering 200 to only one part: the
request names the node and the members of its part.
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from functools import partial

import trio

from votequorum_ipc.qdevice import View

SECONDS = 3.0
"""How long the service may take for each step of its answer."""


class Endpoint:
    """The decision. It makes one request at a time: while an old one hangs, no other is made."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"no http address: {url}")
        self._url = url
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def __call__(self, view: View) -> bool:
        query = urllib.parse.urlencode({"node": view.node_id, "members": ",".join(map(str, view.members))})
        ask = partial(_says_200, f"{self._url}?{query}")
        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._one_at_a_time)


def _says_200(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False


if __name__ == "__main__":
    from _program import main  # the file beside this one

    main("witness", Endpoint, "URL", __doc__)
