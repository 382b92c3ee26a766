"""The commands that `serve` reads from standard input: those of corosync-vqsim, and some more.

Strategy: a line is split into a word and its arguments, and the table of words says what to do. Nodes are
given alone (`1`), in a list (`1,2`), or after the partition to put them in (`1:3,4`). Partitions are numbers;
all nodes start in partition 0. Source: man corosync-vqsim(8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import trio

from ..cluster import ClusterConfig
from ..daemon.simulation import Simulation
from ..errors import CsError
from ..qdevice import Ballot, run_qdevice

SIMULATED_DEVICE: Final = "simulated"
"""The name of the device that `qdevice on` registers."""

HELP: Final = (
    ("up [PARTITION:]NODE[,NODE...] ...", "start nodes, in partition 0 or in the given one"),
    ("down NODE[,NODE...] ...", "crash nodes"),
    ("leave NODE[,NODE...] ...", "shut nodes down"),
    ("split PARTITION:NODE[,NODE...] ...", "move nodes to partitions (also: move)"),
    ("join PARTITION PARTITION ...", "merge partitions into the first"),
    ("heal", "merge all partitions into number 0, and connect every link"),
    ("qdevice on|off NODE[,NODE...] ...", "let nodes' quorum devices vote, or not (also: device)"),
    ("link down|up NODE NODE [NUMBER]", "take links between two nodes down or up: all, or one"),
    ("link latency|loss NODE NODE VALUE", "give links a latency in seconds, or a loss (0 to 1)"),
    ("latency NODE NODE SECONDS", "the same as link latency"),
    ("reload", "read the file of --config again"),
    ("show", "show nodes, partitions and votes"),
    ("help", "these words"),
    ("exit", "end the cluster (also: quit, q)"),
)


class ScriptError(Exception):
    """A line cannot be carried out; the text says why."""


class Exit(Exception):
    """A line ends the cluster."""


class Script:
    """Carries out lines on a simulation, one after another."""

    def __init__(
        self,
        simulation: Simulation,
        nursery: trio.Nursery,
        complain: Callable[[str], None],
        read_config: Callable[[], ClusterConfig] | None = None,
    ) -> None:
        """Devices that `qdevice on` starts run in `nursery`; `complain` is called if one fails.

        `read_config` reads the configuration again, for `reload`. It may raise ValueError or OSError.
        """
        self._placed: dict[int, int] = {}
        self._simulation = simulation
        self._nursery = nursery
        self._complain = complain
        self._read_config = read_config
        self._devices: dict[int, _Device] = {}
        words: dict[str, Callable[[Sequence[str]], Awaitable[None]]] = {
            "up": self._up,
            "down": self._down,
            "leave": self._leave,
            "split": self._split,
            "move": self._split,
            "join": self._join,
            "heal": self._heal,
            "qdevice": self._qdevice,
            "device": self._qdevice,
            "link": self._link,
            "latency": self._latency,
            "reload": self._reload,
            "show": self._nothing,
        }
        self._words = words | dict.fromkeys(("exit", "quit", "q"), self._exit)

    async def run(self, line: str) -> bool:
        """Carry out a line; False for a line without a word, such as a comment.

        Raises `ScriptError` for a line that makes no sense, `Exit` for a line that ends the cluster, and
        `CsError` when a node's address is in use.
        """
        words = line.split("#", 1)[0].split()
        if not words:
            return False
        word = words[0].lower()
        if word not in self._words:
            raise ScriptError(f"{words[0]!r} is not a known word; type help to see them")
        await self._words[word](words[1:])
        return True

    @property
    def partitions(self) -> dict[int, int]:
        """For each node, the number of its partition, or of the one that it will start in.

        A client of cfg may reload the configuration, so the nodes are those of the one in force now.
        """
        return {nodeid: self._placed.get(nodeid, 0) for nodeid in self._simulation.config.nodeids}

    def completions(self, before: Sequence[str]) -> list[str]:
        """The words that may come next in a line."""
        if not before:
            return [*self._words, "help"]
        nodes = [str(nodeid) for nodeid in self.partitions]
        follows = _FOLLOWS.get(before[0].lower(), ())
        if follows and len(before) == 1:
            return [*follows]
        return nodes if before[0].lower() not in _ALONE else []

    # --- the words ---

    async def _up(self, arguments: Sequence[str]) -> None:
        placed = self._places(arguments)
        self._simulation.up(*placed, groups=_groups(self.partitions | placed))
        self._placed |= placed

    async def _down(self, arguments: Sequence[str]) -> None:
        for nodeid in self._nodes(arguments):
            self._drop_device(nodeid)
            self._simulation.kill(nodeid)

    async def _leave(self, arguments: Sequence[str]) -> None:
        nodeids = self._nodes(arguments)
        for nodeid in nodeids:
            self._drop_device(nodeid)
        self._simulation.leave(*nodeids)

    async def _split(self, arguments: Sequence[str]) -> None:
        if not all(":" in argument for argument in arguments):
            raise ScriptError("split takes PARTITION:NODE, such as 1:3")
        self._move(self._places(arguments))

    async def _join(self, arguments: Sequence[str]) -> None:
        numbers = [_number(argument, "a partition") for argument in arguments]
        if len(numbers) < 2:
            raise ScriptError("join takes two or more partitions")
        if unknown := set(numbers) - set(self.partitions.values()):
            raise ScriptError(f"there is no partition {min(unknown)}")
        into, *others = numbers
        self._move({nodeid: into for nodeid, number in self.partitions.items() if number in others})

    async def _heal(self, arguments: Sequence[str]) -> None:
        if arguments:
            raise ScriptError("heal takes no arguments: all nodes hear each other again")
        self._placed = dict.fromkeys(self.partitions, 0)
        self._simulation.heal()

    async def _qdevice(self, arguments: Sequence[str]) -> None:
        if not arguments or arguments[0].lower() not in ("on", "off"):
            raise ScriptError("qdevice takes on or off, then nodes")
        nodeids = self._nodes(arguments[1:])
        for nodeid in nodeids:
            if arguments[0].lower() == "off":
                await self._withdraw_device(nodeid)
            elif nodeid not in self._simulation.model.nodes:
                raise ScriptError(f"node {nodeid} is down")
            elif nodeid not in self._devices:
                await self._start_device(nodeid)

    async def _reload(self, arguments: Sequence[str]) -> None:
        if arguments or self._read_config is None:
            raise ScriptError("reload takes no arguments, and works only after serve --config FILE")
        self._simulation.read_config = self._read_config
        try:
            self._simulation.reload_from_file()
        except (ValueError, OSError) as error:
            raise ScriptError(f"not reloaded: {error}") from None

    async def _link(self, arguments: Sequence[str]) -> None:
        words = "link takes down, up, latency or loss, then two nodes, such as: link down 1 2"
        if len(arguments) < 3 or len(arguments) > 4 or arguments[0].lower() not in _LINK_WORDS:
            raise ScriptError(words)
        word, *rest = arguments[0].lower(), *arguments[1:]
        one, other = (_number(each, "a node") for each in rest[:2])
        changes: dict[str, Any] = {}
        number = None
        if word in ("down", "up"):
            changes["connected"] = word == "up"
            number = _number(rest[2], "a link") if rest[2:] else None
        elif rest[2:]:
            changes[word] = _fraction(rest[2])
        else:
            raise ScriptError(f"link {word} takes two nodes and a number, such as: link {word} 1 2 0.2")
        try:
            self._simulation.link(one, other, number, **changes)
        except ValueError as error:
            raise ScriptError(str(error)) from None

    async def _latency(self, arguments: Sequence[str]) -> None:
        await self._link(["latency", *arguments])

    async def _nothing(self, arguments: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    async def _exit(self, arguments: Sequence[str]) -> None:
        raise Exit

    # --- nodes and partitions ---

    def _nodes(self, arguments: Iterable[str]) -> list[int]:
        return list(self._places(arguments))

    def _places(self, arguments: Iterable[str]) -> dict[int, int]:
        """The nodes in the arguments, and the partition given for each."""
        placed: dict[int, int] = {}
        for argument in arguments:
            before, colon, after = argument.partition(":")
            number = _number(before, "a partition") if colon else 0
            for item in (after if colon else before).split(","):
                nodeid = _number(item, "a node")
                if nodeid not in self.partitions:
                    known = ", ".join(map(str, self.partitions))
                    raise ScriptError(f"there is no node {nodeid}; there are {known}")
                placed[nodeid] = number
        if not placed:
            raise ScriptError("which nodes? Such as: up 1,2 or split 1:3")
        return placed

    def _move(self, placed: dict[int, int]) -> None:
        self._placed |= placed
        self._simulation.partition(*_groups(self.partitions))

    # --- devices ---

    async def _start_device(self, nodeid: int) -> None:
        """Register a device and wait for its first vote or its end."""
        device = self._devices[nodeid] = _Device()
        self._nursery.start_soon(self._run_device, nodeid, device)
        with trio.move_on_after(_FIRST_VOTE_SECONDS):
            await device.voted.wait()

    async def _run_device(self, nodeid: int, device: _Device) -> None:
        try:
            await device.run(self._simulation.address(nodeid))
        except CsError as error:
            # such as a configuration without a device, or a device that was unregistered
            if self._devices.get(nodeid) is device:
                del self._devices[nodeid]
            self._complain(f"the quorum device of node {nodeid}: {error}")

    def _drop_device(self, nodeid: int) -> _Device | None:
        device = self._devices.pop(nodeid, None)
        if device is not None:
            device.scope.cancel()
        return device

    async def _withdraw_device(self, nodeid: int) -> None:
        device = self._drop_device(nodeid)
        if device is not None:
            await device.ended.wait()


class _Device:
    """A quorum device that always votes."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.voted = trio.Event()
        """Set when it has voted or never will."""
        self.ended = trio.Event()

    async def run(self, address: str | None) -> None:
        """Vote until `scope` is cancelled. Raises as `run_qdevice` does."""
        try:
            with self.scope:
                await run_qdevice(SIMULATED_DEVICE, always_votes, address=address, report=self._report)
        finally:
            self.voted.set()
            self.ended.set()

    def _report(self, ballot: Ballot) -> None:
        if ballot.vote:
            self.voted.set()


_FIRST_VOTE_SECONDS: Final = 2.0
"""How many seconds `qdevice on` waits for the first vote before it goes on without it."""


async def always_votes(_: object) -> bool:
    """A decision for `run_qdevice`: vote, whatever the membership."""
    await trio.lowlevel.checkpoint()
    return True


def _groups(partitions: Mapping[int, int]) -> list[set[int]]:
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for nodeid, number in partitions.items():
        groups[number].add(nodeid)
    return list(groups.values())


_LINK_WORDS: Final = ("down", "up", "latency", "loss")

_FOLLOWS: Final = {"qdevice": ("on", "off"), "device": ("on", "off"), "link": _LINK_WORDS}
"""The arguments of a word, other than nodes."""

_ALONE: Final = ("heal", "reload", "show", "help", "exit", "quit", "q")
"""Words without arguments."""


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ScriptError(f"{text!r} is not a number") from None


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ScriptError(f"{text!r} is not the number of {what}")
    return int(text)
