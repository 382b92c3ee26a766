"""Two clients at once, while nodes come and go: corosync lives, and serves another client within 5 s.

A case is what two clients send at the same time to one node of three, and what happens to the cluster
meanwhile: another node dies or comes back, the network is cut or heals, or the node itself is killed or shut
down and started again. Every request is valid and announced correctly, and a client may close a connection
at any step. The clients repeat their steps until the node is up again. So only the order of things can go
wrong. Damage, false lengths and false names, which the known findings need, are left out.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from fuzz.attacker import Attacker
from fuzz.edges import Edges, edges_of_daemons
from fuzz.known import Known, what_matters
from fuzz.target import Target
from fuzz.targets.corosync import Died, end_of_log, failure_of, limit_memory
from tests.real import leftovers
from tests.real.cluster import Cluster, cluster, three_nodes
from tests.real.config import Config, Device
from votequorum_ipc.attack import Close, Connect, Handshake, Send, Step
from votequorum_ipc.sockets import KNOWN_SERVICES
from votequorum_ipc.strategies.attacks import about, without_orders_to_end
from votequorum_ipc.strategies.messages import Frame, valid
from votequorum_ipc.wire import Kind

ATTACKED: Final = 1
"""The node that the clients talk to."""

PAUSE: Final = 0.005
"""Seconds before a client repeats its steps: while the node is down it can only try to connect."""

_LONGEST_VALUE: Final = 4096
_LONGEST_NAME: Final = 254


_CONNECTIONS: Final = 2
"""How many each client has, at most."""


def _number(step: Step) -> int:
    """The number of a step's connection; a handshake, which these clients do not send, has none."""
    assert not isinstance(step, Handshake)
    return step.connection


def _shifted(step: Step, by: int) -> Step:
    assert not isinstance(step, Handshake)
    return replace(step, connection=step.connection + by)


@dataclass(frozen=True)
class Together:
    """What two clients do at once, and what happens meanwhile."""

    first: tuple[Step, ...]
    second: tuple[Step, ...]
    meanwhile: str
    """A key of `HAPPENINGS`."""

    def joined(self) -> tuple[Step, ...]:
        """The steps of both, as if one client had taken them: the second one's connections come after."""
        return (*self.first, *(_shifted(step, _CONNECTIONS) for step in self.second))

    def with_steps(self, joined: Sequence[Step]) -> Together:
        """The same with some of the `joined` steps."""
        return Together(
            tuple(step for step in joined if _number(step) < _CONNECTIONS),
            tuple(_shifted(step, -_CONNECTIONS) for step in joined if _number(step) >= _CONNECTIONS),
            self.meanwhile,
        )


def _nothing(nodes: Cluster) -> None:
    pass


def _kill_another(nodes: Cluster) -> None:
    if nodes[3].alive:
        nodes[3].kill()


def _start_another(nodes: Cluster) -> None:
    if not nodes[3].alive:
        nodes[3].start()


def _kill_and_start(nodes: Cluster) -> None:
    nodes[ATTACKED].discard()
    _start(nodes)


def _shut_down_and_start(nodes: Cluster) -> None:
    nodes[ATTACKED].stop()
    _start(nodes)


def _start(nodes: Cluster) -> None:
    nodes[ATTACKED].start()
    nodes[ATTACKED].wait_ready()
    limit_memory(nodes[ATTACKED].pid)  # earlier, the program that execs corosync would get the limit


HAPPENINGS: Final[dict[str, Callable[[Cluster], None]]] = {
    "nothing": _nothing,
    "another node dies": _kill_another,
    "another node comes back": _start_another,
    "the network is cut": lambda nodes: nodes.isolate(2),
    "the network heals": lambda nodes: nodes.heal(),
    "the node is killed and started": _kill_and_start,
    "the node is shut down and started": _shut_down_and_start,
}


