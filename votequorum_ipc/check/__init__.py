"""What a quorum configuration survives: a model checker for votequorum's rules.

    from votequorum_ipc.check import check
    from votequorum_ipc.cluster import ClusterConfig

    report = check(ClusterConfig.of(2, two_node=True))
    for verdict in report.verdicts:
        print(verdict.name, verdict.outcome, verdict.text)

`report` asks the questions, `search` visits all states, `successors` has the possible events, `partitions`
asks the model (`votequorum_ipc.cluster`, the only place that knows the rules), `states` decides which states
are equivalent, `failures` answers questions that need no search, and `story` describes and replays. No I/O.
docs/checking.md says what is checked and what is not.
"""

from __future__ import annotations

from .devices import DeviceKind
from .failures import Failure
from .properties import BUILT_IN, Property, Situation
from .report import Effort, Reachability, Report, SearchDisagreesError, Verdict, check
from .search import Bounds, Progress, Stopped
from .story import Side, Story, StoryStep, replay

__all__ = [
    "BUILT_IN",
    "Bounds",
    "DeviceKind",
    "Effort",
    "Failure",
    "Progress",
    "Property",
    "Reachability",
    "Report",
    "SearchDisagreesError",
    "Side",
    "Situation",
    "Stopped",
    "Story",
    "StoryStep",
    "Verdict",
    "check",
    "replay",
]