class TwoClients:
    """A session: one real cluster."""

    def __init__(self, nodes: Cluster, edges: Edges | None = None) -> None:
        """`edges` are those of the daemons."""
        self._nodes = nodes
        self.edges = edges
        self._known = Known()
        self.keep_in = self._known.keep_in

    def check(self, case: Together) -> None:
        """Let everything happen at once, and see what is left. Raises `CorosyncFailed`."""
        try:
            self._let_happen(case)
            self._all_live(case.meanwhile)
            self._probe()
        except Exception:
            self._start_afresh()
            raise

    def _start_afresh(self) -> None:
        self._nodes.discard()
        for node in self._nodes:
            node.log.unlink(missing_ok=True)  # the next failure is not to be explained by this one
        self._nodes.heal()
        self._nodes.start()
        limit_memory(self._nodes[ATTACKED].pid)

    def _let_happen(self, case: Together) -> None:
        over = threading.Event()
        clients = [
            threading.Thread(target=self._attack, args=[steps, over]) for steps in (case.first, case.second)
        ]
        for client in clients:
            client.start()
        try:
            HAPPENINGS[case.meanwhile](self._nodes)
        finally:
            over.set()
            for client in clients:
                client.join()

    def summary(self) -> str:
        """How much of the daemons was reached, where they count that."""
        return f"{self.edges.reached:,} edges" if self.edges and self._count() else ""

    def _count(self) -> bool:
        if self.edges:
            self.edges.take()
        return bool(self.edges and self.edges.reached)

    def end(self) -> None:
        """End the daemons politely where they count: they write down their counters then."""
        if self._count():
            for node in self._nodes:
                if node.alive:
                    node.signal(signal.SIGTERM)
            for node in self._nodes:
                node.stop()

    # --- going on after a failure ---

    def unknown_part(self, case: Together) -> Together:
        """The case without the steps that complete a known combination of features, whoever takes them."""
        return case.with_steps(self._known.unknown_part(case.joined()))

    def label(self, case: Together) -> str:
        """The known combinations of features that the case has."""
        return self._known.label(case.joined())

    def learn(self, case: Together, until: float) -> tuple[Together, str]:
        """Count the combination of features as known."""
        combination = what_matters(case.joined())
        self._known.add(combination)
        return case, f"features: {sorted(combination)}"

    def _attack(self, steps: Sequence[Step], over: threading.Event) -> None:
        attacker = Attacker()
        with self._nodes[ATTACKED].namespace():
            try:
                attacker.perform(steps)
                while not over.wait(PAUSE):
                    # Afresh: an open connection may give a request to a service that obeys it.
                    attacker.close()
                    attacker.perform(steps)
            finally:
                attacker.close()

    def _all_live(self, meanwhile: str) -> None:
        # Node 3 is killed by us alone, and lives again only after it was started.
        for nodeid in (ATTACKED, 2):
            if not self._nodes[nodeid].alive:
                raise Died(f"node {nodeid}, while {meanwhile}{end_of_log(self._nodes[nodeid])}")

    def _probe(self) -> None:
        daemon = self._nodes[ATTACKED]
        daemon.wait_ready()
        with daemon.namespace():
            failure = failure_of(daemon)
        if failure is not None:
            raise failure


# --- the cases ---


def _harmless(frame: Frame) -> bool:
    """Whether a request is none of those that the findings are about."""
    names = [value for value in frame.fields.values() if isinstance(value, str | bytes)]
    return frame.fields.get("value_len", 0) <= _LONGEST_VALUE and all(
        len(name) <= _LONGEST_NAME for name in names
    )


def _clients() -> st.SearchStrategy[tuple[Step, ...]]:
    numbers = st.sampled_from([0, 0, 1])
    requests = valid(services=KNOWN_SERVICES, kinds=(Kind.REQUEST,)).filter(_harmless)
    connects = st.builds(Connect, numbers, st.sampled_from(KNOWN_SERVICES))
    sends = st.builds(lambda number, frame: Send(number, frame.data, about=about(frame)), numbers, requests)
    steps = st.lists(
        st.one_of(sends, sends, sends, connects, st.builds(Close, numbers)), min_size=1, max_size=20
    )
    return st.builds(lambda first, rest: without_orders_to_end((first, *rest)), connects, steps)


@contextlib.contextmanager
def _session() -> Iterator[TwoClients]:
    leftovers.reap()
    config = Config(nodes=three_nodes(), device=Device())
    with (
        edges_of_daemons() as edges,
        tempfile.TemporaryDirectory(prefix="fuzz-together-") as directory,
        cluster(config, Path(directory)) as nodes,
    ):
        limit_memory(nodes[ATTACKED].pid)
        session = TwoClients(nodes, edges)
        try:
            yield session
        finally:
            session.end()


TARGETS = [
    Target(
        name="corosync-together",
        property=__doc__ or "",
        cases=st.builds(Together, _clients(), _clients(), st.sampled_from(sorted(HAPPENINGS))),
        session=_session,
        examples=3,
        needs_corosync=True,
        names={"Together": Together},
    )
]
